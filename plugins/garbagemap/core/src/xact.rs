//! Transactions: who is undecided, who has ended, whom to ask.

use smallvec::SmallVec;
use walker_wal::TransactionId;

use crate::mem::{Map, Mem, NoMemory};

/// The first xid a transaction can have (`FirstNormalTransactionId`).
const FIRST_NORMAL_XID: TransactionId = 3;

/// What a transaction came to, as the server tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XidStatus {
    /// It committed. Final.
    Committed,
    /// It aborted, or was lost in a crash. Final.
    Aborted,
    /// It runs, or is prepared, or is not yet out of the list of running ones.
    InProgress,
    /// Its status is no longer kept.
    Unknown,
}

/// Knows what the WAL read so far does not tell: transactions that ended
/// before it begins, or without a record.
pub trait Oracle {
    /// The status of a normal xid.
    fn xid_status(&mut self, xid: TransactionId) -> XidStatus;

    /// The member of a multixact that updated the tuple: `Some(0)` if there
    /// is none, `None` if that cannot be known.
    fn multixact_updater(&mut self, mxid: TransactionId) -> Option<TransactionId> {
        let _ = mxid;
        None
    }
}

/// How a transaction's undecided events are settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Committed,
    Aborted,
    /// Nobody knows any more.
    Unknown,
}

impl Outcome {
    /// `None` if the transaction has not ended.
    pub(crate) fn of(status: XidStatus) -> Option<Outcome> {
        match status {
            XidStatus::Committed => Some(Outcome::Committed),
            XidStatus::Aborted => Some(Outcome::Aborted),
            XidStatus::Unknown => Some(Outcome::Unknown),
            XidStatus::InProgress => None,
        }
    }
}

/// `TransactionIdPrecedes`.
pub(crate) fn precedes(a: TransactionId, b: TransactionId) -> bool {
    if a < FIRST_NORMAL_XID || b < FIRST_NORMAL_XID {
        return a < b;
    }
    (a.wrapping_sub(b) as i32) < 0
}

/// The status of the xids that are no transactions.
pub(crate) fn special_xid(xid: TransactionId) -> Option<XidStatus> {
    match xid {
        0 => Some(XidStatus::Aborted),
        1..FIRST_NORMAL_XID => Some(XidStatus::Committed),
        _ => None,
    }
}

/// Where a transaction had undecided events. They may be gone, with the range,
/// the relation, or for another relation in its slot. That does no harm: a
/// group is settled by its xid, and what else is found is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Touch {
    pub rel: u32,
    pub rangeno: u32,
}

type Touches = SmallVec<[Touch; 4]>;

/// Bytes of an entry in the table, about: key, value, and free buckets.
const TX_BYTES: usize = (size_of::<TransactionId>() + size_of::<Touches>()) * 3 / 2;

/// The undecided transactions and the ranges they touched.
#[derive(Default)]
pub(crate) struct Transactions {
    running: Map<TransactionId, Touches>,
}

impl Transactions {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn contains(&self, xid: TransactionId) -> bool {
        self.running.contains_key(&xid)
    }

    pub(crate) fn xids(&self) -> impl Iterator<Item = TransactionId> {
        self.running.keys().copied()
    }

    /// A transaction has a new group of events in a range.
    pub(crate) fn touch(
        &mut self,
        xid: TransactionId,
        touch: Touch,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        self.running.try_reserve(1)?;
        let touches = self.running.entry(xid).or_insert_with(|| {
            mem.grew(TX_BYTES);
            Touches::new()
        });
        let before = spilled_bytes(touches);
        touches.try_reserve(1)?;
        touches.push(touch);
        mem.changed(before, spilled_bytes(touches));
        Ok(())
    }

    /// The transaction has ended.
    pub(crate) fn take(&mut self, xid: TransactionId, mem: &mut Mem) -> Option<Touches> {
        let touches = self.running.remove(&xid)?;
        mem.shrank(TX_BYTES + spilled_bytes(&touches));
        Some(touches)
    }

    /// Forget the touches of which `keep` says false, and the transactions
    /// that have none left.
    pub(crate) fn retain(
        &mut self,
        mut keep: impl FnMut(TransactionId, Touch) -> bool,
        mem: &mut Mem,
    ) {
        self.running.retain(|&xid, touches| {
            touches.retain(|touch| keep(xid, *touch));
            let stays = !touches.is_empty();
            if !stays {
                mem.shrank(TX_BYTES + spilled_bytes(touches));
            }
            stays
        });
    }
}

fn spilled_bytes(touches: &Touches) -> usize {
    if touches.spilled() {
        touches.capacity() * size_of::<Touch>()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xids_wrap() {
        assert!(precedes(10, 11) && !precedes(11, 10) && !precedes(10, 10));
        assert!(precedes(u32::MAX, 3) && !precedes(3, u32::MAX));
        assert!(precedes(2, u32::MAX), "special xids precede all");
    }

    #[test]
    fn touches_are_accounted_for() {
        let (mut txs, mut mem) = (Transactions::default(), Mem::default());
        for rangeno in 0..100 {
            txs.touch(9, Touch { rel: 0, rangeno }, &mut mem).unwrap();
        }
        txs.touch(10, Touch { rel: 1, rangeno: 0 }, &mut mem)
            .unwrap();
        txs.retain(|_, touch| touch.rel == 0, &mut mem);
        assert!(txs.contains(9) && !txs.contains(10));
        assert_eq!(txs.take(9, &mut mem).unwrap().len(), 100);
        assert_eq!(mem.used(), 0);
    }
}
