//! The process at the other end of one connection, attested as often as it matters.
//!
//! What is known is kept under everything that could make it untrue: the process, its ids and groups, its cgroup, its
//! image and where that lies. All of it is read again on each request and before each push; another key means to
//! attest anew.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Attestor, Error};
use crate::{
    registry::{ImageSet, Mark, Selectors, Snapshot},
    sys::{
        image::{Image, Lack, Lens, Spot},
        looks::Looks,
        peer::{Exit, Facts, Peer},
        stream::{Answer, Line, Question},
    },
};

/// How often a process that changes while it is looked at is looked at again.
const LOOKS_MAX: usize = 8;

/// What was true of a caller, and under which circumstances.
#[derive(Debug)]
pub(crate) struct Attested {
    pub(crate) facts: Facts,
    /// All selectors that hold, as far as the entries could ask.
    pub(crate) selectors: Selectors,
    /// The image that answered; absent when none was asked, or it lacks something.
    pub(crate) image: Option<Image>,
    /// What the image lacks, if one was asked for and cannot be shown.
    pub(crate) lack: Option<Lack>,
    /// The kinds of image selectors that it has, or is known to have none of.
    known: ImageSet,
    /// What was asked of its groups and names.
    asked: Mark,
}

impl Attested {
    /// Whether the entries of `snapshot` ask what was looked at, and nothing more.
    pub(crate) fn is_enough_for(&self, snapshot: &Snapshot) -> bool {
        self.asked == snapshot.asked_of(self.facts.uid, self.facts.gid).mark()
            && self.known.is_empty() == snapshot.images_wanted(&self.selectors).is_empty()
            && snapshot.images_wanted_beside(&self.selectors, self.known).is_empty()
    }
}

/// A caller of the daemon. One for each connection.
pub(crate) struct Caller {
    line: Line,
    looks: Looks,
    attestor: Arc<Attestor>,
    last: Mutex<Option<Arc<Attested>>>,
}

impl Caller {
    /// The caller at the end of a line, and the right to look at it.
    pub(crate) fn new(line: Line, looks: Looks, attestor: Arc<Attestor>) -> Self {
        Self { line, looks, attestor, last: Mutex::default() }
    }

