//! The selectors of a Unix process: `unix:uid gid user group supplementary_gid supplementary_group path sha256` and
//! `dayfly:verity`, with SPIRE's names and meaning.

use std::{sync::Arc, time::Duration};

use super::{
    Error,
    hash::{Hasher, Limits, Seen, Unhashed, hex},
    names::{Directory, Names},
};
use crate::{
    registry::{Image as Kind, ImageSet, Selector, Selectors, Snapshot},
    sys::{
        Clock,
        counters::Counters,
        image::{Image, Lack, Lens, Spot},
        kernel::Kernel,
        looks::{AllLooks, Looks},
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
    pub(super) names: Names,
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
    pub(crate) fn new(
        lens: Lens,
        waits: Waits,
        kernel: Kernel,
        looks: &AllLooks,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> Self {
        let limits = Limits { bytes_max: waits.hash_bytes_max, wait: waits.hash, at_once: waits.hashes_at_once };
        let (names, hasher) = (Names::new(Directory::of_node(), waits.attestation), Arc::new(Hasher::new(limits)));
        Self { lens, waits, kernel, names, hasher, looks: looks.own(), clock, counters }
    }

    /// How images are looked at.
    pub(crate) fn lens(&self) -> &Lens {
        &self.lens
    }

    /// Adds the selectors of an image that entries wait for, cheap ones first: a hash is not taken for an entry that
    /// the path has ruled out. Answers the kinds that are known now. The caller checks afterwards that it still runs.
    pub(super) async fn add_imaged(
        &self,
        peer: &Arc<Peer>,
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
    async fn imaged(
        &self,
        peer: &Arc<Peer>,
        image: &Image,
        kind: Kind,
        looks: &Looks,
    ) -> Result<Option<Selector>, Error> {
        Ok(match kind {
            Kind::Path => image.path.to_str().and_then(|path| written("path", path)),
            Kind::Sha256 => self.sha256(peer, image, looks).await?.ok().and_then(|digest| written("sha256", &digest)),
            Kind::Verity => {
                let digest = self.verity(peer, image, looks).await?;
                digest.and_then(|digest| Selector::new("dayfly", &format!("verity:{digest}")).ok())
            }
        })
    }

    async fn sha256(&self, peer: &Arc<Peer>, image: &Image, looks: &Looks) -> Result<Result<String, Unhashed>, Error> {
        let spot = image.spot;
        let (dir, seen) = self.look_at(peer, looks, move |_, peer| see(peer, spot)).await??;
        let open = move || dir.open_executable();
        let hashed = self.hasher.sha256(peer.uid(), seen, open, self.clock.now()).await;
        self.counters.hashed(match &hashed {
            Ok(Ok(_)) => "known",
            Ok(Err(_)) => "not_hashed",
            Err(_) => "failed",
        });
        hashed.map_err(Error::Hash)
    }

    async fn verity(&self, peer: &Arc<Peer>, image: &Image, looks: &Looks) -> Result<Option<String>, Error> {
        let spot = image.spot;
        let measuring = self.look_at(peer, looks, move |_, peer| {
            let (dir, seen) = see(peer, spot)?;
            if !seen.is_local() {
                return Ok::<_, Error>(None);
            }
            let measured = dir.open_executable().and_then(|file| measure(&file));
            let measured = measured.map_err(|error| Error::Fault(Fault::Unreadable(error)))?;
            Ok(measured.map(|(algorithm, digest)| (algorithm, hex(&digest))))
        });
        let measured = measuring.await??;
        Ok(measured.map(|(algorithm, digest)| format!("{algorithm}:{digest}")))
    }

    /// Makes a look that may take as long as the process likes; it is not waited for that long.
    pub(super) async fn look_at<T: Send + 'static>(
        &self,
        peer: &Arc<Peer>,
        looks: &Looks,
        look: impl FnOnce(&Lens, &Peer) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (lens, subject) = (self.lens.clone(), peer.clone());
        let looking = looks.make(peer.pid(), move || look(&lens, &subject));
        let looked = tokio::time::timeout(self.waits.attestation, looking).await;
        looked.ok().flatten().ok_or(Error::Looks)
    }

    /// Looks at a process from outside.
    ///
    /// # Errors
    /// When there is none, or names or hashes cannot be had.
    pub(crate) async fn look(&self, pid: i32, snapshot: &Snapshot) -> Result<Outside, Error> {
        let (lens, kernel) = (self.lens.clone(), self.kernel);
        let looking = self.looks.make(pid, move || {
            let peer = Peer::by_number(pid, kernel)?;
            let (seen, image) = (peer.facts_and_groups()?, lens.image(&peer)?);
            Ok::<_, Fault>((Arc::new(peer), seen, image))
        });
        let looked = tokio::time::timeout(self.waits.attestation, looking).await;
        let (peer, (facts, groups), image) = looked.ok().flatten().ok_or(Error::Looks)??;
        let (plain, left_out) = self.plain_outside(&facts, &groups, snapshot).await?;
        let mut notes = Vec::new();
        if left_out > 0 {
            notes.push(format!("{left_out} more supplementary groups, which no entry asks of it"));
        }
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
fn see(peer: &Peer, spot: Spot) -> Result<(ProcDir, Seen), Error> {
    let dir = peer.proc_dir()?;
    let seen = dir.executable().and_then(|file| Seen::of(&file)).map_err(Fault::Unreadable)?;
    match seen.file() == spot.file {
        true => Ok((dir, seen)),
        false => Err(Error::Unsteady),
    }
}

/// A selector of the process; `None` where the value cannot be written in an entry either.
pub(super) fn written(name: &str, value: &str) -> Option<Selector> {
    Selector::new("unix", &format!("{name}:{value}")).ok()
}
