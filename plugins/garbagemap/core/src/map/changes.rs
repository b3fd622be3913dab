//! What the ledger asks of the map, on top of the writer's chains and
//! directory.

use super::counted;
use super::layout::*;
use super::word::{Place, pack, place_of};
use super::writer::{Entry, MapWriter, RelHandle, begin, end};
use crate::{Counters, HORIZON_BUCKETS, HorizonBucket, RangeCounts, Rates, Sink};
use std::sync::atomic::Ordering::Relaxed;
use walker_wal::{BlockNumber, RelFileLocator};

impl MapWriter<'_> {
    /// Store words of a relation's entry.
    #[inline]
    fn store<const N: usize>(&mut self, rel: RelHandle, first: usize, words: [u64; N]) {
        if self.live(rel).is_some() {
            for (i, word) in words.into_iter().enumerate() {
                self.field(rel.entry, first + i).store(word, Relaxed);
            }
        }
    }
}

impl Sink for MapWriter<'_> {
    type Rel = RelHandle;

    fn open(&mut self, locator: RelFileLocator) -> Option<RelHandle> {
        let slot = match self.probe(locator) {
            Ok((_, entry)) => {
                let generation = self.entries[entry as usize].generation;
                return Some(RelHandle { entry, generation });
            }
            Err(slot) => slot,
        };
        let entry = match self.free_entries.pop() {
            Some(entry) => entry,
            None if self.entries.len() < self.layout.entries as usize => {
                self.entries.push(Entry::default());
                self.area[H_ENTRIES_TOUCHED].store(self.entries.len() as u64, Relaxed);
                self.entries.len() as u32 - 1
            }
            None => return None,
        };
        let (spc_db, number) = key_of(locator);
        begin(self.field(entry, E_SEQ));
        self.field(entry, E_SPC_DB).store(spc_db, Relaxed);
        self.field(entry, E_FLAGS_REL)
            .store(u64::from(FLAG_USED) << 32 | u64::from(number), Relaxed);
        for field in E_KNOWN_FROM..ENTRY_WORDS {
            self.field(entry, field).store(0, Relaxed);
        }
        end(self.field(entry, E_SEQ));
        let own = &mut self.entries[entry as usize];
        own.locator = Some(locator);
        own.overflowed = false;
        let generation = own.generation;
        self.set_slot(slot, entry + 1);
        self.relations += 1;
        self.show_facts();
        Some(RelHandle { entry, generation })
    }

    #[inline]
    fn publish(&mut self, rel: RelHandle, rangeno: u32, counts: RangeCounts) -> bool {
        let Some(own) = self.live(rel) else {
            return false;
        };
        if own.overflowed {
            return false;
        }
        let place = place_of(rangeno);
        let word = match place {
            Place::Inline(i) => self.field(rel.entry, E_INLINE + i),
            Place::Page(pageno, i) => {
                let page = match Self::find_page(&own.pages, pageno) {
                    Ok(page) => Some(page),
                    Err(at) => self.grow(rel.entry, at, pageno),
                };
                let Some(page) = page else {
                    self.overflow(rel);
                    return false;
                };
                self.page_word(page, 1 + i)
            }
        };
        word.store(pack(counts), Relaxed);
        true
    }

    fn set_known_from(&mut self, rel: RelHandle, known_from: Option<BlockNumber>) {
        if self.live(rel).is_some() {
            begin(self.field(rel.entry, E_SEQ));
            self.field(rel.entry, E_KNOWN_FROM)
                .store(known_from.map_or(0, |b| u64::from(b) + 1), Relaxed);
            end(self.field(rel.entry, E_SEQ));
        }
    }

    #[inline]
    fn publish_bucket(&mut self, rel: RelHandle, index: usize, bucket: HorizonBucket) {
        if self.live(rel).is_some() && index < HORIZON_BUCKETS {
            let word = u64::from(bucket.xid) << 32 | u64::from(bucket.count);
            self.field(rel.entry, E_HORIZON + index)
                .store(word, Relaxed);
        }
    }

    fn publish_counters(&mut self, rel: RelHandle, counters: &Counters) {
        self.store(rel, E_COUNTERS, counted::words(counters));
    }

    fn publish_rates(&mut self, rel: RelHandle, rates: &Rates) {
        self.store(rel, E_RATES, counted::rate_words(rates));
    }

    fn truncate(&mut self, rel: RelHandle, first_rangeno: u32) {
        let Some(own) = self.live(rel) else { return };
        let (keep_inline, keep_pages, rest) = match place_of(first_rangeno) {
            Place::Inline(i) => (i, 0, None),
            Place::Page(pageno, i) => {
                let at = own.pages.partition_point(|p| p.pageno < pageno);
                let rest = own.pages.get(at).filter(|p| p.pageno == pageno && i > 0);
                let rest = rest.map(|p| (p.page, i));
                (
                    INLINE_RANGES as usize,
                    at + usize::from(rest.is_some()),
                    rest,
                )
            }
        };
        begin(self.field(rel.entry, E_SEQ));
        for i in keep_inline..INLINE_RANGES as usize {
            self.field(rel.entry, E_INLINE + i).store(0, Relaxed);
        }
        if let Some((page, from)) = rest {
            for i in from..PAGE_RANGES as usize {
                self.page_word(page, 1 + i).store(0, Relaxed);
            }
        }
        self.cut(rel.entry, keep_pages);
        end(self.field(rel.entry, E_SEQ));
        self.show_facts();
    }

    fn close(&mut self, rel: RelHandle) {
        let Some(locator) = self.live(rel).and_then(|own| own.locator) else {
            return;
        };
        if let Ok((slot, _)) = self.probe(locator) {
            self.remove_slot(slot);
        }
        begin(self.field(rel.entry, E_SEQ));
        self.field(rel.entry, E_FLAGS_REL).store(0, Relaxed);
        self.cut(rel.entry, 0);
        end(self.field(rel.entry, E_SEQ));
        let own = &mut self.entries[rel.entry as usize];
        own.locator = None;
        own.generation = own.generation.wrapping_add(1);
        let was_overflowed = own.overflowed;
        self.overflowed -= u64::from(was_overflowed);
        self.relations -= 1;
        self.free_entries.push(rel.entry);
        self.show_facts();
    }
}
