//! What the end of a transaction makes of its changes that wait.

use walker_wal::{BlockNumber, TransactionId};

use super::Change;
use super::gathered::OfBlock;
use super::list::Settling;
use crate::Sink;
use crate::counters::Counters;
use crate::ledger::Ledger;
use crate::mem::{Mem, NoMemory};
use crate::range::Range;
use crate::xact::{Outcome, precedes};

impl<S: Sink> Ledger<S> {
    /// A transaction has ended: make its changes that wait.
    #[inline]
    pub(crate) fn settle_recent(&mut self, xid: TransactionId, outcome: Outcome) {
        if !self.recent.gathered.is_empty() {
            self.note_gathered(|of| of.xid == xid);
        }
        if let Some(settling) = self.recent.list.end(xid) {
            self.settle(settling, outcome);
        }
    }

    /// Transactions have ended as one: the same for all of them. What one of
    /// them inserted another may have deleted, so all come in the order of the
    /// WAL; what was noted before came before, and is decided afterwards as for
    /// one transaction alone.
    pub(crate) fn settle_recent_of(
        &mut self,
        xids: impl Iterator<Item = TransactionId> + Clone,
        outcome: Outcome,
    ) {
        if self.recent.is_empty() {
            return;
        }
        if !self.recent.gathered.is_empty() {
            for xid in xids.clone() {
                self.note_gathered(|of| of.xid == xid);
            }
        }
        match self.recent.list.end_all(xids) {
            Ok(Some(settling)) => self.settle(settling, outcome),
            Ok(None) => {}
            Err(NoMemory) => self.note_recent(),
        }
    }

    #[inline]
    fn settle(&mut self, mut settling: Settling, outcome: Outcome) {
        while let Some(change) = self.recent.list.settle(&mut settling) {
            match self.recent.list.goes_on(&settling, &change) {
                false => self.make_change(&change, outcome),
                true => self.make_changes(change, &mut settling, outcome),
            }
        }
    }

    /// Make a change of a transaction that has ended, and count it.
    #[inline]
    fn make_change(&mut self, change: &Change, outcome: Outcome) {
        let updated = change.updated();
        let offsets = (change.inserted, change.deleted);
        let count = |counters: &mut Counters| change.count(counters);
        self.make_in_block(change, outcome, updated, count, |range, b, mem| {
            range.ended(b, offsets, outcome, mem)
        });
    }

    /// The same for all that follow one another on a block.
    #[inline(never)]
    fn make_changes(&mut self, first: Change, settling: &mut Settling, outcome: Outcome) {
        let mut all = OfBlock::of(&first);
        let mut next = Some(first);
        while let Some(change) = next {
            all.add(&change);
            // A tuple may not count as older than it is, whoever of a family has
            // deleted it.
            if change.deleted != 0 && precedes(all.xid, change.xid) {
                all.xid = change.xid;
            }
            next = match self.recent.list.goes_on(settling, &change) {
                true => self.recent.list.settle(settling),
                false => None,
            };
        }
        if let Some((rel, blkno)) = self.recent.list.next_block(settling) {
            self.touch(rel, blkno);
        }
        let (xid, updated) = (all.xid, all.updated);
        let count = |counters: &mut Counters| {
            counters.add_counted(&all.counters);
            all.counters != Counters::default()
        };
        let by = &Change { xid, ..first };
        self.make_in_block(by, outcome, updated, count, |range, b, mem| {
            range.all_ended(b, all.inserted, all.deleted, outcome, mem)
        });
    }

    /// Have the processor fetch what a change of the block looks at, while it
    /// does something else.
    #[inline]
    fn touch(&self, rel: u32, blkno: BlockNumber) {
        let (rangeno, b) = self.geo.split(blkno);
        let range = self.rels.get(rel).and_then(|rel| rel.ranges.get(rangeno));
        let seen = range.map(|range| (range.is_known(b), range.garbage.touch(b)));
        std::hint::black_box(seen);
    }

    /// Make changes of a transaction that has ended, with one look-up of the
    /// relation and one of the range: `change` is one of them, by the youngest
    /// transaction that deleted some of the tuples, `updated` of
    /// those that delete are updates.
    #[inline(always)]
    fn make_in_block(
        &mut self,
        change: &Change,
        outcome: Outcome,
        updated: u16,
        count: impl FnOnce(&mut Counters) -> bool,
        make: impl FnOnce(&mut Range, u8, &mut Mem) -> Result<bool, NoMemory>,
    ) {
        let (rangeno, b) = self.geo.split(change.blkno);
        let Some(rel) = self.rels.get_mut(change.rel) else {
            return;
        };
        rel.last_touch = self.applied.0;
        let counted = count(&mut rel.counted.counters);
        let range = match rel.ranges.get_mut(rangeno) {
            Some(range) => Some(range),
            None => match rel.make_range(self.geo, change.blkno, false, &mut self.mem) {
                Ok(range) => range,
                Err(NoMemory) => return self.degrade(change.rel),
            },
        };
        let (mut delta, mut wait) = (0, false);
        if let Some(range) = range.filter(|range| range.is_known(b)) {
            self.saving.changed(range, change.rel, rangeno);
            let Ok(contradiction) = make(range, b, &mut self.mem) else {
                return self.degrade(change.rel);
            };
            self.stats.contradictions += u64::from(contradiction);
            (delta, wait) = range.changed();
        }
        if delta != 0 {
            rel.garbage_ended(delta, change.xid, outcome, updated);
        }
        if (counted || delta != 0) && !rel.count_waits {
            self.show_counters_of(change.rel);
        }
        if wait {
            self.show_later(change.rel, rangeno);
        }
    }
}
