//! What transactions wrote whose end is not known yet.
//!
//! Bounded: a transaction with very many different entries is remembered
//! coarsely, and when there is no room at all its bytes are given up
//! (`untracked`), which only means that they will never count as aborted.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use walker_wal::TransactionId;

/// Pairs of transaction and entry that are remembered, at most; 4 to 8 MB.
const MAX_SHARES: usize = 1 << 18;
/// So many of the latest shares are looked through for the entry at hand.
const RECENT: usize = 12;
/// Shares are merged when there are so many, and then each time their number
/// has doubled.
const FIRST_MERGE: usize = 64;

/// Bytes that a transaction wrote in an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Share {
    pub entry: u32,
    /// The entry's slot may have changed hands meanwhile.
    pub generation: u32,
    pub bytes: u64,
}

/// A transaction or subtransaction.
#[derive(Default, Debug)]
pub(crate) struct Writer {
    pub shares: SmallVec<[Share; 2]>,
    /// It outlives a crash.
    pub prepared: bool,
    merge_at: u32,
}

impl Writer {
    /// One share per entry.
    fn merge(&mut self) {
        self.shares.sort_unstable();
        self.shares.dedup_by(|later, kept| {
            let same = (later.entry, later.generation) == (kept.entry, kept.generation);
            if same {
                kept.bytes = kept.bytes.wrapping_add(later.bytes);
            }
            same
        });
        let next = (self.shares.len() * 2).max(FIRST_MERGE);
        self.merge_at = u32::try_from(next).unwrap_or(u32::MAX);
    }
}

/// The open transactions.
#[derive(Default, Debug)]
pub(crate) struct Open {
    writers: FxHashMap<TransactionId, Writer>,
    shares: usize,
    pub untracked: u64,
}

impl Open {
    pub fn len(&self) -> usize {
        self.writers.len()
    }

    /// A transaction wrote.
    #[inline]
    pub fn add(&mut self, xid: TransactionId, share: Share) {
        let writer = match self.writers.get_mut(&xid) {
            Some(writer) => writer,
            None if self.shares < MAX_SHARES => self.writers.entry(xid).or_default(),
            None => {
                self.untracked = self.untracked.wrapping_add(share.bytes);
                return;
            }
        };
        let same = |s: &&mut Share| (s.entry, s.generation) == (share.entry, share.generation);
        if let Some(known) = writer.shares.iter_mut().rev().take(RECENT).find(same) {
            known.bytes = known.bytes.wrapping_add(share.bytes);
            return;
        }
        if self.shares >= MAX_SHARES {
            self.untracked = self.untracked.wrapping_add(share.bytes);
            return;
        }
        let before = writer.shares.len();
        writer.shares.push(share);
        if writer.shares.len() >= (writer.merge_at as usize).max(FIRST_MERGE) {
            writer.merge();
        }
        self.shares = self.shares + writer.shares.len() - before;
    }

    /// The transaction has ended.
    pub fn take(&mut self, xid: TransactionId) -> Option<Writer> {
        let writer = self.writers.remove(&xid)?;
        self.shares -= writer.shares.len();
        Some(writer)
    }

    /// The transaction is prepared, if it wrote anything.
    pub fn prepare(&mut self, xid: TransactionId) {
        if let Some(writer) = self.writers.get_mut(&xid) {
            writer.prepared = true;
        }
    }

    /// The end of a transaction will not be known.
    pub fn forget(&mut self, xid: TransactionId) {
        if let Some(writer) = self.take(xid) {
            let bytes = writer.shares.iter().map(|s| s.bytes).sum::<u64>();
            self.untracked = self.untracked.wrapping_add(bytes);
        }
    }

    /// The ends of all transactions may have been missed.
    pub fn forget_all(&mut self) {
        let all: Vec<_> = self.writers.keys().copied().collect();
        all.into_iter().for_each(|xid| self.forget(xid));
    }

    /// All xids of which `which` says true.
    pub fn select(
        &self,
        which: impl Fn(TransactionId, &Writer) -> bool,
    ) -> SmallVec<[TransactionId; 16]> {
        let chosen = self.writers.iter().filter(|(xid, w)| which(**xid, w));
        chosen.map(|(xid, _)| *xid).collect()
    }

    /// All of them, each with one share per entry.
    pub fn merged(&mut self) -> impl Iterator<Item = (TransactionId, &Writer)> {
        for writer in self.writers.values_mut() {
            let before = writer.shares.len();
            writer.merge();
            self.shares -= before - writer.shares.len();
        }
        self.writers.iter().map(|(xid, w)| (*xid, w))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(entry: u32, bytes: u64) -> Share {
        Share {
            entry,
            generation: 0,
            bytes,
        }
    }

    #[test]
    fn shares_add_up_in_bounded_space() {
        let mut open = Open::default();
        // More entries than are looked through, over and over.
        for round in 0..1000 {
            for entry in 0..30 {
                open.add(7, share(entry, round));
            }
        }
        let writer = open.take(7).unwrap();
        assert!(writer.shares.len() < 100, "{}", writer.shares.len());
        let sum: u64 = writer.shares.iter().map(|s| s.bytes).sum();
        assert_eq!(sum, 30 * 999 * 1000 / 2);
        assert_eq!((open.len(), open.shares), (0, 0));
    }

    #[test]
    fn no_room_means_untracked() {
        let mut open = Open::default();
        for xid in 0..MAX_SHARES as u32 + 10 {
            open.add(xid, share(0, 1));
        }
        assert_eq!((open.len(), open.untracked), (MAX_SHARES, 10));
        open.add(1, share(0, 1));
        open.add(1, share(1, 1));
        assert_eq!(open.untracked, 11, "a known share costs no room");
        open.forget_all();
        assert_eq!(open.untracked, MAX_SHARES as u64 + 12);
        assert_eq!(open.shares, 0);
    }
}
