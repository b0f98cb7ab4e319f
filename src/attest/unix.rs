//! The selectors of a Unix process: `unix:uid gid user group supplementary_gid supplementary_group path sha256` and
//! `dayfly:verity`, with SPIRE's names and meaning.

use std::{sync::Arc, time::Duration};

use super::{
    Error,
    hash::{Hasher, Limits, Seen, Unhashed, hex},
    names::{self, Names},
};
use crate::{
    registry::{Image as Kind, ImageSet, Selector, Selectors, Snapshot},
    sys::{
        Clock,
        counters::Counters,
        image::{Image, Lack, Lens},
        kernel::Kernel,
        looks::{AllLooks, Look, Looks},
        peer::{Facts, Fault, Peer},
        proc::ProcDir,
        verity::measure,
    },
};

/// What attestation may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// For names, and for looking again at a process that changes.
    pub(crate) attestation: Duration,
    /// For the answer to a challenge.
    pub(crate) ping: Duration,
    pub(crate) hash: Duration,
    /// The largest executable that is hashed.
    pub(crate) hash_bytes_max: u64,
    pub(crate) hashes_at_once: usize,
}

/// Looks at processes. One for the daemon.
#[derive(Debug)]
pub(crate) struct Attestor {
    pub(super) lens: Lens,
    pub(super) waits: Waits,
    kernel: Kernel,
    names: Names,
    hasher: Arc<Hasher>,
    /// For looks from outside.
    looks: Looks,
    clock: Clock,
    pub(super) counters: Arc<Counters>,
}

/// A process looked at from outside, with no connection (`explain`).
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) facts: Facts,
    /// The executable's path, or what the process lacks for having one.
    pub(crate) image: Result<Image, Lack>,
    /// Those that hold without an image.
    pub(crate) plain: Selectors,
    /// Those that would hold if the running image answered.
    pub(crate) imaged: Vec<Selector>,
    /// Sentences.
    pub(crate) notes: Vec<String>,
}

impl Attestor {
    /// An attestor that looks at images through `lens`.
    pub(crate) fn new(lens: Lens, waits: Waits, kernel: Kernel, clock: Clock, counters: Arc<Counters>) -> Self {
        let limits = Limits { bytes_max: waits.hash_bytes_max, wait: waits.hash, at_once: waits.hashes_at_once };
        let (names, hasher) = (Names::new(waits.attestation), Arc::new(Hasher::new(limits)));
        let looks = AllLooks::default().of_user();
        Self { lens, waits, kernel, names, hasher, looks, clock, counters }
    }

    /// How images are looked at.
    pub(crate) fn lens(&self) -> &Lens {
        &self.lens
    }

    /// The selectors that hold whatever program runs. Names are looked up only where an entry uses one.
    pub(super) async fn plain(&self, facts: &Facts, with_names: bool) -> Result<Selectors, Error> {
        let mut selectors = vec![Selector::uid(facts.uid), Selector::gid(facts.gid)];
        selectors.extend(facts.groups.iter().flatten().copied().map(Selector::supplementary_gid));
        if with_names {
            selectors.extend(self.named(facts).await?);
        }
        Ok(selectors.into_iter().collect())
    }

    /// All of them together may take as long as one alone.
    async fn named(&self, facts: &Facts) -> Result<Vec<Selector>, Error> {
        let looking_up = async {
            let mut selectors = Vec::new();
            selectors.extend(self.names.user(facts.uid).await?.and_then(|name| written("user", &name)));
            selectors.extend(self.names.group(facts.gid).await?.and_then(|name| written("group", &name)));
            for gid in facts.groups.iter().flatten() {
                let name = self.names.group(*gid).await?;
                selectors.extend(name.and_then(|name| written("supplementary_group", &name)));
            }
            Ok(selectors)
        };
        let wait = self.waits.attestation;
        let looked_up = tokio::time::timeout(wait, looking_up).await;
        looked_up.unwrap_or(Err(names::Error::Late(wait))).map_err(Error::Names)
    }

    /// Adds the selectors of an image that entries wait for, cheap ones first: a hash is not taken for an entry that
    /// the path has ruled out. Answers the kinds that are known now. The caller checks afterwards that it still runs.
    pub(super) async fn add_imaged(
        &self,
        peer: &Peer,
        image: &Image,
        looks: &Looks,
        snapshot: &Snapshot,
        selectors: &mut Selectors,
    ) -> Result<ImageSet, Error> {
        let mut known = ImageSet::empty();
        let mut next = Some(Kind::Path);
        while let Some(kind) = next {
            selectors.extend(self.imaged(peer, image, kind, looks).await?);
            known.insert(kind);
            let wanted = snapshot.images_wanted_beside(selectors, known);
            next = [Kind::Verity, Kind::Sha256].into_iter().find(|kind| wanted.contains(*kind));
        }
        Ok(known)
    }

