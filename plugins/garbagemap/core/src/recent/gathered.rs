//! Changes of large transactions that wait, put together by block.
//!
//! A large transaction seldom goes back and forth: it deletes from one page
//! what it inserts into another, and then comes to the next. So there are few
//! blocks, and one that is not among them takes the place of another, in turns.
//! Invariants: a block is here at most once, with changes of one transaction;
//! what the list has of it came later.

use walker_wal::{BlockNumber, TransactionId};

use super::Change;
use crate::block::Offsets;
use crate::counters::Counters;

/// So many blocks at most.
const MOST: usize = 4;

/// What a transaction changed in a block.
#[derive(Clone, Copy, Default)]
pub(crate) struct OfBlock {
    pub rel: u32,
    pub blkno: BlockNumber,
    /// 0 if nothing waits here.
    pub xid: TransactionId,
    pub inserted: Offsets,
    pub deleted: Offsets,
    /// How many of the deletions are updates.
    pub updated: u16,
    /// What is to be counted besides.
    pub counters: Counters,
}

impl OfBlock {
    /// The transaction and block of a change.
    #[inline]
    pub(super) fn of(change: &Change) -> OfBlock {
        OfBlock {
            rel: change.rel,
            blkno: change.blkno,
            xid: change.xid,
            ..OfBlock::default()
        }
    }

    /// One change more of this transaction in this block.
    #[inline]
    pub(super) fn add(&mut self, change: &Change) {
        change.count(&mut self.counters);
        // A record may say so of the same tuple again and again.
        self.updated = self.updated.saturating_add(change.updated());
        if change.inserted != 0 {
            self.inserted.insert(change.inserted);
        }
        if change.deletes() {
            self.deleted.insert(change.deleted);
        }
    }

    #[inline]
    pub(super) fn is_at(&self, rel: u32, blkno: BlockNumber) -> bool {
        (self.blkno == blkno) & (self.rel == rel) & (self.xid != 0)
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Gathered {
    blocks: [OfBlock; MOST],
    used: usize,
    /// Whose place is taken next.
    next: usize,
}

impl Gathered {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Add to what the transaction has here of the block; false if it has
    /// nothing.
    #[inline]
    pub(super) fn add(&mut self, change: &Change) -> bool {
        let own = |of: &&mut OfBlock| of.is_at(change.rel, change.blkno) & (of.xid == change.xid);
        match self.blocks.iter_mut().find(own) {
            Some(of) => {
                of.add(change);
                true
            }
            None => false,
        }
    }

    /// Have a place for the change's block, which has none. What was in it.
    pub(super) fn open(&mut self, change: &Change) -> Option<OfBlock> {
        let mut of = OfBlock::of(change);
        of.add(change);
        let free = self.blocks.iter().position(|of| of.xid == 0);
        let at = free.unwrap_or(self.next);
        self.next = (at + 1) % MOST;
        let place = self.blocks.get_mut(at)?;
        let before = std::mem::replace(place, of);
        self.used += usize::from(before.xid == 0);
        Some(before).filter(|before| before.xid != 0)
    }

    /// Whether what waits of a block concerns one of these items.
    #[inline]
    pub(super) fn any_of(&self, rel: u32, blkno: BlockNumber, items: Offsets) -> bool {
        let concerned = |of: &OfBlock| of.inserted.or(of.deleted).intersects(items);
        !self.is_empty()
            && self
                .blocks
                .iter()
                .any(|of| of.is_at(rel, blkno) && concerned(of))
    }

    /// Take out something such.
    pub(super) fn take(&mut self, such: impl Fn(&OfBlock) -> bool) -> Option<OfBlock> {
        if self.is_empty() {
            return None;
        }
        let mut used = self.blocks.iter_mut().filter(|of| of.xid != 0);
        let of = std::mem::take(used.find(|of| such(of))?);
        self.used -= 1;
        Some(of)
    }

    /// Whether something of this transaction waits.
    pub(super) fn has(&self, xid: TransactionId) -> bool {
        xid != 0 && self.blocks.iter().any(|of| of.xid == xid)
    }
}
