//! What a record can do to a heap block.
//!
//! Offsets are within 1..=[`MAX_OFFSET`](crate::block::MAX_OFFSET): the feed
//! has checked them.

use walker_wal::{OffsetNumber, TransactionId};

use crate::Sink;
use crate::block::Event;
use crate::ledger::{At, Ledger};
use crate::range::Effect;

/// What pruning did to the items of a page.
pub(crate) struct Pruned<R, D, U> {
    /// Items that are now redirects.
    pub redirected: R,
    /// Items that are now `LP_DEAD`.
    pub nowdead: D,
    /// Items that are now `LP_UNUSED`.
    pub nowunused: U,
}

impl<S: Sink> Ledger<S> {
    /// The page was initialised.
    pub(crate) fn init_page(&mut self, at: At) {
        self.learn(at, 0, |range, b, mem| {
            range.init_block(b, mem);
            Ok(Effect::default())
        });
    }

    /// A tuple was inserted; without an xid, frozen.
    pub(crate) fn insert(&mut self, at: At, off: OffsetNumber, xid: Option<TransactionId>) {
        self.delta(at, xid.unwrap_or(0), |range, b, mem| {
            range.insert(b, off, xid, mem)
        });
    }

    /// A tuple was deleted or updated.
    pub(crate) fn delete(&mut self, at: At, off: OffsetNumber, xid: TransactionId) {
        self.delta(at, xid, |range, b, mem| {
            let new_group = range.add_event(b, off, xid, Event::Delete, mem)?;
            Ok(Effect {
                new_group,
                contradiction: false,
            })
        });
    }

    /// A speculative insertion was taken back: the tuple is dead, whatever the
    /// transaction does.
    pub(crate) fn super_delete(&mut self, at: At, off: OffsetNumber) {
        self.delta(at, 0, |range, b, mem| {
            range.kill(b, off, mem)?;
            Ok(Effect::default())
        });
    }

    /// A tuple was locked, and its xmax now names lockers only.
    pub(crate) fn lock_only(&mut self, at: At, off: OffsetNumber) {
        self.delta(at, 0, |range, b, mem| {
            range.clear_deleters(b, off, mem);
            Ok(Effect::default())
        });
    }

    /// The page was pruned. In 15 and 16 a vacuum's second pass comes here as
    /// well: what it frees is `LP_DEAD`.
    pub(crate) fn prune<R, D, U>(&mut self, at: At, pruned: Pruned<R, D, U>)
    where
        R: Iterator<Item = OffsetNumber>,
        D: Iterator<Item = OffsetNumber>,
        U: Iterator<Item = OffsetNumber>,
    {
        self.delta(at, 0, |range, b, mem| {
            pruned
                .redirected
                .for_each(|from| range.prune_redirect(b, from, mem));
            pruned
                .nowunused
                .for_each(|off| range.prune_unused(b, off, mem));
            for off in pruned.nowdead {
                range.prune_dead(b, off, mem)?;
            }
            Ok(Effect::default())
        });
    }

    /// The page was found all-visible. This does not set the heap page's LSN.
    pub(crate) fn visible(&mut self, at: At) {
        let at = At {
            sets_page_lsn: false,
            ..at
        };
        self.learn(at, 0, |range, b, mem| Ok(range.set_visible(b, mem)));
    }

    /// The block's state is not known any more.
    pub(crate) fn forget_block(&mut self, at: At) {
        let Some(idx) = self.rels.find(at.locator) else {
            return;
        };
        let (rangeno, _) = self.geo.split(at.blkno);
        let Some(rel) = self.rels.get(idx) else {
            return;
        };
        let covered = rel.known_from.is_some_and(|from| at.blkno >= from);
        if covered || rel.ranges.contains_key(&rangeno) {
            self.learn(at, 0, |range, b, mem| {
                range.forget_block(b, mem);
                Ok(Effect::default())
            });
        }
    }
}
