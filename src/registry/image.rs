//! Selectors that say which program runs. To read them costs the caller a round trip and sometimes a hash,
//! so they are asked only where an entry turns on them.

/// A selector of the running image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Image {
    /// `unix:path`: where the executable lies.
    Path,
    /// `unix:sha256`: the digest of the executable.
    Sha256,
    /// `dayfly:verity`: the fs-verity digest of the executable.
    Verity,
}

impl Image {
    /// All there are.
    pub(crate) const ALL: [Self; 3] = [Self::Path, Self::Sha256, Self::Verity];

    const fn bit(self) -> u8 {
        match self {
            Self::Path => 1,
            Self::Sha256 => 2,
            Self::Verity => 4,
        }
    }
}

/// Some kinds of image selectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ImageSet(u8);

impl ImageSet {
    /// None of them.
    pub(crate) const fn empty() -> Self {
        Self(0)
    }

    /// Every one of them.
    pub(crate) const fn all() -> Self {
        Self(Image::Path.bit() | Image::Sha256.bit() | Image::Verity.bit())
    }

    /// Whether this kind is one of them.
    pub(crate) const fn contains(self, image: Image) -> bool {
        self.0 & image.bit() != 0
    }

    /// Whether all of these are.
    pub(crate) const fn includes(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Adds a kind.
    pub(crate) fn insert(&mut self, image: Image) {
        self.0 |= image.bit();
    }

    /// Adds several kinds.
    pub(crate) fn insert_all(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Whether there is none.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds, in the order of [`Image::ALL`].
    pub(crate) fn iter(self) -> impl Iterator<Item = Image> {
        Image::ALL.into_iter().filter(move |image| self.contains(*image))
    }
}

impl FromIterator<Image> for ImageSet {
    fn from_iter<I: IntoIterator<Item = Image>>(images: I) -> Self {
        let mut set = Self::empty();
        for image in images {
            set.insert(image);
        }
        set
    }
}
