//! Revoked certificates in the order of their serial numbers, in pieces whose encoding is kept.

use bytes::Bytes;
use ledger::Height;

use super::entry::Entry;
use super::serial::Serial;

/// The most entries of a piece: some 20 KiB when encoded, which is what a change has to encode anew.
const MOST: usize = 512;

/// Below this many entries a piece is joined to its neighbour, where both have room in one.
const FEW: usize = MOST / 8;

/// One entry for each serial number.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryList {
    /// In order, none of them empty.
    pieces: Vec<Piece>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Piece {
    entries: Vec<Entry>,
    /// None when something changed.
    encoded: Option<Bytes>,
    /// No entry was changed by a later block.
    newest: Height,
}

impl Piece {
    fn of(entries: Vec<Entry>) -> Self {
        let newest = entries.iter().map(|entry| entry.changed).max();
        Self {
            entries,
            encoded: None,
            newest: newest.unwrap_or_default(),
        }
    }

    fn encode(&mut self) -> Bytes {
        let entries = &self.entries;
        self.encoded
            .get_or_insert_with(|| {
                // Most entries have 37 to 39 octets.
                let mut out = Vec::with_capacity(entries.len() * 40);
                for entry in entries {
                    entry.encode(&mut out);
                }
                out.into()
            })
            .clone()
    }
}

impl EntryList {
    /// How many entries there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The piece that has this serial number, or would have it.
    fn place(&self, serial: &Serial) -> usize {
        let after = self.pieces.partition_point(|piece| {
            piece
                .entries
                .first()
                .is_some_and(|entry| entry.serial <= *serial)
        });
        after.saturating_sub(1)
    }

    /// The entry of a serial number.
    pub(crate) fn get(&self, serial: &Serial) -> Option<&Entry> {
        let entries = &self.pieces.get(self.place(serial))?.entries;
        let at = entries
            .binary_search_by(|entry| entry.serial.cmp(serial))
            .ok()?;
        entries.get(at)
    }

    /// Adds an entry, or replaces the one of the same serial number.
    pub(crate) fn put(&mut self, entry: Entry) {
        let at = self.place(&entry.serial);
        let Some(piece) = self.pieces.get_mut(at) else {
            self.pieces.push(Piece::of(vec![entry]));
            self.len += 1;
            return;
        };
        piece.encoded = None;
        piece.newest = piece.newest.max(entry.changed);
        match piece
            .entries
            .binary_search_by(|other| other.serial.cmp(&entry.serial))
        {
            Ok(found) => piece.entries[found] = entry,
            Err(gap) => {
                piece.entries.insert(gap, entry);
                self.len += 1;
                if piece.entries.len() > MOST {
                    let second = piece.entries.split_off(MOST / 2);
                    self.pieces.insert(at + 1, Piece::of(second));
                }
            }
        }
    }

    /// Removes the entry of a serial number.
    pub(crate) fn remove(&mut self, serial: &Serial) -> Option<Entry> {
        let at = self.place(serial);
        let piece = self.pieces.get_mut(at)?;
        let found = piece
            .entries
            .binary_search_by(|entry| entry.serial.cmp(serial))
            .ok()?;
        let entry = piece.entries.remove(found);
        piece.encoded = None;
        self.len -= 1;
        self.join(at);
        Some(entry)
    }

