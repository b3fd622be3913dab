//! What the WAL told of transactions and multixacts, for as long as the server
//! may still tell something else or nothing.

use std::hint::select_unpredictable;

use walker_wal::TransactionId;

use crate::mem::NoMemory;
use crate::xact::{XidStatus, precedes};

/// Transactions whose end was seen in the WAL, the latest 65,536 xids of them.
///
/// They come before the server's answer, because a transaction that waits for
/// a synchronous standby is in progress for the server while its commit record
/// lies behind us; an event put down as undecided then would wait for an end
/// that does not come. An xid that was pushed out of the table by then is
/// settled when the server says that it no longer runs.
#[derive(Default)]
pub(crate) struct Ended {
    xids: Vec<TransactionId>,
    committed: Vec<u64>,
    newest: TransactionId,
}

const ENDED_SLOTS: usize = 1 << 16;
const RECENT: u32 = 1 << 13;

impl Ended {
    #[inline]
    pub(crate) fn record(&mut self, xid: TransactionId, committed: bool) {
        if self.xids.is_empty() && self.allocate().is_err() {
            return; // the server's answer has to do
        }
        let slot = xid as usize % ENDED_SLOTS;
        let place = (self.xids.get_mut(slot), self.committed.get_mut(slot / 64));
        let (Some(own), Some(word)) = place else {
            return; // there are so many slots
        };
        *own = xid;
        *word = *word & !(1 << (slot % 64)) | u64::from(committed) << (slot % 64);
        // Transactions do not end in order: no branch.
        let newer = precedes(self.newest, xid);
        self.newest = select_unpredictable(newer, xid, self.newest);
    }

    #[inline]
    pub(crate) fn status(&self, xid: TransactionId) -> Option<XidStatus> {
        let slot = xid as usize % ENDED_SLOTS;
        (*self.xids.get(slot)? == xid && xid != 0).then(|| {
            match self.committed[slot / 64] >> (slot % 64) & 1 {
                0 => XidStatus::Aborted,
                _ => XidStatus::Committed,
            }
        })
    }

    /// The latest ones, with whether they committed: what a restart is to
    /// know. Those that still count as running are among them, as only so many
    /// sessions can wait.
    pub(crate) fn recent(&self) -> impl Iterator<Item = (TransactionId, bool)> {
        self.xids
            .iter()
            .filter(|&&xid| xid != 0 && self.newest.wrapping_sub(xid) < RECENT)
            .map(|&xid| (xid, self.status(xid) == Some(XidStatus::Committed)))
    }

    #[cold]
    fn allocate(&mut self) -> Result<(), NoMemory> {
        let (mut xids, mut committed) = (Vec::new(), Vec::new());
        xids.try_reserve_exact(ENDED_SLOTS)?;
        committed.try_reserve_exact(ENDED_SLOTS / 64)?;
        xids.resize(ENDED_SLOTS, 0);
        committed.resize(ENDED_SLOTS / 64, 0);
        (self.xids, self.committed) = (xids, committed);
        Ok(())
    }
}

/// The updaters of multixacts whose creation was seen in the WAL, the latest
/// 65,536 of them. A page image of a tuple with such an xmax does not say who
/// of the members deleted it.
#[derive(Default)]
pub(crate) struct Multixacts {
    /// By slot: the multixact and its updater, 0 for none.
    slots: Vec<(TransactionId, TransactionId)>,
}

impl Multixacts {
    pub(crate) fn record(&mut self, mxid: TransactionId, updater: TransactionId) {
        if self.slots.is_empty() {
            if self.slots.try_reserve_exact(ENDED_SLOTS).is_err() {
                return; // the server's answer has to do
            }
            self.slots.resize(ENDED_SLOTS, (0, 0));
        }
        self.slots[mxid as usize % ENDED_SLOTS] = (mxid, updater);
    }

    pub(crate) fn updater(&self, mxid: TransactionId) -> Option<TransactionId> {
        let &(of, updater) = self.slots.get(mxid as usize % ENDED_SLOTS)?;
        (of == mxid && mxid != 0).then_some(updater)
    }

    /// Those a tuple can have been deleted by: the others are on tuples that
    /// are only locked.
    pub(crate) fn with_updater(&self) -> impl Iterator<Item = (TransactionId, TransactionId)> {
        self.slots
            .iter()
            .copied()
            .filter(|&(mxid, updater)| mxid != 0 && updater != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_remembers_the_latest() {
        let mut ended = Ended::default();
        assert_eq!(ended.status(7), None);
        ended.record(7, true);
        ended.record(8, false);
        assert_eq!(ended.status(7), Some(XidStatus::Committed));
        assert_eq!(ended.status(8), Some(XidStatus::Aborted));
        assert!(ended.recent().eq([(7, true), (8, false)]));
        ended.record(7 + 65_536, false);
        assert_eq!(ended.status(7), None);
        assert_eq!(ended.status(0), None);
    }
}
