//! The old one's side: who may come, what is handed over, and when it is taken back.

use std::{os::fd::BorrowedFd, path::PathBuf, sync::Arc};

use nix::unistd::geteuid;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    ACCEPT_WAIT, GONE_WAIT, PLACE, PROTOCOL, READY_WAIT, SERVE_WAIT, Step,
    halt::reached,
    message::{Handed, Message},
};
use crate::{
    api::{Invite, Succession, Uninvited},
    store,
    sys::{
        kernel::Kernel,
        packets::{Meeting, Packets},
    },
};

/// A process that was invited, and is waited for.
pub(in crate::daemon) struct Visit {
    meeting: Meeting,
    pid: i32,
    /// One at a time.
    slot: OwnedSemaphorePermit,
}

/// A process that is ready to take our place.
pub(in crate::daemon) struct Guest {
    packets: Packets,
    _slot: OwnedSemaphorePermit,
}

/// What became of it.
pub(in crate::daemon) enum Seen {
    /// It serves.
    Serving,
    /// It does not, and has ended.
    Gone(String),
    /// We were told to stop, and leave it to it.
    Stopped,
}

/// What the admin socket is given to invite with, and where those who were invited appear.
pub(in crate::daemon) fn reception(
    state_dir: PathBuf,
    layout: String,
    kernel: Kernel,
) -> (Succession, mpsc::Receiver<Visit>) {
    let (visits, coming) = mpsc::channel(1);
    let slots = Arc::new(Semaphore::new(1));
    let invite: Invite = Box::new(move |pid| {
        let slot = slots.clone().try_acquire_owned().map_err(|_| Uninvited::Busy)?;
        let meeting = Meeting::open(&state_dir, PLACE, kernel).map_err(Uninvited::Failed)?;
        visits.try_send(Visit { meeting, pid, slot }).map_err(|_| Uninvited::Busy)?;
        reached(Step::Invited);
        Ok(())
    });
    (Succession { protocol: PROTOCOL, schema: store::schema_version(), layout, invite }, coming)
}

/// Waits until the process that was invited has come and is ready.
///
/// # Errors
/// Why it is not taken, in words.
pub(in crate::daemon) async fn meet(visit: Visit) -> Result<Guest, String> {
    let Visit { meeting, pid, slot } = visit;
    let packets = match timeout(ACCEPT_WAIT, meeting.accept()).await {
        Ok(Ok(packets)) => packets,
        Ok(Err(error)) => return Err(format!("the private channel broke: {error}")),
        Err(_) => return Err(format!("it did not come within {} s", ACCEPT_WAIT.as_secs())),
    };
    drop(meeting);
    // The folder is ours alone, and so only our own user or root can have come; and it must be the one who asked.
    if ![0, geteuid().as_raw()].contains(&packets.uid()) || packets.pid() != pid {
        return Err(format!("another process came (pid {}, uid {})", packets.pid(), packets.uid()));
    }
    match timeout(READY_WAIT, next(&packets)).await {
        Ok(Ok(Message::Ready {})) => Ok(Guest { packets, _slot: slot }),
        Ok(Ok(Message::Failed { why })) => Err(why),
        Ok(Ok(_)) => Err("it spoke out of turn".to_owned()),
        Ok(Err(why)) => Err(why),
        Err(_) => {
            packets.send(&Message::staying("it took too long to be ready").to_bytes(), &[]).await.ok();
            Err(format!("it was not ready within {} s", READY_WAIT.as_secs()))
        }
    }
}

/// The next message of the other side, or why there is none.
async fn next(packets: &Packets) -> Result<Message, String> {
    match packets.receive().await {
        Ok(Some(packet)) if packet.descriptors.is_empty() => {
            Message::parse(&packet.bytes).ok_or_else(|| "it said what nobody understands".to_owned())
        }
        Ok(Some(_)) => Err("it sent descriptors".to_owned()),
        Ok(None) => Err("it ended".to_owned()),
        Err(error) => Err(format!("the private channel broke: {error}")),
    }
}

impl Guest {
    /// Its number in our pid namespace.
    pub(in crate::daemon) fn pid(&self) -> i32 {
        self.packets.pid()
    }

