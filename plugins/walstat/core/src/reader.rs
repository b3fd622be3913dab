//! Reading the table from another process.

use crate::key::Key;
use crate::table::{Counters, HEADER_WORDS, MAGIC, SLOT_WORDS, Status, header};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::fence;

/// Times a snapshot is tried again when the writer moved entries meanwhile.
const RETRIES: u32 = 64;

/// An entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// What it counts.
    pub counters: Counters,
}

/// The reader's side.
#[derive(Clone, Copy, Debug)]
pub struct TableReader<'a> {
    words: &'a [AtomicU64],
}

impl<'a> TableReader<'a> {
    /// `None` if there is no table in the area (yet).
    pub fn open(words: &'a [AtomicU64]) -> Option<TableReader<'a>> {
        (words.get(header::MAGIC)?.load(Acquire) == MAGIC).then_some(TableReader { words })
    }

    fn get(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |w| w.load(Relaxed))
    }

    /// All entries in use. Each counter is a true value of some moment; no
    /// entry is seen twice or between two places, unless the writer died in
    /// the middle of moving them.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for _ in 0..RETRIES {
            let before = self.words.get(header::EPOCH).map(|w| w.load(Acquire));
            self.read(&mut rows);
            fence(Acquire);
            let after = self.get(header::EPOCH);
            if before == Some(after) && after.is_multiple_of(2) {
                break;
            }
            std::thread::yield_now();
        }
        rows
    }

    fn read(&self, rows: &mut Vec<Row>) {
        rows.clear();
        let high = usize::try_from(self.get(header::HIGH)).unwrap_or(usize::MAX);
        let slots = self.words.get(HEADER_WORDS..).unwrap_or_default();
        for slot in slots.chunks_exact(SLOT_WORDS).take(high) {
            let [place, rest, records, bytes, fpi, aborted] = slot else {
                continue;
            };
            let key = rest.load(Acquire);
            if key == 0 {
                continue;
            }
            let place = place.load(Relaxed);
            let counters = Counters::of([records, bytes, fpi, aborted].map(|w| w.load(Relaxed)));
            fence(Acquire);
            // A slot that changed hands meanwhile is nobody's.
            if rest.load(Relaxed) == key
                && let Some(key) = Key::from_words([place, key])
            {
                rows.push(Row { key, counters });
            }
        }
    }

    /// What is known besides the entries.
    pub fn status(&self) -> Status {
        Status {
            counted_from: self.get(header::COUNTED_FROM),
            entries: self.get(header::ENTRIES),
            max_entries: self.get(header::MAX_ENTRIES),
            open_transactions: self.get(header::OPEN),
            untracked_bytes: self.get(header::UNTRACKED),
            gaps: self.get(header::GAPS),
            malformed_records: self.get(header::MALFORMED),
            state_lsn: self.get(header::STATE_LSN),
        }
    }

    /// Ask the writer to set all counters to zero. It does so soon.
    pub fn request_reset(&self) {
        if let Some(word) = self.words.get(header::RESET_REQUESTS) {
            word.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        }
    }
}
