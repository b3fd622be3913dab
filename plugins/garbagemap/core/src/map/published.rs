//! Any process that reads the map: following a relation's published ranges
//! through its entry and its pages, while the writer may change them.

use super::layout::*;
use super::reader::MapReader;
use super::relation::{RangeState, RelationMap, Totals};
use super::word::{Place, first_range_of, place_of, unpack, unpack_link};
use crate::RangeCounts;
use std::sync::atomic::Ordering::*;

/// Changes of one relation that a reader follows before it gives up on it.
const MAX_REFRESHES: u32 = 10_000;

/// The published ranges of a relation, in order.
pub(super) struct Published<'r> {
    rel: RelationMap<'r>,
    /// Counters of the ranges from `base` on, copied and found unchanged.
    words: [u64; PAGE_WORDS],
    base: u32,
    filled: usize,
    at: usize,
    entry_copied: bool,
    /// Where the copy goes on. `None` if the entry is to be read for it.
    next_page: Option<Option<u32>>,
    /// Whether `next_page` is the first of the chain, perhaps for the second
    /// time; else it follows the last page copied.
    from_head: bool,
    /// The last page copied.
    last_pageno: Option<u32>,
    /// How often the entry changed under our eyes.
    refreshes: u32,
    /// The chain could not be followed to its end: what comes is unknown.
    lost: bool,
}

impl<'r> Published<'r> {
    pub fn new(rel: RelationMap<'r>) -> Self {
        Published {
            rel,
            words: [0; PAGE_WORDS],
            base: 0,
            filled: 0,
            at: 0,
            entry_copied: false,
            next_page: None,
            from_head: true,
            last_pageno: None,
            refreshes: 0,
            lost: rel.overflowed,
        }
    }

    /// The same from the part of the map on that has this range, or would have it.
    pub fn from(rel: RelationMap<'r>, rangeno: u32) -> Self {
        let mut published = Published::new(rel);
        if let Place::Page(pageno, _) = place_of(rangeno) {
            published.entry_copied = true;
            published.last_pageno = pageno.checked_sub(1);
        }
        published
    }

    #[inline]
    pub fn next(&mut self) -> Option<(u32, RangeCounts)> {
        loop {
            while self.at < self.filled {
                let i = self.at;
                self.at += 1;
                if let Some(counts) = unpack(self.words[i]) {
                    return Some((self.base.saturating_add(i as u32), counts));
                }
            }
            if self.lost || !self.fill() {
                return None;
            }
        }
    }

    /// Copy the next batch of words. False at the end.
    #[inline(never)]
    fn fill(&mut self) -> bool {
        loop {
            let copied = match self.next_page {
                None => self.copy_entry(),
                Some(None) => return false,
                Some(Some(page)) => self.copy_page(page),
            };
            if copied || self.lost {
                return copied;
            }
            if !self.refresh() {
                self.lost = true;
                return false;
            }
        }
    }

    fn copy_entry(&mut self) -> bool {
        let MapReader { area, layout, .. } = self.rel.reader;
        let word = |field| area[layout.entry_word(self.rel.entry, field)].load(Relaxed);
        let head = word(E_HEAD);
        for i in 0..INLINE_RANGES as usize {
            self.words[i] = word(E_INLINE + i);
        }
        if !self.rel.reader.unchanged(self.rel.entry, self.rel.seq) {
            return false;
        }
        let filled = if self.entry_copied {
            0
        } else {
            INLINE_RANGES as usize
        };
        self.entry_copied = true;
        self.from_head = true;
        (self.base, self.filled, self.at) = (0, filled, 0);
        self.next_page = Some(
            head.checked_sub(1)
                .map(|p| u32::try_from(p).unwrap_or(u32::MAX)),
        );
        true
    }

    /// Go along the chain from `page` to the first page after the last one
    /// copied, and copy it.
    fn copy_page(&mut self, mut page: u32) -> bool {
        let MapReader { area, layout, .. } = self.rel.reader;
        let mut walked = if self.from_head {
            None
        } else {
            self.last_pageno
        };
        loop {
            if page >= layout.pages {
                return self.broken();
            }
            let at = layout.page_word(page, 0);
            let words = area.get(at..).and_then(|words| words.first_chunk());
            let Some([link, words @ ..]): Option<&[_; PAGE_WORDS]> = words else {
                return self.broken();
            };
            let (next, pageno) = unpack_link(link.load(Relaxed));
            // Of the others the link is enough. What was copied before is used up.
            let wanted = self.last_pageno.is_none_or(|last| pageno > last);
            if wanted {
                for (to, from) in self.words.iter_mut().zip(words) {
                    *to = from.load(Relaxed);
                }
            }
            if !self.rel.reader.unchanged(self.rel.entry, self.rel.seq) {
                return false;
            }
            if walked.is_some_and(|w| pageno <= w) {
                return self.broken();
            }
            if wanted {
                self.last_pageno = Some(pageno);
                self.from_head = false;
                (self.base, self.filled, self.at) =
                    (first_range_of(pageno), PAGE_RANGES as usize, 0);
                self.next_page = Some(next);
                return true;
            }
            walked = Some(pageno);
            match next {
                Some(next) => page = next,
                None => {
                    self.next_page = Some(None);
                    (self.filled, self.at) = (0, 0);
                    return true;
                }
            }
        }
    }

    /// A chain that no writer wrote.
    fn broken(&mut self) -> bool {
        self.lost = true;
        false
    }

    /// The entry has changed: look at it again, to go on where we were. False
    /// if it is no longer ours or cannot be read.
    fn refresh(&mut self) -> bool {
        self.refreshes += 1;
        let reader = self.rel.reader;
        let Some(rel) = reader.entry(self.rel.entry) else {
            return false;
        };
        let ours = rel.locator == self.rel.locator && !rel.overflowed;
        if !ours || self.refreshes > MAX_REFRESHES {
            return false;
        }
        self.rel = rel;
        // The pages may be others now: read the chain again from its head, and
        // skip what was copied before.
        self.next_page = None;
        true
    }

    /// What is known of a range that is not published.
    pub fn unpublished(&self, rangeno: u32) -> RangeState {
        let width = self.rel.reader.range_blocks();
        let start = u64::from(rangeno) * u64::from(width);
        match self.rel.known_from {
            Some(known) if !self.lost && u64::from(known) <= start => {
                RangeState::Counts(RangeCounts {
                    dead: 0,
                    items: 0,
                    tuples: Some(0),
                    first_unknown: width as u8,
                })
            }
            _ => RangeState::Unknown,
        }
    }

    /// Add the blocks of unpublished ranges, from the start of one to the
    /// start of another or the end of the relation.
    pub fn add_gap(&self, totals: &mut Totals, start: u64, end: u64) {
        let width = u64::from(self.rel.reader.range_blocks());
        let known = match self.rel.known_from {
            Some(known) if !self.lost => u64::from(known).div_ceil(width) * width,
            _ => u64::MAX,
        };
        let unknown = known.clamp(start, end) - start;
        totals.inexact_blocks += unknown;
        totals.unknown_blocks += unknown;
        if unknown > 0 {
            totals.tuples = None;
        }
    }
}