    /// Hands over the sockets, each with whether it is borrowed. We keep ours.
    ///
    /// # Errors
    /// When it is gone.
    pub(in crate::daemon) async fn give(&self, sockets: &[(BorrowedFd<'_>, bool)]) -> Result<(), String> {
        let handed = sockets.iter().map(|(_, is_borrowed)| Handed { is_borrowed: *is_borrowed }).collect();
        let descriptors: Vec<_> = sockets.iter().map(|(fd, _)| *fd).collect();
        let yours = Message::Yours { sockets: handed }.to_bytes();
        let given = self.packets.send(&yours, &descriptors).await;
        given.map_err(|error| format!("the sockets could not be handed over: {error}"))
    }

    /// Says that nothing is handed over.
    pub(in crate::daemon) async fn decline(&self, why: &str) {
        self.packets.send(&Message::staying(why).to_bytes(), &[]).await.ok();
    }

    /// Waits until it serves. One that does not has ended when this returns, and holds nothing of ours.
    pub(in crate::daemon) async fn see_in(self, stop: &CancellationToken) -> Seen {
        let said = tokio::select! {
            () = stop.cancelled() => return Seen::Stopped,
            said = timeout(SERVE_WAIT, next(&self.packets)) => said,
        };
        let why = match said {
            Ok(Ok(Message::Serving {})) => return Seen::Serving,
            Ok(Ok(Message::Failed { why }) | Err(why)) => why,
            Ok(Ok(_)) => "it spoke out of turn".to_owned(),
            Err(_) => {
                self.end();
                format!("it did not serve within {} s", SERVE_WAIT.as_secs())
            }
        };
        self.outlive().await;
        Seen::Gone(why)
    }

    /// Waits until it has ended, and sees to it. While it lives it may hold the state.
    pub(in crate::daemon) async fn outlive(self) {
        if !matches!(timeout(GONE_WAIT, self.packets.ended()).await, Ok(Ok(()))) {
            self.end();
            timeout(GONE_WAIT, self.packets.ended()).await.ok();
        }
    }

    fn end(&self) {
        match self.packets.kill() {
            Ok(()) => tracing::warn!(pid = self.pid(), "the process that was to take over is ended"),
            // Should it live, the lock of the state says so.
            Err(error) => tracing::debug!(pid = self.pid(), %error, "the process that was to take over is left alone"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::sys::scratch::Scratch;

    /// Comes, says that it is ready, and hangs; if this process was started to. A daemon ends the process that it waits
    /// for in vain, so it must not be the test's own.
    #[tokio::test]
    async fn as_a_guest_that_hangs() {
        let Some(folder) = std::env::var_os("DAYFLY_TEST_GUEST") else { return };
        let packets = Packets::connect(folder.as_ref(), PLACE).unwrap();
        packets.send(&Message::Ready {}.to_bytes(), &[]).await.unwrap();
        std::future::pending().await
    }

    #[tokio::test]
    async fn a_new_one_that_never_serves_is_ended_and_everything_is_ours_again() {
        let folder = Scratch::new();
        // Before it comes.
        let meeting = Meeting::open(folder.path(), PLACE, Kernel::probe(&[]).unwrap()).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["daemon::replace::leaving::tests::as_a_guest_that_hangs", "--exact"])
            .env("DAYFLY_TEST_GUEST", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let number = i32::try_from(process.id()).unwrap();
        let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let guest = meet(Visit { meeting, pid: number, slot }).await.unwrap();
        assert_eq!(guest.pid(), number);
        tokio::time::pause();
        let since = tokio::time::Instant::now();
        let seen = guest.see_in(&CancellationToken::new()).await;
        assert!(matches!(seen, Seen::Gone(why) if why.contains("did not serve within 60 s")));
        assert!(since.elapsed() >= SERVE_WAIT);
        assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[tokio::test]
    async fn one_process_is_invited_at_a_time_and_another_is_not_taken_for_it() {
        let folder = Scratch::new();
        let (succession, mut visits) =
            reception(folder.path().to_owned(), "rooted".into(), Kernel::probe(&[]).unwrap());
        let own = nix::unistd::getpid().as_raw();
        (succession.invite)(own + 1).unwrap();
        assert!(matches!((succession.invite)(own), Err(Uninvited::Busy)));
        let _coming = Packets::connect(folder.path(), PLACE).unwrap();
        let why = meet(visits.recv().await.unwrap()).await.err().unwrap();
        assert!(why.contains("another process came"), "{why}");
        (succession.invite)(own).unwrap();
        let coming = Packets::connect(folder.path(), PLACE).unwrap();
        coming.send(&Message::Ready {}.to_bytes(), &[]).await.unwrap();
        assert_eq!(meet(visits.recv().await.unwrap()).await.unwrap().pid(), own);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_for_ever() {
        let folder = Scratch::new();
        let (succession, mut visits) =
            reception(folder.path().to_owned(), "rooted".into(), Kernel::probe(&[]).unwrap());
        let own = nix::unistd::getpid().as_raw();
        (succession.invite)(own).unwrap();
        let since = tokio::time::Instant::now();
        assert!(meet(visits.recv().await.unwrap()).await.err().unwrap().contains("did not come"));
        assert_eq!(since.elapsed().as_secs(), ACCEPT_WAIT.as_secs());
        (succession.invite)(own).unwrap();
        let _coming = Packets::connect(folder.path(), PLACE).unwrap();
        let since = tokio::time::Instant::now();
        assert!(meet(visits.recv().await.unwrap()).await.err().unwrap().contains("was not ready"));
        assert_eq!(since.elapsed().as_secs(), READY_WAIT.as_secs());
    }
}
