//! The new one's side: it looks at all it can before it asks, and is given the sockets of the old one.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use tokio::time::timeout;

use super::{GONE_WAIT, PLACE, PROTOCOL, Step, YOURS_WAIT, halt::reached, message::Message};
use crate::{
    daemon::{Config, assembly::Start, settings},
    spiffe::TrustDomain,
    store,
    sys::{
        chain, files,
        inherited::{self, Inherited},
        kernel::Kernel,
        listener,
        packets::Packets,
    },
};

/// What the old one says of itself when it invites.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) trust_domain: String,
    pub(crate) state_dir: PathBuf,
    /// Of the database that it has open.
    pub(crate) schema: u32,
    pub(crate) protocol: u32,
    /// How its authorities are; empty where it does not say, as earlier releases do.
    pub(crate) layout: String,
}

/// Why the old one's place cannot be taken. In each case it goes on, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another node's identities.
    #[error("the running daemon serves the trust domain {theirs}, and this configuration names {ours}")]
    TrustDomain { theirs: String, ours: TrustDomain },
    /// Its sockets would serve another state.
    #[error("the running daemon has its state in {}, and this configuration names {}", theirs.display(), ours.display())]
    State { theirs: PathBuf, ours: PathBuf },
    /// Its authorities are of another layout, and stay it.
    #[error("the running daemon's authorities are {theirs}, and this configuration says {ours}")]
    Layout { theirs: String, ours: String },
    /// A release that speaks otherwise.
    #[error("the running daemon hands over in another way ({theirs}) than this release ({PROTOCOL})")]
    Protocol { theirs: u32 },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The way to it.
    #[error("the running daemon cannot be reached in {}", folder.display())]
    Channel { folder: PathBuf, source: io::Error },
    /// Somebody else waits where it should.
    #[error("uid {uid} waits where the running daemon should")]
    Stranger { uid: u32 },
    /// It said no.
    #[error("the running daemon goes on: {0}")]
    Staying(String),
    /// It says nothing.
    #[error("the running daemon did not hand over within {} s", YOURS_WAIT.as_secs())]
    Silent,
    /// It said what it should not have.
    #[error("the running daemon said what nobody understands")]
    Nonsense,
    /// What it gave is no socket.
    #[error("the running daemon handed over what cannot be served")]
    Socket(#[source] inherited::Error),
    /// Its process goes on without the channel.
    #[error("the running daemon broke off, and lives")]
    BrokenOff,
}

/// A new daemon that has been invited.
pub(crate) struct Coming {
    packets: Packets,
}

