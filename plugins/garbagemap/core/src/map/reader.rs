//! Any process that reads the map: finding relations.

use super::layout::*;
use super::relation::RelationMap;
use super::status::{self, MapStatus};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::*, fence};
use std::time::Duration;
use walker_wal::RelFileLocator;

/// Reads the map.
///
/// Waiting for the writer to finish a change is bounded for the reader as a
/// whole: after 300 waits that led to nothing everything that is being
/// changed counts as unknown. A change takes the writer microseconds, so this
/// happens only if it died in the middle of one.
pub struct MapReader<'a> {
    pub(super) area: &'a [AtomicU64],
    pub(super) layout: Layout,
    range_blocks: u32,
    epoch: u64,
    patience: Cell<u32>,
}

/// Waits of one reader: the first are a few instructions, the rest sleep.
const PATIENCE: u32 = 300;
const SPINS: u32 = 100;
const NAP: Duration = Duration::from_micros(50);

/// How full the map is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapFacts {
    /// Blocks per range.
    pub range_blocks: u32,
    /// Grows each time the writer starts with an empty map.
    pub epoch: u64,
    /// Relations in the map.
    pub relations: u64,
    /// Relations there is room for.
    pub max_relations: u64,
    /// Relations that did not fit and read as unknown.
    pub overflowed: u64,
    /// Pages of counters in use.
    pub pages_used: u64,
    /// Pages of counters there are.
    pub pages: u64,
    /// Size of the area in bytes.
    pub bytes: u64,
}

impl<'a> MapReader<'a> {
    /// `None` if there is no map in the area: it was never formatted, or is
    /// being formatted right now.
    pub fn open(area: &'a [AtomicU64]) -> Option<Self> {
        let layout = Layout::of(area.len())?;
        for attempt in 0..PATIENCE {
            let epoch = area[H_EPOCH].load(Acquire);
            if area[H_MAGIC].load(Acquire) != MAGIC {
                return None;
            }
            let range_blocks = area[H_RANGE_BLOCKS].load(Relaxed);
            fence(Acquire);
            if epoch & 1 == 0 && area[H_EPOCH].load(Relaxed) == epoch {
                let range_blocks = u32::try_from(range_blocks)
                    .ok()
                    .filter(|b| (1..=crate::MAX_RANGE_BLOCKS).contains(b))?;
                let patience = Cell::new(PATIENCE - attempt);
                return Some(MapReader {
                    area,
                    layout,
                    range_blocks,
                    epoch,
                    patience,
                });
            }
            pause(attempt);
        }
        None
    }

    /// Blocks per range.
    pub fn range_blocks(&self) -> u32 {
        self.range_blocks
    }

    /// How full the map is.
    pub fn facts(&self) -> MapFacts {
        let word = |at: usize| self.area[at].load(Relaxed);
        let pages = u64::from(self.layout.pages);
        MapFacts {
            range_blocks: self.range_blocks,
            epoch: self.epoch,
            relations: word(H_RELATIONS),
            max_relations: u64::from(self.layout.entries),
            overflowed: word(H_OVERFLOWED),
            pages_used: pages.saturating_sub(word(H_FREE_PAGES)),
            pages,
            bytes: size_of_val(self.area) as u64,
        }
    }

    /// The ledger's statistics; `None` if the writer died writing them.
    pub fn status(&self) -> Option<MapStatus> {
        loop {
            if let Some(status) = status::load(self.area) {
                return Some(status);
            }
            if !self.wait() {
                return None;
            }
        }
    }

