//! Any process that reads the map: the ranges of one relation.

use super::counted;
use super::layout::{E_COUNTERS, E_HORIZON};
use super::published::Published;
use super::reader::MapReader;
use crate::{Counters, HORIZON_BUCKETS, HorizonBucket, RangeCounts, Rates};
use std::sync::atomic::Ordering::Relaxed;
use walker_wal::{BlockNumber, RelFileLocator};

/// A relation in the map.
#[derive(Clone, Copy)]
pub struct RelationMap<'r> {
    pub(super) reader: &'r MapReader<'r>,
    pub(super) entry: u32,
    pub(super) seq: u64,
    pub(super) locator: RelFileLocator,
    pub(super) known_from: Option<BlockNumber>,
    pub(super) overflowed: bool,
}

/// What the map says of one range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeState {
    /// Nothing.
    Unknown,
    /// This much; see [`RangeCounts::first_unknown`] for whether it is all.
    Counts(RangeCounts),
}

/// A relation's ranges added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Dead tuples in what is known.
    pub dead: u64,
    /// Dead line pointers in what is known.
    pub items: u64,
    /// Live tuples; `None` if they are not known of every block.
    pub tuples: Option<u64>,
    /// Blocks in ranges that are not known whole.
    pub inexact_blocks: u64,
    /// Blocks in ranges of which nothing is known.
    pub unknown_blocks: u64,
}

impl Totals {
    /// Whether the counts are the whole truth.
    pub fn exact(&self) -> bool {
        self.inexact_blocks == 0
    }
}

impl<'r> RelationMap<'r> {
    pub(super) fn new(
        reader: &'r MapReader<'r>,
        entry: u32,
        seq: u64,
        locator: RelFileLocator,
        known_from: Option<BlockNumber>,
        overflowed: bool,
    ) -> Self {
        RelationMap {
            reader,
            entry,
            seq,
            locator,
            known_from,
            overflowed,
        }
    }

    /// The relation.
    pub fn locator(&self) -> RelFileLocator {
        self.locator
    }

    /// Blocks from here on are known even if their range says nothing.
    pub fn known_from(&self) -> Option<BlockNumber> {
        self.known_from
    }

    /// Whether there was no room for the relation, so that nothing is known.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The relation's ranges from the first on, without end: a relation has as
    /// many as its blocks fill, which the map does not know.
    pub fn ranges(&self) -> Ranges<'r> {
        Ranges {
            published: Published::new(*self),
            ahead: None,
            next: 0,
        }
    }

    /// One range, without a look at the counters of those before it.
    pub fn range(&self, rangeno: u32) -> RangeState {
        let mut published = Published::from(*self, rangeno);
        loop {
            match published.next() {
                Some((r, _)) if r < rangeno => {}
                Some((r, counts)) if r == rangeno => return RangeState::Counts(counts),
                _ => return published.unpublished(rangeno),
            }
        }
    }

    /// The ranges of which something is published, from the first on.
    pub fn published(&self) -> impl Iterator<Item = (u32, RangeCounts)> + use<'r> {
        let mut published = Published::new(*self);
        std::iter::from_fn(move || published.next())
    }

    /// The relation's dead tuples by deleting transaction; `None` if the
    /// relation is gone. Each bucket is right, their sum may be of two moments.
    pub fn horizon(&self) -> Option<[HorizonBucket; HORIZON_BUCKETS]> {
        let MapReader { area, layout, .. } = self.reader;
        let mut buckets = [HorizonBucket::default(); HORIZON_BUCKETS];
        for (i, bucket) in buckets.iter_mut().enumerate() {
            let word = area[layout.entry_word(self.entry, E_HORIZON + i)].load(Relaxed);
            *bucket = HorizonBucket {
                xid: (word >> 32) as u32,
                count: word as u32,
            };
        }
        self.reader
            .unchanged(self.entry, self.seq)
            .then_some(buckets)
    }

    /// What happened to the relation; `None` if it is gone. Each counter is
    /// right, together they may be of two moments.
    pub fn counters(&self) -> Option<(Counters, Rates)> {
        let MapReader { area, layout, .. } = self.reader;
        let word = |i: usize| area[layout.entry_word(self.entry, E_COUNTERS + i)].load(Relaxed);
        let found = counted::read(std::array::from_fn(word));
        self.reader.unchanged(self.entry, self.seq).then_some(found)
    }

    /// The ranges of a relation of `blocks` blocks added up.
    pub fn totals(&self, blocks: BlockNumber) -> Totals {
        let width = u64::from(self.reader.range_blocks());
        let blocks = u64::from(blocks);
        let mut totals = Totals {
            tuples: Some(0),
            ..Totals::default()
        };
        let mut published = Published::new(*self);
        let mut done = 0;
        // Only published ranges are visited, what lies between is arithmetic:
        // a large relation of which little is known costs little.
        while done < blocks {
            let next = published.next();
            let start = next.map_or(blocks, |(r, _)| (u64::from(r) * width).min(blocks));
            published.add_gap(&mut totals, done, start);
            done = start;
            if let Some((_, counts)) = next
                && done < blocks
            {
                let size = width.min(blocks - done);
                totals.dead += u64::from(counts.dead);
                totals.items += u64::from(counts.items);
                let exact = u64::from(counts.first_unknown) >= size;
                totals.inexact_blocks += if exact { 0 } else { size };
                totals.unknown_blocks += if counts.tell() { 0 } else { size };
                totals.tuples = match (totals.tuples, counts.tuples) {
                    (Some(sum), Some(n)) if exact => Some(sum + u64::from(n)),
                    _ => None,
                };
                done += size;
            }
        }
        totals
    }
}

/// A relation's ranges; see [`RelationMap::ranges`].
pub struct Ranges<'r> {
    published: Published<'r>,
    ahead: Option<(u32, RangeCounts)>,
    next: u32,
}

impl Iterator for Ranges<'_> {
    type Item = RangeState;

    fn next(&mut self) -> Option<RangeState> {
        let rangeno = self.next;
        self.next = self.next.checked_add(1)?;
        if self.ahead.is_none_or(|(r, _)| r < rangeno) {
            self.ahead = self.published.next();
        }
        Some(match self.ahead {
            Some((r, counts)) if r == rangeno => RangeState::Counts(counts),
            _ => self.published.unpublished(rangeno),
        })
    }
}