    /// One selector of an image; `None` where it has none of that kind.
    async fn imaged(&self, peer: &Peer, image: &Image, kind: Kind, looks: &Looks) -> Result<Option<Selector>, Error> {
        Ok(match kind {
            Kind::Path => image.path.to_str().and_then(|path| written("path", path)),
            Kind::Sha256 => self.sha256(peer, image, looks).await?.ok().and_then(|digest| written("sha256", &digest)),
            Kind::Verity => {
                let digest = self.verity(peer, image, looks).await?;
                digest.and_then(|digest| Selector::new("dayfly", &format!("verity:{digest}")).ok())
            }
        })
    }

    async fn sha256(&self, peer: &Peer, image: &Image, looks: &Looks) -> Result<Result<String, Unhashed>, Error> {
        let (dir, seen) = self.begin_look(looks).await?.run(|| see(peer, image))?;
        let open = move || dir.open_executable();
        let hashed = self.hasher.sha256(peer.uid(), seen, open, self.clock.now()).await;
        self.counters.hashed(match &hashed {
            Ok(Ok(_)) => "known",
            Ok(Err(_)) => "not_hashed",
            Err(_) => "failed",
        });
        hashed.map_err(Error::Hash)
    }

    async fn verity(&self, peer: &Peer, image: &Image, looks: &Looks) -> Result<Option<String>, Error> {
        let measured = self.begin_look(looks).await?.run(|| {
            let (dir, seen) = see(peer, image)?;
            if !seen.is_local() {
                return Ok(None);
            }
            let measured = dir.open_executable().and_then(|file| measure(&file));
            measured.map_err(|error| Error::Fault(Fault::Unreadable(error)))
        })?;
        Ok(measured.map(|(algorithm, digest)| format!("{algorithm}:{}", hex(&digest))))
    }

    /// The right to a look, soon.
    pub(super) async fn begin_look(&self, looks: &Looks) -> Result<Look, Error> {
        tokio::time::timeout(self.waits.attestation, looks.begin()).await.map_err(|_| Error::Looks)
    }

    /// Looks at a process from outside.
    ///
    /// # Errors
    /// When there is none, or names or hashes cannot be had.
    pub(crate) async fn look(&self, pid: i32, snapshot: &Snapshot) -> Result<Outside, Error> {
        let (look, lens, kernel) = (self.begin_look(&self.looks).await?, self.lens.clone(), self.kernel);
        let looking = tokio::task::spawn_blocking(move || {
            // Held to the end of the look, also when nobody waits for it any more.
            let _look = look;
            let peer = Peer::by_number(pid, kernel)?;
            let (facts, image) = (peer.facts(true)?, lens.image(&peer)?);
            Ok::<_, Fault>((peer, facts, image))
        });
        let looked = tokio::time::timeout(self.waits.attestation, looking).await;
        let (peer, facts, image) = looked.map_err(|_| Error::Looks)?.map_err(|_| Error::Looks)??;
        let plain = self.plain(&facts, true).await?;
        let mut notes = Vec::new();
        let mut imaged = Vec::new();
        match &image {
            Ok(image) => {
                let mut wanted = snapshot.images_wanted(&plain);
                wanted.insert(Kind::Path);
                for kind in wanted.iter() {
                    imaged.extend(self.imaged(&peer, image, kind, &self.looks).await?);
                }
                if wanted.contains(Kind::Sha256) && !imaged.iter().any(|one| one.image() == Some(Kind::Sha256)) {
                    notes.push(format!(
                        "no unix:sha256: its executable is larger than {} bytes, or on a file system that another process answers for",
                        self.waits.hash_bytes_max
                    ));
                }
            }
            Err(lack) => notes.push(format!("no image selectors: {}", lack.sentence())),
        }
        Ok(Outside { facts, image, plain, imaged, notes })
    }
}

/// The file of an image, if it is still the one that runs. May keep us waiting.
fn see(peer: &Peer, image: &Image) -> Result<(ProcDir, Seen), Error> {
    let dir = peer.proc_dir()?;
    let seen = dir.executable().and_then(|file| Seen::of(&file)).map_err(Fault::Unreadable)?;
    match seen.file() == image.spot.file {
        true => Ok((dir, seen)),
        false => Err(Error::Unsteady),
    }
}

/// A selector of the process; `None` where the value cannot be written in an entry either.
fn written(name: &str, value: &str) -> Option<Selector> {
    Selector::new("unix", &format!("{name}:{value}")).ok()
}