    /// The process that connected.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        self.line.peer()
    }

    /// Tells when the process has exited.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub(crate) fn exit(&self) -> std::io::Result<Exit> {
        Exit::of(self.line.peer().clone())
    }

    /// Closes the connection of a caller that is not its own any more.
    pub(crate) fn condemn(&self, fault: crate::sys::peer::Fault) {
        self.line.condemn(fault);
    }

    /// What was true of the caller a moment ago, as far as the entries of `snapshot` could ask. Whoever releases
    /// anything on the strength of it asks [`Caller::holds`] last of all.
    ///
    /// # Errors
    /// When it is gone, not the process that connected, does not answer, or cannot be looked at.
    pub(crate) async fn attest(&self, snapshot: &Snapshot) -> Result<Arc<Attested>, Error> {
        for _ in 0..LOOKS_MAX {
            match self.attest_once(snapshot).await {
                Err(Error::Unsteady) => {}
                settled => return settled,
            }
        }
        Err(Error::Unsteady)
    }

    async fn attest_once(&self, snapshot: &Snapshot) -> Result<Arc<Attested>, Error> {
        let asked = snapshot.asked_of(self.peer().uid(), self.peer().gid());
        let last = self.last().clone();
        if let Some(last) = last
            && last.is_enough_for(snapshot)
            && last.facts == self.attestor.facts(self.peer(), &self.looks, &asked).await?
            && self.is_as_before(&last).await?
        {
            return Ok(last);
        }
        let (facts, mut selectors) = self.attestor.plain(self.peer(), &self.looks, &asked).await?;
        let (mut image, mut lack, mut known) = (None, None, ImageSet::empty());
        if !snapshot.images_wanted(&selectors).is_empty() {
            match self.prove_image().await? {
                Ok(proved) => {
                    known =
                        self.attestor.add_imaged(self.peer(), &proved, &self.looks, snapshot, &mut selectors).await?;
                    image = Some(proved);
                }
                Err(lacking) => (lack, known) = (Some(lacking), ImageSet::all()),
            }
        }
        if !self.peer().is_exact() && !self.line.proved().writer {
            // The process was found by its number, which may be a successor's: only an answer shows that it is the one.
            self.ask(Question::Writer).await?.ok();
        }
        let attested = Arc::new(Attested { facts, selectors, image, lack, known, asked: asked.mark() });
        *self.last() = Some(attested.clone());
        Ok(attested)
    }

    /// The image that runs and has answered on this connection, or what it lacks.
    async fn prove_image(&self) -> Result<Result<Image, Lack>, Error> {
        if let Some(spot) = self.line.proved().image {
            match self.look(Lens::image).await?? {
                Ok(image) if image.spot != spot => {}
                Err(Lack::Changing) => return Err(Error::Unsteady),
                seen => return Ok(seen),
            }
        }
        Ok(match self.ask(Question::Image).await? {
            Ok(Some(image)) => Ok(image),
            Ok(None) | Err(Lack::Changing) => return Err(Error::Unsteady),
            Err(lack) => Err(lack),
        })
    }

    async fn ask(&self, question: Question) -> Result<Answer, Error> {
        let wait: Duration = self.attestor.waits.ping;
        match tokio::time::timeout(wait, self.line.challenge(question)).await {
            Ok(Some(answer)) => {
                self.attestor.counters.challenged(match &answer {
                    Ok(_) => "answered",
                    Err(lack) => lack.code(),
                });
                Ok(answer)
            }
            Ok(None) => Err(Error::Ended),
            Err(_) => {
                self.attestor.counters.challenged("unanswered");
                Err(Error::Unanswered { seconds: wait.as_secs() })
            }
        }
    }

    /// Whether all that was attested is still so: the process lives, its ids and cgroup are as they were, and the same
    /// image lies where it lay. To be asked last, before anything leaves.
    ///
    /// # Errors
    /// When the process is gone, or not the one that connected.
    pub(crate) async fn holds(&self, attested: &Arc<Attested>) -> Result<bool, Error> {
        if attested.image.is_none() && !self.peer().is_read(false) {
            return Ok(self.peer().still(&attested.facts)?);
        }
        let attested = attested.clone();
        let seen = self.look(move |lens, peer| {
            let is_still = match &attested.image {
                Some(image) => lens.is_still(peer, image.spot)?,
                None => true,
            };
            Ok(is_still && peer.still(&attested.facts)?)
        });
        seen.await?.map_err(Error::Fault)
    }

    /// The program that runs, and where it lies; `None` when it could be another one without showing.
    ///
    /// # Errors
    /// When the process is gone, or cannot be looked at in time.
    pub(crate) async fn program(&self) -> Result<Option<Spot>, Error> {
        for _ in 0..LOOKS_MAX {
            match self.look(Lens::spot).await?? {
                Ok(spot) => return Ok(Some(spot)),
                Err(Lack::Changing) => {}
                Err(_) => return Ok(None),
            }
        }
        Err(Error::Unsteady)
    }

    /// Whether the image is as it was, if it matters. One that could not be shown may be by now.
    async fn is_as_before(&self, attested: &Attested) -> Result<bool, Error> {
        match (&attested.image, attested.lack) {
            (Some(Image { spot, .. }), _) => {
                let spot = *spot;
                Ok(self.look(move |lens, peer| lens.is_still(peer, spot)).await??)
            }
            (None, Some(lack)) => Ok(self.look(Lens::image).await??.err() == Some(lack)),
            (None, None) => Ok(true),
        }
    }

    /// A look that may take as long as the process likes.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Lens, &Peer) -> T + Send + 'static) -> Result<T, Error> {
        self.attestor.look_at(self.peer(), &self.looks, look).await
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Arc<Attested>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{
        registry::{Change, entry},
        sys::kernel::Kernel,
    };

    #[test]
    fn a_group_that_is_newly_asked_for_means_another_look() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let facts = Peer::of(&socket, Kernel::probe(&[]).unwrap()).unwrap().facts(true).unwrap();
        let (uid, other) = (format!("unix:uid:{}", facts.uid), format!("unix:uid:{}", facts.uid + 1));
        let first = entry(1, "a", &[&uid, "unix:supplementary_gid:7"]);
        let snapshot = Snapshot::build(1, [Arc::new(first.clone())]);
        let attested = Attested {
            asked: snapshot.asked_of(facts.uid, facts.gid).mark(),
            facts,
            selectors: Selectors::default(),
            image: None,
            lack: None,
            known: ImageSet::empty(),
        };
        let with = |selectors: &[&str]| snapshot.apply(2, &[Change::Create(entry(2, "b", selectors))]).unwrap();
        assert!(attested.is_enough_for(&snapshot));
        assert!(attested.is_enough_for(&with(&[&other, "unix:supplementary_gid:8"])));
        assert!(attested.is_enough_for(&with(&[&uid])));
        assert!(!attested.is_enough_for(&with(&[&uid, "unix:supplementary_gid:8"])));
        assert!(!attested.is_enough_for(&with(&["unix:supplementary_group:web"])));
        assert!(!attested.is_enough_for(&with(&[&uid, "unix:user:web"])));
        assert!(!attested.is_enough_for(&snapshot.apply(2, &[Change::Delete(first.id)]).unwrap()));
    }
}
