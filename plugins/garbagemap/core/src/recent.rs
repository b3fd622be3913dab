//! Changes that wait for the end of their transaction.
//!
//! Most transactions are short: by the time their changes would be noted in
//! the ranges as undecided, their end is the next record or the one after it.
//! So changes of tuples first go to a list here, and from there to their
//! ranges when the transaction ends, already decided and many of a block at
//! once, or when somebody is to see them, as undecided.
//!
//! What waits for a block comes before anything else that happens to it
//! ([`Ledger::note_recent_of`]), so that a block sees its changes in the order
//! of the WAL, with one exception: those of a transaction, or of a family that
//! ends as one, come when it ends, before what was noted of it there is decided,
//! and before what is gathered of another. Nothing can depend on that, for nobody
//! else touches an item with a change that is undecided. For the same reason
//! pruning and locking need not wait for changes of other items than theirs
//! ([`Ledger::note_recent_at`]). What makes many blocks known or unknown, or is
//! asked for by a caller comes after everything ([`Ledger::note_recent`]), but
//! for the end of a relation, with which all goes that waits for it.
//!
//! A large transaction would only fill the list. What it changes is gathered by
//! block, and noted as undecided when it comes to other blocks: many changes of
//! a page at once.

mod gathered;
mod links;
mod list;
mod settle;

use std::hint::select_unpredictable;

use walker_wal::{BlockNumber, OffsetNumber, TransactionId};

use crate::Sink;
use crate::block::{Event, Offsets};
use crate::counters::Counters;
use crate::ledger::{At, Ledger};
use crate::mem::{Mem, NoMemory};
use crate::range::{Effect, Range};
use gathered::{Gathered, OfBlock};
use list::List;

/// A transaction's change of a tuple, or of two on one page. An offset of 0 is
/// none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub rel: u32,
    pub blkno: BlockNumber,
    pub xid: TransactionId,
    pub inserted: OffsetNumber,
    pub deleted: OffsetNumber,
    pub how: How,
    /// All-visible bits that were cleared.
    pub visible_lost: u8,
}

/// What the record was of which this is the change, or the last part.
///
/// Updates that are counted come last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum How {
    /// An insertion or a deletion.
    Plain,
    /// The deletion of an update to another page.
    UpdatedAway,
    /// The insertion of an update from another page, or both of an update on
    /// one.
    Updated,
    HotUpdated,
}

impl Change {
    fn deletion(&self) -> Event {
        match self.how {
            How::Plain => Event::Delete,
            How::UpdatedAway | How::Updated | How::HotUpdated => Event::Update,
        }
    }

    /// Whether it deletes a tuple. An update of one to itself does not.
    #[inline]
    fn deletes(&self) -> bool {
        (self.deleted != 0) & (self.deleted != self.inserted)
    }

    /// 1 if what it deletes is updated.
    #[inline]
    fn updated(&self) -> u16 {
        u16::from(self.deletes() & (self.how != How::Plain))
    }

    /// Count it, by what it is; whether there was anything to count.
    #[inline]
    fn count(&self, counters: &mut Counters) -> bool {
        // Without a branch, for nobody can foresee what comes next.
        let update = u64::from(self.how >= How::Updated);
        let lost = u64::from(self.visible_lost);
        let hot = self.how == How::HotUpdated;
        *select_unpredictable(hot, &mut counters.hot_updates, &mut counters.other_updates) +=
            update;
        counters.visible_lost += lost;
        update | lost != 0
    }