    /// What is known of a relation. `None` says that nothing is.
    pub fn find(&self, locator: RelFileLocator) -> Option<RelationMap<'_>> {
        let mask = self.layout.dir_slots - 1;
        loop {
            let seq = self.area[H_DIR_SEQ].load(Acquire);
            let mut slot = self.layout.home_slot(locator);
            for _ in 0..self.layout.dir_slots {
                let word = self.area[self.layout.dir_word(slot)].load(Acquire);
                let Some(entry) = word.checked_sub(1) else {
                    break;
                };
                if entry < u64::from(self.layout.entries)
                    && self.peek(entry as u32) == locator
                    && let Some(rel) = self.entry(entry as u32)
                    && rel.locator() == locator
                {
                    return Some(rel);
                }
                slot = (slot + 1) & mask;
            }
            // It may have been moved from before our eyes to behind them.
            fence(Acquire);
            if seq & 1 == 0 && self.area[H_DIR_SEQ].load(Relaxed) == seq || !self.wait() {
                return None;
            }
        }
    }

    /// All relations in the map, in no order. Relations that come or go
    /// meanwhile may or may not be among them.
    pub fn relations(&self) -> Relations<'_> {
        let touched = self.area[H_ENTRIES_TOUCHED].load(Relaxed);
        let end = touched.min(u64::from(self.layout.entries)) as u32;
        Relations {
            reader: self,
            next: 0,
            end,
        }
    }

    /// The locator that an entry seems to have.
    fn peek(&self, entry: u32) -> RelFileLocator {
        let word = |field| self.area[self.layout.entry_word(entry, field)].load(Relaxed);
        locator_of(word(E_SPC_DB), word(E_FLAGS_REL) as u32)
    }

    /// An entry's relation; `None` if the entry is free or cannot be read.
    pub(super) fn entry(&self, entry: u32) -> Option<RelationMap<'_>> {
        let word = |field| &self.area[self.layout.entry_word(entry, field)];
        let patience = self.patience.get();
        loop {
            let seq = word(E_SEQ).load(Acquire);
            let spc_db = word(E_SPC_DB).load(Relaxed);
            let flags_rel = word(E_FLAGS_REL).load(Relaxed);
            let known_from = word(E_KNOWN_FROM).load(Relaxed);
            if seq & 1 == 0 && self.unchanged(entry, seq) {
                self.patience.set(patience);
                let flags = (flags_rel >> 32) as u32;
                return (flags & FLAG_USED != 0).then(|| {
                    let known_from = known_from
                        .checked_sub(1)
                        .and_then(|b| u32::try_from(b).ok());
                    let overflowed = flags & FLAG_OVERFLOWED != 0;
                    let locator = locator_of(spc_db, flags_rel as u32);
                    RelationMap::new(self, entry, seq, locator, known_from, overflowed)
                });
            }
            if self.reformatted() || !self.wait() {
                return None;
            }
        }
    }

    /// Whether what was read of an entry since its sequence number was `seq`
    /// may be believed.
    pub(super) fn unchanged(&self, entry: u32, seq: u64) -> bool {
        fence(Acquire);
        self.area[self.layout.entry_word(entry, E_SEQ)].load(Relaxed) == seq && !self.reformatted()
    }

    fn reformatted(&self) -> bool {
        self.area[H_EPOCH].load(Relaxed) != self.epoch
    }

    /// Give the writer a moment. False if it had moments enough.
    fn wait(&self) -> bool {
        let Some(left) = self.patience.get().checked_sub(1) else {
            return false;
        };
        self.patience.set(left);
        pause(PATIENCE - left);
        true
    }
}

fn pause(attempt: u32) {
    if attempt < SPINS {
        std::hint::spin_loop();
    } else {
        std::thread::sleep(NAP);
    }
}

/// All relations in the map; see [`MapReader::relations`].
pub struct Relations<'r> {
    reader: &'r MapReader<'r>,
    next: u32,
    end: u32,
}

impl<'r> Iterator for Relations<'r> {
    type Item = RelationMap<'r>;

    fn next(&mut self) -> Option<RelationMap<'r>> {
        while self.next < self.end {
            self.next += 1;
            if let Some(rel) = self.reader.entry(self.next - 1) {
                return Some(rel);
            }
        }
        None
    }
}
