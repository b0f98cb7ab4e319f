//! All entries in their order, oldest first, in pieces that snapshots share.

use std::{sync::Arc, time::SystemTime};

use super::entry::{Entry, EntryId};

/// A piece that grows beyond this is cut in two.
const PIECE_MAX: usize = 512;

/// What the order goes by: age first; of the same age, the id.
type Place<'a> = (SystemTime, &'a EntryId);

/// Where an entry stands in the order.
pub(super) fn place(entry: &Entry) -> Place<'_> {
    (entry.created_at, &entry.id)
}

/// Entries in their order. Cloning shares the pieces. No piece is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Ordered {
    pieces: Vec<Arc<Vec<Arc<Entry>>>>,
    len: usize,
}

impl Ordered {
    /// Of entries that are in order already.
    pub(super) fn of_sorted(entries: &[Arc<Entry>]) -> Self {
        // Half full, so that the next insertions cut nothing.
        let pieces = entries.chunks(PIECE_MAX / 2).map(|piece| Arc::new(piece.to_vec())).collect();
        Self { pieces, len: entries.len() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    /// Those that stand after this place.
    pub(super) fn after(&self, at: Place<'_>) -> impl Iterator<Item = &Arc<Entry>> {
        let first = self.piece_of(at);
        let skipped = self.pieces.get(first).map_or(0, |piece| piece.partition_point(|entry| place(entry) <= at));
        self.pieces.iter().skip(first).flat_map(|piece| piece.iter()).skip(skipped)
    }

    /// The piece in which this place is, or the one after the last.
    fn piece_of(&self, at: Place<'_>) -> usize {
        self.pieces.partition_point(|piece| piece.last().is_some_and(|last| place(last) < at))
    }

    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        // After all others it goes into the last piece.
        let index = self.piece_of(place(&entry)).min(self.pieces.len().saturating_sub(1));
        self.len += 1;
        let Some(piece) = self.pieces.get_mut(index) else {
            self.pieces.push(Arc::new(vec![entry]));
            return;
        };
        let piece = Arc::make_mut(piece);
        let at = piece.partition_point(|other| place(other) < place(&entry));
        piece.insert(at, entry);
        if piece.len() > PIECE_MAX {
            let second = piece.split_off(PIECE_MAX / 2);
            self.pieces.insert(index + 1, Arc::new(second));
        }
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        let index = self.piece_of(place(entry));
        let Some(piece) = self.pieces.get_mut(index) else { return };
        let Ok(at) = piece.binary_search_by(|other| place(other).cmp(&place(entry))) else { return };
        let piece = Arc::make_mut(piece);
        piece.remove(at);
        self.len -= 1;
        if piece.is_empty() {
            self.pieces.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::{Arc, Entry, EntryId, Ordered, PIECE_MAX, SystemTime};
    use crate::{registry::Draft, spiffe::TrustDomain};

    fn entry(age: u64) -> Arc<Entry> {
        let draft = Draft {
            spiffe_id: "spiffe://example.org/a".into(),
            selectors: vec!["unix:uid:1".into()],
            ..Draft::default()
        };
        let spec = draft.check(&TrustDomain::parse("example.org").unwrap()).unwrap();
        let created_at = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
        Arc::new(Entry { id: EntryId::from_random([0; 16]), spec, revision: 1, created_at, since: created_at })
    }

    fn pieces(ordered: &Ordered) -> Vec<usize> {
        ordered.pieces.iter().map(|piece| piece.len()).collect()
    }

    #[test]
    fn pieces_are_cut_in_two_when_they_are_full() {
        let mut ordered = Ordered::default();
        for age in 0..512 {
            ordered.insert(entry(age));
        }
        assert_eq!(pieces(&ordered), [PIECE_MAX]);
        ordered.insert(entry(512));
        assert_eq!(pieces(&ordered), [256, 257]);
        // Into the first piece, and into the second, which is cut; the order of pieces stays.
        ordered.insert(entry(10));
        for age in 600..856 {
            ordered.insert(entry(age));
        }
        assert_eq!(pieces(&ordered), [257, 256, 257]);
        assert!(ordered.iter().is_sorted_by_key(|entry| entry.created_at));
        let filled: Vec<_> = (0..1000).map(entry).collect();
        assert_eq!(pieces(&Ordered::of_sorted(&filled)), [256, 256, 256, 232]);
    }
}
