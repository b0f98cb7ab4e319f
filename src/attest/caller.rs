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
    registry::{ImageSet, Selectors, Snapshot},
    sys::{
        image::{Image, Lack, Spot},
        looks::Looks,
        peer::{Exit, Facts, Peer},
        stream::{Line, Question},
    },
};

/// How often a process that changes while it is looked at is looked at again.
const LOOKS_MAX: usize = 8;

/// What was true of a caller, and under which circumstances.
#[derive(Debug)]
pub(crate) struct Attested {
    pub(crate) facts: Facts,
    /// All selectors that hold.
    pub(crate) selectors: Selectors,
    /// The image that answered; absent when none was asked, or it lacks something.
    pub(crate) image: Option<Image>,
    /// What the image lacks, if one was asked for and cannot be shown.
    pub(crate) lack: Option<Lack>,
    /// The kinds of image selectors that it has, or is known to have none of.
    known: ImageSet,
    asked: Asked,
}

/// What entries ask of a caller beside its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    groups: bool,
    names: bool,
}

impl Asked {
    fn by(snapshot: &Snapshot) -> Self {
        Self { groups: snapshot.groups_wanted(), names: snapshot.names_wanted() }
    }
}

impl Attested {
    /// Whether the entries of `snapshot` ask what was looked at, and nothing more.
    pub(crate) fn is_enough_for(&self, snapshot: &Snapshot) -> bool {
        self.asked == Asked::by(snapshot)
            && self.known.is_empty() == snapshot.images_wanted(&self.selectors).is_empty()
            && snapshot.images_wanted_beside(&self.selectors, self.known).is_empty()
    }
}

/// A caller of the daemon. One for each connection.
pub(crate) struct Caller {
    line: Line,
    looks: Looks,
    attestor: Arc<Attestor>,
    memo: Mutex<Memo>,
}

#[derive(Default)]
struct Memo {
    last: Option<Arc<Attested>>,
    /// The image that answered the challenge on this connection.
    proved: Option<Spot>,
    /// Whether any challenge was answered on this connection.
    writer_proved: bool,
}

impl Caller {
    /// The caller at the end of a line, and the right to look at it.
    pub(crate) fn new(line: Line, looks: Looks, attestor: Arc<Attestor>) -> Self {
        Self { line, looks, attestor, memo: Mutex::default() }
    }

    /// The process that connected.
    pub(crate) fn peer(&self) -> &Peer {
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

    /// What is true of the caller now, as far as the entries of `snapshot` could ask.
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
        let asked = Asked::by(snapshot);
        let facts = match self.peer().is_read(asked.groups) {
            true => self.look(|peer| peer.facts(asked.groups)).await??,
            false => self.peer().facts(asked.groups)?,
        };
        let last = self.memo().last.clone();
        if let Some(last) = last
            && last.facts == facts
            && last.is_enough_for(snapshot)
            && self.is_as_before(&last).await?
        {
            return Ok(last);
        }
        let mut selectors = self.attestor.plain(&facts, asked.names).await?;
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
        if !self.peer().is_exact() && !self.memo().writer_proved {
            // The process was found by its number, which may be a successor's: only an answer shows that it is the one.
            self.ask(Question::Writer).await?.ok();
        }
        let took_time = asked.names || !known.is_empty() || !self.peer().is_exact();
        let attested = Attested { facts, selectors, image, lack, known, asked };
        // What took time to read must still be so.
        if took_time && !self.holds(&attested).await? {
            return Err(Error::Unsteady);
        }
        let attested = Arc::new(attested);
        self.memo().last = Some(attested.clone());
        Ok(attested)
    }

    /// The image that runs and has answered on this connection, or what it lacks.
    async fn prove_image(&self) -> Result<Result<Image, Lack>, Error> {
        let (lens, proved) = (&self.attestor.lens, self.memo().proved);
        if let Some(spot) = proved {
            match self.look(|peer| lens.image(peer)).await?? {
                Ok(image) if image.spot != spot => {}
                seen => return Ok(seen),
            }
        }
        // Who lacks the path is not asked. All else is looked at on both sides of the question.
        let (file, path) = match self.look(|peer| lens.path(peer)).await?? {
            Ok(found) => found,
            Err(lack) => return Ok(Err(lack)),
        };
        Ok(match self.ask(Question::Image).await? {
            Ok(Some(spot)) if spot.file == file => {
                self.memo().proved = Some(spot);
                Ok(Image { spot, path })
            }
            Ok(_) => return Err(Error::Unsteady),
            Err(lack) => Err(lack),
        })
    }

    async fn ask(&self, question: Question) -> Result<Result<Option<Spot>, Lack>, Error> {
        let wait: Duration = self.attestor.waits.ping;
        match tokio::time::timeout(wait, self.line.challenge(question)).await {
            Ok(Some(answer)) => {
                self.attestor.counters.challenged(match &answer {
                    Ok(_) => "answered",
                    Err(lack) => lack.code(),
                });
                if answer.is_ok() {
                    self.memo().writer_proved = true;
                }
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
    pub(crate) async fn holds(&self, attested: &Attested) -> Result<bool, Error> {
        let (lens, facts) = (&self.attestor.lens, &attested.facts);
        match &attested.image {
            Some(image) => {
                let seen = self.look(|peer| Ok(lens.is_still(peer, image.spot)? && peer.still(facts)?));
                seen.await?.map_err(Error::Fault)
            }
            None if self.peer().is_read(false) => Ok(self.look(|peer| peer.still(facts)).await??),
            None => Ok(self.peer().still(facts)?),
        }
    }

    /// Whether the image is as it was, if it matters. One that could not be shown may be by now.
    async fn is_as_before(&self, attested: &Attested) -> Result<bool, Error> {
        let lens = &self.attestor.lens;
        match (&attested.image, attested.lack) {
            (Some(image), _) => Ok(self.look(|peer| lens.is_still(peer, image.spot)).await??),
            (None, Some(lack)) => Ok(self.look(|peer| lens.image(peer)).await??.err() == Some(lack)),
            (None, None) => Ok(true),
        }
    }

    /// A look that may take as long as the process likes.
    async fn look<T>(&self, look: impl FnOnce(&Peer) -> T) -> Result<T, Error> {
        Ok(self.attestor.begin_look(&self.looks).await?.run(|| look(self.peer())))
    }

    fn memo(&self) -> std::sync::MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
