//! A change that a transaction has yet to decide.

use walker_wal::TransactionId;

use crate::block::{Event, Offsets, block_of, item_of};

/// No position.
const NOWHERE: u16 = u16::MAX;

/// A running transaction's change: a tuple it inserted, one it deleted, or
/// both, as an update does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub xid: TransactionId,
    ins: u16,
    del: u16,
    /// What it deletes is updated.
    pub updated: bool,
}

impl Default for Change {
    fn default() -> Self {
        Change::new(0, None, None, false)
    }
}

impl Change {
    #[inline]
    pub(super) fn new(
        xid: TransactionId,
        ins: Option<u16>,
        del: Option<u16>,
        updated: bool,
    ) -> Self {
        Change {
            xid,
            ins: ins.unwrap_or(NOWHERE),
            del: del.unwrap_or(NOWHERE),
            updated,
        }
    }

    /// Nothing is undecided at this position.
    #[inline]
    pub(super) fn forget(&mut self, pos: u16) {
        if self.ins == pos {
            self.ins = NOWHERE;
        }
        self.forget_deletion(pos);
    }

    /// Nobody deletes the tuple at this position.
    #[inline]
    pub(super) fn forget_deletion(&mut self, pos: u16) {
        if self.del == pos {
            self.del = NOWHERE;
        }
    }

    /// Nothing is undecided at these offsets of a block; those of them that
    /// something was at are added to `removed`.
    #[inline]
    pub(super) fn forget_in(&mut self, b: u8, gone: Offsets, removed: &mut Offsets) {
        for pos in [&mut self.ins, &mut self.del] {
            let off = item_of(*pos) + 1;
            if block_of(*pos) == b && *pos != NOWHERE && gone.contains(off) {
                removed.insert(off);
                *pos = NOWHERE;
            }
        }
    }

    /// Add the offsets of a block at which it has something.
    #[inline]
    pub(super) fn add_offsets(&self, b: u8, offsets: &mut Offsets) {
        for pos in self.positions().filter(|&pos| block_of(pos) == b) {
            offsets.insert(item_of(pos) + 1);
        }
    }

    #[inline]
    pub(super) fn inserted(&self) -> Option<u16> {
        Some(self.ins).filter(|&pos| pos != NOWHERE)
    }

    #[inline]
    pub(super) fn deleted(&self) -> Option<u16> {
        Some(self.del).filter(|&pos| pos != NOWHERE)
    }

    /// Whether it deletes the tuple at this position.
    #[inline]
    pub(super) fn deletes(&self, pos: u16) -> bool {
        self.del == pos
    }

    /// Whether the transaction has this undecided.
    #[inline]
    pub(super) fn is(&self, pos: u16, xid: TransactionId, event: Event) -> bool {
        let at = match event {
            Event::Insert => self.ins,
            Event::Delete | Event::Update => self.del,
        };
        (at == pos) & (self.xid == xid)
    }

    /// What a transaction inserted, and what it deleted, one by one. Which of the
    /// deletions are the `updated` ones matters to nobody.
    pub(super) fn each(
        xid: TransactionId,
        inserted: impl Iterator<Item = u16>,
        deleted: impl Iterator<Item = u16>,
        mut updated: u16,
    ) -> impl Iterator<Item = Change> {
        let inserted = inserted.map(move |pos| Change::new(xid, Some(pos), None, false));
        inserted.chain(deleted.map(move |pos| {
            let update = updated > 0;
            updated -= u16::from(update);
            Change::new(xid, None, Some(pos), update)
        }))
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = u16> {
        self.inserted().into_iter().chain(self.deleted())
    }
}
