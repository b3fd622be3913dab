//! What a record can do to a heap block.
//!
//! Offsets are within 1..=[`MAX_OFFSET`](crate::block::MAX_OFFSET): the feed
//! has checked them.

use walker_wal::{OffsetNumber, TransactionId};

use crate::Sink;
use crate::block::{Event, Offsets, Pruned};
use crate::counters::Why;
use crate::ledger::{At, Ledger};
use crate::range::Effect;

impl<S: Sink> Ledger<S> {
    /// The page was initialised.
    pub(crate) fn init_page(&mut self, at: At) {
        self.note_recent_of(at);
        self.learn(at, |range, b, mem| {
            range.init_block(b, mem);
            Ok(Effect::default())
        });
    }

    /// A tuple was inserted; without an xid, frozen. The relation, if it has a
    /// place here.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        at: At,
        off: OffsetNumber,
        xid: Option<TransactionId>,
    ) -> Option<u32> {
        self.note_recent_of(at);
        self.delta(at, xid.unwrap_or(0), |range, b, mem| {
            range.insert(b, off, xid, mem)
        })
    }

    /// Tuples were inserted by a transaction, and others frozen. The relation,
    /// if it has a place here.
    pub(crate) fn insert_all(
        &mut self,
        at: At,
        (inserted, frozen): (Offsets, Offsets),
        xid: TransactionId,
    ) -> Option<u32> {
        self.note_recent_of(at);
        self.delta(at, xid, |range, b, mem| {
            let contradiction = range.free_all(b, frozen, mem);
            let inserted = (inserted, Offsets::default());
            let effect = range.changed_by(b, inserted, (xid, 0), mem)?;
            Ok(Effect {
                contradiction: effect.contradiction | contradiction,
                ..effect
            })
        })
    }

    /// A tuple was deleted, or updated to another page. The relation, if it
    /// has a place here.
    #[inline]
    pub(crate) fn delete(
        &mut self,
        at: At,
        off: OffsetNumber,
        xid: TransactionId,
        how: Event,
    ) -> Option<u32> {
        self.note_recent_of(at);
        self.delta(at, xid, |range, b, mem| {
            let new_touch = range.delete(b, off, xid, how, mem)?;
            Ok(Effect {
                new_touch,
                contradiction: false,
            })
        })
    }

    /// A speculative insertion was taken back: the tuple is dead, whatever the
    /// transaction does.
    pub(crate) fn super_delete(&mut self, at: At, off: OffsetNumber) -> Option<u32> {
        self.note_recent_of(at);
        self.why = Why::TakenBack;
        let rel = self.delta(at, 0, |range, b, mem| {
            range.kill(b, off, mem)?;
            Ok(Effect::default())
        });
        self.why = Why::Learned;
        rel
    }

    /// A tuple was locked, and its xmax now names lockers only.
    pub(crate) fn lock_only(&mut self, at: At, off: OffsetNumber) {
        let Some(rel) = self.rels.find(at.locator) else {
            return;
        };
        let mut item = Offsets::default();
        item.insert(off);
        self.note_recent_at(rel, at.blkno, item);
        // Nearly always nobody deletes it, and nothing changes.
        let (rangeno, b) = self.geo.split(at.blkno);
        if let Some(rel) = self.rels.get_mut(rel)
            && !rel.scanning
            && rel
                .ranges
                .get(rangeno)
                .is_none_or(|range| !range.has_deleter(b, off))
        {
            rel.last_touch = rel.last_touch.max(at.end_lsn.0);
            return;
        }
        self.change(rel, at, 0, false, |range, b, mem| {
            range.clear_deleters(b, off, mem);
            Ok(Effect::default())
        });
    }

    /// A tuple was updated on its page. The relation, if it has a place here.
    #[inline]
    pub(crate) fn update(
        &mut self,
        at: At,
        old_off: OffsetNumber,
        new_off: OffsetNumber,
        xid: TransactionId,
    ) -> Option<u32> {
        self.note_recent_of(at);
        self.delta(at, xid, |range, b, mem| {
            range.update(b, (old_off, new_off), xid, mem)
        })
    }

    /// The page was pruned.
    #[inline(never)]
    pub(crate) fn prune(&mut self, at: At, pruned: &Pruned) {
        let Some(rel) = self.rels.find(at.locator) else {
            return;
        };
        self.note_recent_at(rel, at.blkno, pruned.gone);
        self.change(rel, at, 0, false, |range, b, mem| {
            range.prune(b, pruned, mem)?;
            Ok(Effect::default())
        });
    }

    /// The page was found all-visible. This does not set the heap page's LSN.
    pub(crate) fn visible(&mut self, at: At) {
        self.note_recent_of(at);
        // Of most of a large table that is frozen, this is known.
        let (rangeno, _) = self.geo.split(at.blkno);
        let rel = self.rels.find(at.locator);
        if let Some(rel) = rel.and_then(|idx| self.rels.get_mut(idx))
            && !rel.scanning
            && rel.ranges.is_clean(rangeno)
        {
            rel.last_touch = rel.last_touch.max(at.end_lsn.0);
            return;
        }
        let at = At {
            sets_page_lsn: false,
            ..at
        };
        self.learn(at, |range, b, mem| Ok(range.set_visible(b, mem)));
    }

    /// The block's state is not known any more.
    pub(crate) fn forget_block(&mut self, at: At) {
        self.note_recent_of(at);
        let Some(idx) = self.rels.find(at.locator) else {
            return;
        };
        let (rangeno, _) = self.geo.split(at.blkno);
        let Some(rel) = self.rels.get(idx) else {
            return;
        };
        let covered = rel.known_from.is_some_and(|from| at.blkno >= from);
        if covered || rel.ranges.get(rangeno).is_some() {
            self.learn(at, |range, b, mem| {
                range.forget_block(b, mem);
                Ok(Effect::default())
            });
        } else {
            // Nothing to forget, but for a base scan the block has changed.
            self.admit(idx, at);
        }
    }
}
