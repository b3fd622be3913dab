//! The counters in shared memory: one writer, any number of readers, no lock.
//!
//! A header and slots of six words, two of them the key and four counters. A
//! counter changes by a plain store of the only writer. Changes that concern
//! several slots at once (a relation is dropped, all is reset) are framed by
//! the epoch: odd while one is going on.

use crate::key::Key;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

/// The fewest entries a table may be limited to.
pub const MIN_ENTRIES: usize = 1024;

/// "walstat" and the version of this layout.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"walstat\x01");
pub(crate) const HEADER_WORDS: usize = 16;
pub(crate) const SLOT_WORDS: usize = 6;

/// The words of the header.
pub(crate) mod header {
    pub const MAGIC: usize = 0;
    pub const EPOCH: usize = 1;
    /// Slots beyond this one have never been used.
    pub const HIGH: usize = 2;
    pub const ENTRIES: usize = 3;
    pub const MAX_ENTRIES: usize = 4;
    pub const COUNTED_FROM: usize = 5;
    pub const RESET_REQUESTS: usize = 6;
    pub const RESETS_SERVED: usize = 7;
    pub const OPEN: usize = 8;
    pub const UNTRACKED: usize = 9;
    pub const GAPS: usize = 10;
    pub const MALFORMED: usize = 11;
    pub const STATE_LSN: usize = 12;
}

/// Bytes of shared memory that `entries` entries need.
pub fn area_bytes(entries: usize) -> usize {
    (HEADER_WORDS + entries * SLOT_WORDS) * size_of::<u64>()
}

/// What an entry counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Records.
    pub records: u64,
    /// Bytes of WAL, page images included.
    pub bytes: u64,
    /// Bytes of page images among them.
    pub fpi_bytes: u64,
    /// Bytes among them that aborted transactions wrote.
    pub aborted_bytes: u64,
}

impl Counters {
    pub(crate) fn words(self) -> [u64; 4] {
        [self.records, self.bytes, self.fpi_bytes, self.aborted_bytes]
    }

    pub(crate) fn of([records, bytes, fpi_bytes, aborted_bytes]: [u64; 4]) -> Counters {
        Counters {
            records,
            bytes,
            fpi_bytes,
            aborted_bytes,
        }
    }
}

/// What is known besides the entries.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Status {
    /// WAL from here on has been counted; 0 before the first record.
    pub counted_from: u64,
    /// Entries in use.
    pub entries: u64,
    /// Entries there may be.
    pub max_entries: u64,
    /// Transactions and subtransactions whose end is awaited.
    pub open_transactions: u64,
    /// Bytes whose transaction's end will not be known: they never count as
    /// aborted.
    pub untracked_bytes: u64,
    /// Times WAL was lost.
    pub gaps: u64,
    /// Records that could not be decoded (their bytes are counted).
    pub malformed_records: u64,
    /// The position of the state file, 0 if there is none.
    pub state_lsn: u64,
}

/// The writer's side.
#[derive(Debug)]
pub struct Table<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Table<'a> {
    /// Make the area an empty table. `None` if it is too small for
    /// [`MIN_ENTRIES`]. A reset that was asked for and not served before is
    /// still asked for.
    pub fn init(words: &'a [AtomicU64]) -> Option<Table<'a>> {
        if words.len() * size_of::<u64>() < area_bytes(MIN_ENTRIES) {
            return None;
        }
        let table = Table { words };
        let pending = table.get(header::MAGIC) == MAGIC && table.reset_pending();
        // Readers take a table without the magic number for none.
        table.set(header::MAGIC, 0);
        fence(Release);
        words
            .iter()
            .skip(header::EPOCH)
            .for_each(|w| w.store(0, Relaxed));
        table.set(header::RESET_REQUESTS, u64::from(pending));
        fence(Release);
        table.word(header::MAGIC)?.store(MAGIC, Release);
        Some(table)
    }

    /// Slots there is room for.
    pub fn capacity(&self) -> usize {
        (self.words.len() - HEADER_WORDS) / SLOT_WORDS
    }

    fn word(&self, at: usize) -> Option<&'a AtomicU64> {
        self.words.get(at)
    }

    fn get(&self, at: usize) -> u64 {
        self.word(at).map_or(0, |w| w.load(Relaxed))
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.word(at) {
            word.store(value, Relaxed);
        }
    }

    fn slot(&self, index: u32) -> usize {
        HEADER_WORDS + index as usize * SLOT_WORDS
    }

    /// Add to an entry's counters.
    #[inline]
    pub(crate) fn add(&self, index: u32, more: Counters) {
        let at = self.slot(index) + 2;
        if let Some(words) = self.words.get(at..at + 4) {
            for (word, more) in words.iter().zip(more.words()) {
                if more != 0 {
                    // The only writer: a load and a store will do.
                    word.store(word.load(Relaxed).wrapping_add(more), Relaxed);
                }
            }
        }
    }

    pub(crate) fn counters(&self, index: u32) -> Counters {
        let at = self.slot(index) + 2;
        Counters::of([
            self.get(at),
            self.get(at + 1),
            self.get(at + 2),
            self.get(at + 3),
        ])
    }

    /// Give a free slot, whose counters are zero, its key.
    pub(crate) fn occupy(&self, index: u32, key: Key) {
        let [place, rest] = key.to_words();
        let at = self.slot(index);
        self.set(at, place);
        if let Some(word) = self.word(at + 1) {
            word.store(rest, Release);
        }
        let high = self.get(header::HIGH).max(u64::from(index) + 1);
        self.set(header::HIGH, high);
    }

    /// Make a slot free again.
    pub(crate) fn vacate(&self, index: u32) {
        let at = self.slot(index);
        self.set(at + 1, 0);
        fence(Release);
        for word in [at, at + 2, at + 3, at + 4, at + 5] {
            self.set(word, 0);
        }
    }

    /// A change to several slots begins: readers will want to look again.
    pub(crate) fn begin_change(&self) {
        let epoch = self.get(header::EPOCH) | 1;
        self.set(header::EPOCH, epoch);
        fence(Release);
    }

    /// It is done.
    pub(crate) fn end_change(&self) {
        let epoch = self.get(header::EPOCH);
        if let Some(word) = self.word(header::EPOCH) {
            word.store(epoch.wrapping_add(epoch & 1), Release);
        }
    }

    /// Whether a reset was asked for.
    pub(crate) fn reset_pending(&self) -> bool {
        let asked = self
            .word(header::RESET_REQUESTS)
            .map_or(0, |w| w.load(Acquire));
        asked != self.get(header::RESETS_SERVED)
    }

    /// All resets asked for so far are done.
    pub(crate) fn reset_served(&self) {
        let asked = self.get(header::RESET_REQUESTS);
        self.set(header::RESETS_SERVED, asked);
    }

    /// Show the status.
    pub(crate) fn set_status(&self, status: &Status) {
        for (at, value) in [
            (header::COUNTED_FROM, status.counted_from),
            (header::ENTRIES, status.entries),
            (header::MAX_ENTRIES, status.max_entries),
            (header::OPEN, status.open_transactions),
            (header::UNTRACKED, status.untracked_bytes),
            (header::GAPS, status.gaps),
            (header::MALFORMED, status.malformed_records),
            (header::STATE_LSN, status.state_lsn),
        ] {
            self.set(at, value);
        }
    }
}