/// Whether a daemon has the state now.
///
/// # Errors
/// When the lock cannot be looked at.
pub(crate) fn is_running(config: &Config) -> anyhow::Result<bool> {
    let lock = config.state_dir.join("lock");
    if !lock.exists() {
        return Ok(false);
    }
    match files::lock(&lock) {
        Ok(_) => Ok(false),
        Err(files::Error::InUse { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Looks at everything that a start needs and that can be looked at while another daemon has it.
///
/// # Errors
/// What a start would have said.
pub(crate) fn look_first(config: &Config) -> anyhow::Result<()> {
    Kernel::probe(&config.without_kernel)?;
    if let Some(above) = config.state_dir.parent().filter(|above| above.exists()) {
        files::check_folder(above)?;
    }
    for folder in [config.state_dir.clone(), config.state_dir.join("audit"), config.state_dir.join("keys")] {
        files::create_private_dir(&folder)?;
        files::check_writable(&folder)?;
    }
    for (_, path) in config.sockets() {
        // One whose folder is not there yet is made later.
        if path.parent().is_some_and(Path::exists) {
            listener::check_path(path)?;
        }
    }
    Ok(())
}

impl Offer {
    /// # Errors
    /// When this configuration, or this release, is none for what the old one has.
    fn check(&self, config: &Config) -> Result<(), Error> {
        if self.protocol != PROTOCOL {
            return Err(Error::Protocol { theirs: self.protocol });
        }
        if self.trust_domain != config.trust_domain.as_str() {
            return Err(Error::TrustDomain { theirs: self.trust_domain.clone(), ours: config.trust_domain.clone() });
        }
        if !is_same_folder(&self.state_dir, &config.state_dir) {
            return Err(Error::State { theirs: self.state_dir.clone(), ours: config.state_dir.clone() });
        }
        let ours = settings::layout(config).to_string();
        if !self.layout.is_empty() && self.layout != ours {
            return Err(Error::Layout { theirs: self.layout.clone(), ours });
        }
        Ok(store::check_schema(&config.state_dir, self.schema)?)
    }
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

impl Coming {
    /// Goes where the old one waits. Where its place must not be taken after all, it is told why.
    ///
    /// # Errors
    /// When the configuration or this release is none for what it has, or nobody waits.
    pub(crate) async fn to(config: &Config, offer: &Offer) -> Result<Self, Error> {
        reached(Step::Asked);
        let (folder, checked) = (&offer.state_dir, offer.check(config));
        let packets = match Packets::connect(folder, PLACE) {
            Ok(packets) => packets,
            Err(source) => {
                checked?;
                return Err(Error::Channel { folder: folder.clone(), source });
            }
        };
        if ![0, geteuid().as_raw()].contains(&packets.uid()) {
            return Err(Error::Stranger { uid: packets.uid() });
        }
        if let Err(error) = checked {
            packets.send(&Message::failed(&chain(&error)).to_bytes(), &[]).await.ok();
            return Err(error);
        }
        reached(Step::Joined);
        Ok(Self { packets })
    }

    /// Says that we are ready, and waits for the sockets. `None` when the old one has died before it gave them: then
    /// this is a start as any other.
    ///
    /// # Errors
    /// Why there is nothing to take over; the old one goes on.
    pub(crate) async fn receive(self) -> Result<Option<Start>, Error> {
        // That it is gone shows below.
        self.packets.send(&Message::Ready {}.to_bytes(), &[]).await.ok();
        reached(Step::Ready);
        let received = timeout(YOURS_WAIT, self.packets.receive()).await.map_err(|_| Error::Silent)?;
        let Ok(Some(packet)) = received else {
            return match timeout(GONE_WAIT, self.packets.ended()).await {
                Ok(Ok(())) => Ok(None),
                _ => Err(Error::BrokenOff),
            };
        };
        let handed = match Message::parse(&packet.bytes) {
            Some(Message::Yours { sockets }) if sockets.len() == packet.descriptors.len() => sockets,
            Some(Message::Staying { why }) => return Err(Error::Staying(why)),
            _ => return Err(Error::Nonsense),
        };
        let sockets = packet.descriptors.into_iter().zip(handed);
        let sockets = sockets.map(|(fd, handed)| Inherited::of(fd, handed.is_borrowed)).collect::<Result<_, _>>();
        let sockets = match sockets {
            Ok(sockets) => sockets,
            Err(error) => {
                self.packets.send(&Message::failed(&error.to_string()).to_bytes(), &[]).await.ok();
                return Err(Error::Socket(error));
            }
        };
        reached(Step::Received);
        Ok(Some(Start { sockets, predecessor: Some(Predecessor(self.packets)), ..Start::default() }))
    }
}

/// The old daemon, which waits until we serve.
pub(in crate::daemon) struct Predecessor(Packets);

impl Predecessor {
    /// Its number in our pid namespace.
    pub(in crate::daemon) fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// It may go.
    pub(in crate::daemon) async fn release(self) {
        // One that has gone by itself has left us everything all the same.
        self.0.send(&Message::Serving {}.to_bytes(), &[]).await.ok();
    }

    /// It may take everything back, once this process has ended.
    pub(in crate::daemon) async fn call_back(self, why: &str) {
        self.0.send(&Message::failed(why).to_bytes(), &[]).await.ok();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{
        daemon::Paths,
        sys::{packets::Meeting, scratch::Scratch},
    };

    fn config(home: &Path) -> Config {
        Config::new(TrustDomain::parse("example.org").unwrap(), &Paths::below(home))
    }

    fn offer(config: &Config) -> Offer {
        Offer {
            trust_domain: "example.org".to_owned(),
            state_dir: config.state_dir.clone(),
            schema: store::schema_version(),
            protocol: PROTOCOL,
            layout: "rooted".to_owned(),
        }
    }

    #[test]
    fn what_another_configuration_or_release_has_is_left_to_it() {
        let home = Scratch::new();
        let config = config(home.path());
        let good = || offer(&config);
        good().check(&config).unwrap();
        // An older one is migrated.
        Offer { schema: store::schema_version() - 1, ..good() }.check(&config).unwrap();
        let link = home.path().join("link");
        std::fs::create_dir(&config.state_dir).unwrap();
        std::os::unix::fs::symlink(&config.state_dir, &link).unwrap();
        // An earlier release does not say it.
        Offer { layout: String::new(), ..good() }.check(&config).unwrap();
        // The same folder by another name.
        Offer { state_dir: link, ..good() }.check(&config).unwrap();
        let error = |offer: Offer| offer.check(&config).unwrap_err();
        assert!(matches!(
            error(Offer { schema: store::schema_version() + 1, ..good() }),
            Error::Store(store::Error::Newer { .. })
        ));
        assert!(matches!(error(Offer { trust_domain: "other".into(), ..good() }), Error::TrustDomain { .. }));
        assert!(matches!(error(Offer { state_dir: "/var/lib/other".into(), ..good() }), Error::State { .. }));
        assert!(matches!(error(Offer { layout: "self-signed".into(), ..good() }), Error::Layout { .. }));
        assert!(matches!(error(Offer { protocol: PROTOCOL + 1, ..good() }), Error::Protocol { theirs: 2 }));
    }

    /// An invited new one, and the old one's end.
    async fn invited(config: &Config) -> (Coming, Packets) {
        std::fs::create_dir(&config.state_dir).unwrap();
        let meeting = Meeting::open(&config.state_dir, PLACE, Kernel::probe(&[]).unwrap()).unwrap();
        let coming = Coming::to(config, &offer(config)).await.unwrap();
        (coming, meeting.accept().await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_one_that_says_nothing_is_not_waited_for_for_ever() {
        let home = Scratch::new();
        let (coming, _old) = invited(&config(home.path())).await;
        let since = tokio::time::Instant::now();
        assert!(matches!(coming.receive().await, Err(Error::Silent)));
        assert_eq!(since.elapsed().as_secs(), YOURS_WAIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_one_that_breaks_off_and_lives_is_not_taken_for_dead() {
        let home = Scratch::new();
        let (coming, old) = invited(&config(home.path())).await;
        drop(old);
        assert!(matches!(coming.receive().await, Err(Error::BrokenOff)));
    }

    #[tokio::test]
    async fn an_old_one_that_stays_or_babbles_is_believed_in_nothing_else() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let handed = |count: usize| "{\"is_borrowed\":false},".repeat(count).trim_end_matches(',').to_owned();
        for (words, count, wanted) in [
            (Message::staying("not now").to_bytes(), 0, "the running daemon goes on: not now"),
            (b"{\"step\":\"serving\"}".to_vec(), 0, "nobody understands"),
            (b"yours".to_vec(), 1, "nobody understands"),
            (format!("{{\"step\":\"yours\",\"sockets\":[{}]}}", handed(2)).into_bytes(), 1, "nobody understands"),
            (format!("{{\"step\":\"yours\",\"sockets\":[{}]}}", handed(1)).into_bytes(), 1, "cannot be served"),
        ] {
            let home = Scratch::new();
            let (coming, old) = invited(&config(home.path())).await;
            let descriptors = vec![std::os::fd::AsFd::as_fd(&file); count];
            old.send(&words, &descriptors).await.unwrap();
            let error = coming.receive().await.map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}
