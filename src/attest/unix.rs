//! The selectors of a Unix process: `unix:uid gid user group supplementary_gid supplementary_group path sha256` and
//! `dayfly:verity`, with SPIRE's names and meaning.

use std::{sync::Arc, time::Duration};

use super::{
    Error,
    hash::{FileSystem, Hasher, Limits, Unhashed, hex},
    names::Names,
};
use crate::{
    registry::{Image as Kind, ImageSet, Selector, Selectors, Snapshot},
    sys::{
        Clock,
        counters::Counters,
        image::{Image, Lack, Lens},
        kernel::Kernel,
        peer::{Facts, Fault, Peer},
        proc::file_id,
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
    names: Arc<Names>,
    hasher: Arc<Hasher>,
    clock: Clock,
    pub(super) counters: Arc<Counters>,
}

/// A process looked at from outside, with no connection (`explain`).
#[derive(Debug)]
pub(crate) struct Look {
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
        Self { lens, waits, kernel, names: Arc::default(), hasher: Arc::new(Hasher::new(limits)), clock, counters }
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

    /// A directory service may take its time, and is asked on a thread that may wait.
    async fn named(&self, facts: &Facts) -> Result<Vec<Selector>, Error> {
        let (names, facts) = (self.names.clone(), facts.clone());
        let looked_up = tokio::task::spawn_blocking(move || {
            let mut selectors = Vec::new();
            selectors.extend(names.user(facts.uid)?.and_then(|name| written("user", &name)));
            selectors.extend(names.group(facts.gid)?.and_then(|name| written("group", &name)));
            for gid in facts.groups.into_iter().flatten() {
                selectors.extend(names.group(gid)?.and_then(|name| written("supplementary_group", &name)));
            }
            Ok(selectors)
        });
        match tokio::time::timeout(self.waits.attestation, looked_up).await {
            Ok(Ok(selectors)) => selectors.map_err(Error::Names),
            Ok(Err(_)) | Err(_) => Err(Error::Names(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Adds the selectors of an image that entries wait for, cheap ones first: a hash is not taken for an entry that
    /// the path has ruled out. Answers the kinds that are known now. The caller checks afterwards that it still runs.
    pub(super) async fn add_imaged(
        &self,
        peer: &Peer,
        image: &Image,
        snapshot: &Snapshot,
        selectors: &mut Selectors,
    ) -> Result<ImageSet, Error> {
        let mut known = ImageSet::empty();
        let mut next = Some(Kind::Path);
        while let Some(kind) = next {
            selectors.extend(self.imaged(peer, image, kind).await?);
            known.insert(kind);
            let wanted = snapshot.images_wanted_beside(selectors, known);
            next = [Kind::Verity, Kind::Sha256].into_iter().find(|kind| wanted.contains(*kind));
        }
        Ok(known)
    }

    /// One selector of an image; `None` where it has none of that kind.
    async fn imaged(&self, peer: &Peer, image: &Image, kind: Kind) -> Result<Option<Selector>, Error> {
        Ok(match kind {
            Kind::Path => image.path.to_str().and_then(|path| written("path", path)),
            Kind::Sha256 => self.sha256(peer, image).await?.ok().and_then(|digest| written("sha256", &digest)),
            Kind::Verity => {
                verity(peer, image).await?.and_then(|digest| Selector::new("dayfly", &format!("verity:{digest}")).ok())
            }
        })
    }

    async fn sha256(&self, peer: &Peer, image: &Image) -> Result<Result<String, Unhashed>, Error> {
        let dir = peer.proc_dir()?;
        let file = dir.executable().map_err(Fault::Unreadable)?;
        if file_id(&file).map_err(Fault::Unreadable)? != image.spot.file {
            return Err(Error::Unsteady);
        }
        let open = move || dir.open_executable();
        let hashed = self.hasher.sha256(peer.uid(), &file, open, self.clock.now()).await;
        self.counters.hashed(match &hashed {
            Ok(Ok(_)) => "known",
            Ok(Err(_)) => "not_hashed",
            Err(_) => "failed",
        });
        hashed.map_err(Error::Hash)
    }

    /// Looks at a process from outside.
    ///
    /// # Errors
    /// When there is none, or names or hashes cannot be had.
    pub(crate) async fn look(&self, pid: i32, snapshot: &Snapshot) -> Result<Look, Error> {
        let peer = Peer::by_number(pid, self.kernel)?;
        let facts = peer.facts(true)?;
        let plain = self.plain(&facts, true).await?;
        let image = self.lens.image(&peer)?;
        let mut notes = Vec::new();
        let mut imaged = Vec::new();
        match &image {
            Ok(image) => {
                let mut wanted = snapshot.images_wanted(&plain);
                wanted.insert(Kind::Path);
                for kind in wanted.iter() {
                    imaged.extend(self.imaged(&peer, image, kind).await?);
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
        Ok(Look { facts, image, plain, imaged, notes })
    }
}

async fn verity(peer: &Peer, image: &Image) -> Result<Option<String>, Error> {
    let dir = peer.proc_dir()?;
    let file = dir.executable().map_err(Fault::Unreadable)?;
    if file_id(&file).map_err(Fault::Unreadable)? != image.spot.file {
        return Err(Error::Unsteady);
    }
    if FileSystem::of(&file).map_err(Fault::Unreadable)? != FileSystem::Local {
        return Ok(None);
    }
    let measured = tokio::task::spawn_blocking(move || measure(&dir.open_executable()?));
    let measured = measured.await.map_err(|_| Error::Unsteady)?.map_err(Fault::Unreadable)?;
    Ok(measured.map(|(algorithm, digest)| format!("{algorithm}:{}", hex(&digest))))
}

/// A selector of the process; `None` where the value cannot be written in an entry either.
fn written(name: &str, value: &str) -> Option<Selector> {
    Selector::new("unix", &format!("{name}:{value}")).ok()
}
