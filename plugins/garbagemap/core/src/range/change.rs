//! A change that a transaction has yet to decide.

use walker_wal::TransactionId;

use crate::block::{Event, block_of};

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

    /// Nothing is undecided at such positions of a block; each of them that
    /// something was at is shown to `see`.
    #[inline]
    pub(super) fn forget_in(
        &mut self,
        b: u8,
        such: impl Fn(u16) -> bool,
        mut see: impl FnMut(u16),
    ) {
        for pos in [&mut self.ins, &mut self.del] {
            // What is nowhere is in no block there is.
            if block_of(*pos) == b && *pos != NOWHERE && such(*pos) {
                see(*pos);
                *pos = NOWHERE;
            }
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

    pub(super) fn positions(&self) -> impl Iterator<Item = u16> {
        self.inserted().into_iter().chain(self.deleted())
    }
}
