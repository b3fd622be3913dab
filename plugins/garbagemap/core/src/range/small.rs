//! Changes of many transactions that have few each in a range.
//!
//! They lie side by side in the order of their transactions' numbers, which is
//! nearly always the order in which they come, and in which they go: a
//! transaction with many subtransactions leaves thousands in a range. Who looks
//! for a position looks along all of them, so something else has to say first
//! whether there is anything to be found.

use std::collections::VecDeque;
use std::ops::Range;

use walker_wal::TransactionId;

use super::change::Change;
use crate::mem::{Mem, NoMemory, list_bytes};

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Small(VecDeque<Change>);

impl Small {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        list_bytes::<Change>(self.0.capacity())
    }

    /// Where the transaction's changes are, or would be.
    #[inline]
    fn place(&self, xid: TransactionId) -> Range<usize> {
        let len = self.0.len();
        // It comes behind all others, or goes before them.
        if self.0.back().is_none_or(|last| last.xid < xid) {
            return len..len;
        }
        let from = match self.0.front() {
            Some(first) if first.xid == xid => 0,
            _ => self.0.partition_point(|change| change.xid < xid),
        };
        let own = self.0.range(from..).take_while(|change| change.xid == xid);
        from..from + own.count()
    }

    /// The transaction with the highest number.
    pub(super) fn last(&self) -> Option<TransactionId> {
        Some(self.0.back()?.xid)
    }

    /// Whether the transaction has changes here.
    pub(super) fn has(&self, xid: TransactionId) -> bool {
        !self.place(xid).is_empty()
    }

    /// The transaction's changes.
    pub(super) fn of(&self, xid: TransactionId) -> impl Iterator<Item = &Change> {
        self.0.range(self.place(xid))
    }

    /// Add a change. How many its transaction had before.
    pub(super) fn push(&mut self, change: Change, mem: &mut Mem) -> Result<usize, NoMemory> {
        if self.0.len() == self.0.capacity() {
            let before = self.heap_bytes();
            self.0.try_reserve_exact(self.0.len().max(16))?;
            mem.changed(before, self.heap_bytes());
        }
        let place = self.place(change.xid);
        self.0.insert(place.end, change); // there is room
        Ok(place.len())
    }

    /// Take out a transaction's changes, each shown to `see`. Whether it had
    /// any.
    pub(super) fn take(&mut self, xid: TransactionId, see: impl FnMut(Change)) -> bool {
        let place = self.place(xid);
        let any = !place.is_empty();
        if any {
            self.0.drain(place).for_each(see);
        }
        any
    }

    /// All of them, in the order of their transactions' numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }

    pub(super) fn for_each_mut(&mut self, change: impl FnMut(&mut Change)) {
        self.0.iter_mut().for_each(change);
    }

    pub(super) fn try_clone(&self) -> Result<Small, NoMemory> {
        let mut list = VecDeque::new();
        list.try_reserve_exact(self.0.len())?;
        list.extend(&self.0);
        Ok(Small(list))
    }
}