    /// Removes what `keep` does not want.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        for piece in &mut self.pieces {
            let before = piece.entries.len();
            piece.entries.retain(&mut keep);
            let gone = before - piece.entries.len();
            if gone > 0 {
                piece.encoded = None;
                self.len -= gone;
            }
        }
        self.pieces.retain(|piece| !piece.entries.is_empty());
        let mut at = 0;
        while at < self.pieces.len() {
            if !self.join(at) {
                at += 1;
            }
        }
    }

    /// Joins a piece that has become small to its neighbour, if that has room. Tells whether it did, or the piece was
    /// empty and is gone.
    fn join(&mut self, at: usize) -> bool {
        let few = match self.pieces.get(at) {
            Some(piece) if piece.entries.is_empty() => {
                self.pieces.remove(at);
                return true;
            }
            Some(piece) => piece.entries.len(),
            None => return false,
        };
        let Some(next) = self.pieces.get(at + 1) else {
            return false;
        };
        if few >= FEW || few + next.entries.len() > MOST {
            return false;
        }
        let next = self.pieces.remove(at + 1);
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.entries.extend(next.entries);
            piece.newest = piece.newest.max(next.newest);
            piece.encoded = None;
        }
        true
    }

    /// The content of `revokedCertificates`, in pieces. Only what changed is encoded.
    pub(crate) fn encode(&mut self) -> Vec<Bytes> {
        self.pieces.iter_mut().map(Piece::encode).collect()
    }

    /// The entries that blocks after this one changed, in order.
    pub(crate) fn changed_after(&self, height: Height) -> impl Iterator<Item = &Entry> {
        self.pieces
            .iter()
            .filter(move |piece| piece.newest > height)
            .flat_map(|piece| &piece.entries)
            .filter(move |entry| entry.changed > height)
    }

    /// All entries, in order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pieces.iter().flat_map(|piece| &piece.entries)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ledger::{CertificateHash, RevocationReason};
    use ocsp::UnixTime;
    use proptest::prelude::*;

    use super::*;

    fn entry(serial: u16, changed: u64) -> Entry {
        Entry {
            serial: Serial::new(&serial.to_be_bytes()).unwrap(),
            hash: CertificateHash::from_octets([1; 32]),
            reason: RevocationReason::KeyCompromise,
            time: UnixTime(changed),
            not_after: UnixTime(u64::from(serial)),
            changed: Height(changed),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u16),
        /// Many at once, so that pieces are split.
        Fill(u16),
        Remove(u16),
        /// All below, so that pieces become few and empty.
        Expire(u16),
        Encode,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u16>().prop_map(Step::Put),
            any::<u16>().prop_map(Step::Fill),
            any::<u16>().prop_map(Step::Remove),
            (0..u16::MAX / 4).prop_map(Step::Expire),
            Just(Step::Encode),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_what_a_sorted_map_is(steps in prop::collection::vec(step(), 1..60)) {
            let (mut list, mut map) = (EntryList::default(), BTreeMap::new());
            for (height, step) in (1..).zip(steps) {
                match step {
                    Step::Put(serial) => {
                        list.put(entry(serial, height));
                        map.insert(serial, entry(serial, height));
                    }
                    Step::Fill(from) => {
                        for serial in (from..=u16::MAX).step_by(7).take(600) {
                            list.put(entry(serial, height));
                            map.insert(serial, entry(serial, height));
                        }
                    }
                    Step::Remove(near) => {
                        let serial = map.range(near..).next().map_or(near, |(serial, _)| *serial);
                        let key = Serial::new(&serial.to_be_bytes()).unwrap();
                        prop_assert_eq!(list.remove(&key), map.remove(&serial));
                        prop_assert_eq!(list.get(&key), None);
                    }
                    Step::Expire(below) => {
                        list.retain(|entry| entry.not_after >= UnixTime(u64::from(below)));
                        map.retain(|serial, _| *serial >= below);
                    }
                    Step::Encode => {
                        list.encode();
                    }
                }
                prop_assert_eq!(list.len(), map.len());
                prop_assert!(list.iter().eq(map.values()));
                prop_assert!(list.pieces.iter().all(|piece| (1..=MOST).contains(&piece.entries.len())));
                let since = Height(height / 2);
                prop_assert!(
                    list.changed_after(since).eq(map.values().filter(|entry| entry.changed > since))
                );
            }
            let mut whole = Vec::new();
            for entry in map.values() {
                entry.encode(&mut whole);
                prop_assert_eq!(list.get(&entry.serial), Some(entry));
            }
            prop_assert_eq!(list.encode().concat(), whole);
        }
    }

    #[test]
    fn a_change_leaves_the_other_pieces_encodings_as_they_are() {
        let mut list = EntryList::default();
        for serial in 0..5_000 {
            list.put(entry(serial, 1));
        }
        let before = list.encode();
        list.put(entry(2_500, 2));
        let after = list.encode();
        assert_eq!(before.len(), after.len());
        let same = before
            .iter()
            .zip(&after)
            .filter(|(one, other)| one.as_ptr() == other.as_ptr())
            .count();
        assert_eq!(same, before.len() - 1);
    }
}
