//! What is shown of ranges, and the sums of it.

use crate::ledger::Ledger;
use crate::map::word::{pack, unpack};
use crate::range::Range;
use crate::{RangeCounts, Sink};

/// What of a range was counted and published last; by default, nothing yet.
/// The counters are packed as the map has them: whether they changed is asked
/// for every range that waits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shown {
    word: u64,
    known_blocks: u8,
    garbage_blocks: u8,
}

impl Shown {
    #[inline]
    pub(crate) fn new(counts: RangeCounts, known_blocks: u8, garbage_blocks: u8) -> Self {
        Shown {
            word: pack(counts),
            known_blocks,
            garbage_blocks,
        }
    }

    /// `None` if nothing was shown yet.
    #[inline]
    pub(crate) fn counts(self) -> Option<RangeCounts> {
        unpack(self.word)
    }

    /// The dead tuples among them.
    #[inline]
    fn dead(self) -> u16 {
        self.counts().map_or(0, |counts| counts.dead)
    }

    #[inline]
    fn items(self) -> u16 {
        self.counts().map_or(0, |counts| counts.items)
    }

    /// The number of tuples is not kept any more. What is shown instead, if
    /// that is something else.
    pub(crate) fn drop_tuples(&mut self) -> Option<RangeCounts> {
        let mut counts = self.counts()?;
        counts.tuples.take()?;
        self.word = pack(counts);
        Some(counts)
    }
}

/// Sums over all ranges, kept up to date by what each range shows.
#[derive(Default)]
pub(crate) struct Totals {
    pub blocks_known: u64,
    pub blocks_with_garbage: u64,
    pub dead_tuples: u64,
    pub dead_items: u64,
}

impl Totals {
    /// What a range shows has changed.
    #[inline]
    fn moved(&mut self, before: Shown, now: Shown) {
        let by = |sum: &mut u64, before: u64, now: u64| *sum = *sum + now - before;
        let (b, n) = (before.known_blocks.into(), now.known_blocks.into());
        by(&mut self.blocks_known, b, n);
        let (b, n) = (before.garbage_blocks.into(), now.garbage_blocks.into());
        by(&mut self.blocks_with_garbage, b, n);
        let (b, n) = (before.dead().into(), now.dead().into());
        by(&mut self.dead_tuples, b, n);
        let (b, n) = (before.items().into(), now.items().into());
        by(&mut self.dead_items, b, n);
    }

    /// A range is gone that showed this.
    pub(crate) fn subtract(&mut self, shown: Shown) {
        self.moved(shown, Shown::default());
    }
}

/// Publish a range's counters if they changed. Whether the sink took them.
pub(crate) fn show<S: Sink>(
    range: &mut Range,
    rangeno: u32,
    place: Option<S::Rel>,
    sink: &mut S,
    totals: &mut Totals,
) -> bool {
    range.waiting = false;
    let (before, (counts, now)) = (range.shown, range.shows());
    if now == before {
        return true;
    }
    range.shown = now;
    totals.moved(before, now);
    match place {
        Some(place) if before.word != now.word => sink.publish(place, rangeno, counts),
        _ => true,
    }
}

/// Ranges that wait to be shown at most: so many that one that changes again
/// and again is shown once (those of 500 MB can), so few that most are still in
/// the processor's cache.
const MOST_WAITING: usize = 2048;

impl<S: Sink> Ledger<S> {
    /// What a range shows may have changed: it is shown with the others when
    /// the caller is done with its records, or with others that wait.
    #[inline]
    pub(crate) fn show_later(&mut self, idx: u32, rangeno: u32) {
        if self.waiting.len() < self.waiting.capacity() {
            self.waiting.push((idx, rangeno));
        } else {
            self.make_room_to_wait(idx, rangeno);
        }
    }

    #[inline(never)]
    fn make_room_to_wait(&mut self, idx: u32, rangeno: u32) {
        if self.waiting.len() >= MOST_WAITING {
            self.show_waiting();
        } else if self.waiting.try_reserve_exact(MOST_WAITING).is_err() {
            return self.show(idx, rangeno);
        }
        self.waiting.push((idx, rangeno));
    }