    /// Make it in its range, for a transaction that runs on.
    fn note(&self, range: &mut Range, b: u8, mem: &mut Mem) -> Result<Effect, NoMemory> {
        match (self.inserted, self.deleted) {
            (new, 0) => range.insert(b, new, Some(self.xid), mem),
            (0, old) => {
                let new_touch = range.delete(b, old, self.xid, self.deletion(), mem)?;
                Ok(Effect {
                    new_touch,
                    contradiction: false,
                })
            }
            (new, old) => range.update(b, (old, new), self.xid, mem),
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Recent {
    list: List,
    gathered: Gathered,
}

impl Recent {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.gathered.is_empty()
    }

    /// Whether a change of this transaction waits, which has not ended then.
    pub(crate) fn has(&self, xid: TransactionId) -> bool {
        self.list.has(xid) || self.gathered.has(xid)
    }

    /// Nothing waits any more, for nobody knows what becomes of it.
    pub(crate) fn forget_all(&mut self) {
        let all = self.list.drain();
        self.list.give_back(all);
        self.gathered = Gathered::default();
    }

    /// The relation is gone, and nothing may come to what takes its slot.
    pub(crate) fn forget(&mut self, rel: u32) {
        self.list.forget(rel);
        while self.gathered.take(|of| of.rel == rel).is_some() {}
    }
}

impl<S: Sink> Ledger<S> {
    /// Make a change of a known relation when its transaction ends. If that
    /// cannot wait, it is made now.
    #[inline(always)]
    pub(crate) fn change_tuple(&mut self, change: Change) {
        let simple = self.scans.is_empty() && !self.txs.has_large();
        if !simple || !self.recent.list.push(change) {
            self.change_otherwise(change);
        }
    }

    /// The same where there is more to look at than the list, or no room in it.
    #[inline(never)]
    fn change_otherwise(&mut self, change: Change) {
        // Of the relation nothing is looked at before: with many of them it is
        // far away.
        let scanned =
            !self.scans.is_empty() && self.rels.get(change.rel).is_none_or(|rel| rel.scanning);
        if scanned {
            return self.change_now(&change);
        }
        if self.txs.is_large(change.xid) {
            return self.gather(&change);
        }
        if !self.recent.list.push(change) {
            self.change_now(&change);
        }
    }

    fn change_now(&mut self, change: &Change) {
        self.note_recent_in(change.rel, change.blkno);
        self.note_change(change);
        if self.recent.list.is_full() {
            self.note_recent();
            self.txs.set_large(change.xid);
        }
        self.enforce_limit();
    }

    /// Put a large transaction's change together with others of the block.
    fn gather(&mut self, change: &Change) {
        // What was gathered before comes before what the list has of the block:
        // if that is noted, both are.
        if self.recent.list.any_of(change.rel, change.blkno, |_| true) {
            self.note_recent_in(change.rel, change.blkno);
        }
        if !self.recent.gathered.add(change) {
            // Another transaction's.
            self.note_gathered(|of| of.is_at(change.rel, change.blkno));
            if let Some(before) = self.recent.gathered.open(change) {
                self.note_block(&before);
            }
        }
        self.enforce_limit();
    }

    /// Note what was gathered of a block.
    fn note_block(&mut self, of: &OfBlock) {
        let Some(at) = self.at_block(of.rel, of.blkno) else {
            return;
        };
        self.change(of.rel, at, of.xid, false, |range, b, mem| {
            let sets = (of.inserted, of.deleted);
            range.changed_by(b, sets, (of.xid, of.updated), mem)
        });
        self.count(of.rel, |counters| counters.add_counted(&of.counters));
    }

    /// Note what was gathered of such blocks.
    #[inline]
    fn note_gathered(&mut self, such: impl Fn(&OfBlock) -> bool) {
        while let Some(of) = self.recent.gathered.take(&such) {
            self.note_block(&of);
        }
    }

    /// Where changes that waited are made: nobody scans the relation, and the
    /// position is of no use any more.
    fn at_block(&self, rel: u32, blkno: BlockNumber) -> Option<At> {
        Some(At {
            locator: self.rels.get(rel)?.locator,
            blkno,
            end_lsn: self.applied,
            sets_page_lsn: true,
        })
    }

    /// Make a change of a transaction that runs on.
    fn note_change(&mut self, change: &Change) {
        let Some(at) = self.at_block(change.rel, change.blkno) else {
            return;
        };
        self.change(change.rel, at, change.xid, false, |range, b, mem| {
            change.note(range, b, mem)
        });
        self.count_updates(change);
    }

    /// Note all changes that wait with their ranges, as undecided.
    #[inline]
    pub(crate) fn note_recent(&mut self) {
        if !self.recent.is_empty() {
            self.note_all();
            self.enforce_limit();
        }
    }

    /// The same, whatever memory that takes.
    #[inline(never)]
    pub(crate) fn note_all(&mut self) {
        self.note_gathered(|_| true);
        let all = self.recent.list.drain();
        let (mut xid, mut n) = (0, 0);
        for change in all.iter() {
            self.note_change(&change);
            n = if change.xid == xid { n + 1 } else { 1 };
            xid = change.xid;
            if n == self.config.large {
                self.txs.set_large(xid);
            }
        }
        self.recent.list.give_back(all);
    }

    /// The same for those of a block.
    #[inline]
    pub(crate) fn note_recent_of(&mut self, at: At) {
        if self.recent.is_empty() {
            return;
        }
        if let Some(rel) = self.rels.find(at.locator) {
            self.note_recent_in(rel, at.blkno);
        }
    }

    /// The same, if any of them concerns these items. All of the block, for a
    /// change of one of these items may rest on one of another.
    #[inline]
    pub(crate) fn note_recent_at(&mut self, rel: u32, blkno: BlockNumber, items: Offsets) {
        if self.recent.is_empty() {
            return;
        }
        let has = |off: OffsetNumber| off != 0 && items.contains(off);
        let concerned = |change: &Change| has(change.inserted) || has(change.deleted);
        if self.recent.list.any_of(rel, blkno, concerned)
            || self.recent.gathered.any_of(rel, blkno, items)
        {
            self.note_recent_in(rel, blkno);
        }
    }

    fn note_recent_in(&mut self, rel: u32, blkno: BlockNumber) {
        // What the list has of the block came later.
        self.note_gathered(|of| of.is_at(rel, blkno));
        let mut noting = self.recent.list.begin_noting(rel, blkno);
        while let Some(change) = self.recent.list.note_next(&mut noting) {
            self.note_change(&change);
        }
    }

    #[inline]
    fn count_updates(&mut self, change: &Change) {
        if let Some(rel) = self.rels.get_mut(change.rel)
            && change.count(&mut rel.counted.counters)
            && !rel.count_waits
        {
            self.show_counters_of(change.rel);
        }
    }
}
