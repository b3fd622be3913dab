//! Transactions: who is undecided, who has ended, whom to ask.

mod beside;
mod in_order;
mod running;

use walker_wal::TransactionId;

pub(crate) use running::{Touch, Transactions};

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
pub enum Outcome {
    /// It committed.
    Committed,
    /// It aborted, or was lost in a crash.
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

    /// Which of the two is dead by it: what the transaction inserted, or what
    /// it deleted.
    #[inline]
    pub(crate) fn dead<T>(self, inserted: T, deleted: T) -> T {
        match self {
            Outcome::Committed => deleted,
            Outcome::Aborted | Outcome::Unknown => inserted,
        }
    }
}

/// `TransactionIdPrecedes`.
#[inline]
pub(crate) fn precedes(a: TransactionId, b: TransactionId) -> bool {
    let special = (a < FIRST_NORMAL_XID) | (b < FIRST_NORMAL_XID);
    special & (a < b) | !special & ((a.wrapping_sub(b) as i32) < 0)
}

/// The status of the xids that are no transactions.
#[inline]
pub(crate) fn special_xid(xid: TransactionId) -> Option<XidStatus> {
    match xid {
        FIRST_NORMAL_XID.. => None,
        0 => Some(XidStatus::Aborted),
        _ => Some(XidStatus::Committed),
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
}