    /// Show the ranges that changed.
    pub(crate) fn show_waiting(&mut self) {
        // What is shown makes nothing else wait.
        let mut waiting = std::mem::take(&mut self.waiting);
        for (idx, rangeno) in waiting.drain(..) {
            self.show(idx, rangeno);
        }
        self.waiting = waiting;
    }

    /// Publish a range's counters if they changed, for no reason in
    /// particular.
    pub(crate) fn show(&mut self, idx: u32, rangeno: u32) {
        let Some(rel) = self.rels.get_mut(idx) else {
            return;
        };
        let Some(range) = rel.ranges.get_mut(rangeno) else {
            return;
        };
        let delta = i64::from(range.age());
        if !show(range, rangeno, rel.sink, &mut self.sink, &mut self.totals) {
            rel.unpublished = true;
            self.unpublished = true;
        }
        self.age_garbage(idx, delta);
    }

    /// Show the clean ranges of a relation, of which none has been shown.
    pub(crate) fn show_clean(&mut self, idx: u32) {
        let Some(rel) = self.rels.get_mut(idx) else {
            return;
        };
        let (place, sink, totals) = (rel.sink, &mut self.sink, &mut self.totals);
        let mut all = true;
        rel.ranges.show_clean(|rangeno, range| {
            all &= show(range, rangeno, place, sink, totals);
        });
        rel.unpublished |= !all;
        self.unpublished |= !all;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::Mem;
    use crate::range::ITEM;
    use walker_wal::{BlockNumber, RelFileLocator};

    /// What was published.
    #[derive(Default)]
    struct Seen(Vec<RangeCounts>);

    impl Sink for Seen {
        type Rel = ();
        fn open(&mut self, _: RelFileLocator) -> Option<()> {
            Some(())
        }
        fn publish(&mut self, (): (), _: u32, counts: RangeCounts) -> bool {
            self.0.push(counts);
            true
        }
        fn set_known_from(&mut self, (): (), _: Option<BlockNumber>) {}
        fn truncate(&mut self, (): (), _: u32) {}
        fn close(&mut self, (): ()) {}
    }

    /// Also of what no reader sees: a block known behind one that is not.
    #[test]
    fn sums_follow_every_change_and_readers_those_they_see() {
        let (mut range, mut mem) = (Range::default(), Mem::default());
        let (mut totals, mut seen) = (Totals::default(), Seen::default());
        let mut shown = |range: &mut Range, totals: &mut Totals| {
            let delta = range.age();
            assert!(show(range, 0, Some(()), &mut seen, totals));
            let sums = (totals.blocks_known, totals.blocks_with_garbage);
            let dead = (totals.dead_tuples, totals.dead_items);
            (seen.0.len(), delta, sums, dead)
        };
        range.set_visible(3, &mut mem);
        assert_eq!(shown(&mut range, &mut totals), (1, 0, (1, 0), (0, 0)));
        range.set_visible(5, &mut mem);
        assert_eq!(shown(&mut range, &mut totals), (1, 0, (2, 0), (0, 0)));
        range.kill(3, 7, &mut mem).unwrap();
        range.kill(3, 8, &mut mem).unwrap();
        assert_eq!(shown(&mut range, &mut totals), (2, 2, (2, 1), (2, 0)));
        assert_eq!(shown(&mut range, &mut totals), (2, 0, (2, 1), (2, 0)));
        range.garbage.insert(ITEM, 9, &mut mem).unwrap();
        range.forget_block(3, &mut mem);
        assert_eq!(shown(&mut range, &mut totals), (3, -2, (1, 0), (0, 1)));
        assert_eq!(range.shown.drop_tuples(), None, "there are none");
        totals.subtract(range.shown);
        let sums = (totals.blocks_known, totals.blocks_with_garbage);
        assert_eq!((sums, totals.dead_items), ((0, 0), 0));
    }
}
