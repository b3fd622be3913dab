//! From WAL records to the ledger.

use crate::ledger::Ledger;
use walker_wal::standby::StandbyRecord;
use walker_wal::storage::DbaseRecord;
use walker_wal::xact::{XactEnd, XactRecord};
use walker_wal::xlog::XlogRecord;
use walker_wal::{Major, Record, RmgrId, TransactionId, WalError};
use walker_wal::{standby, storage, xact, xlog};

/// The first xid a transaction can have (`FirstNormalTransactionId`).
const FIRST_NORMAL_XID: TransactionId = 3;

/// `TransactionIdPrecedes`, of normal xids.
fn precedes(a: TransactionId, b: TransactionId) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Ledger<'_> {
    /// Count a record, and learn from it what became of transactions and
    /// relations. A record that cannot be decoded is counted all the same.
    #[inline]
    pub fn apply<R: Record + ?Sized>(&mut self, major: Major, rec: &R) -> Result<(), WalError> {
        if self.status.counted_from == 0 {
            self.status.counted_from = rec.lsn().0;
        }
        // First: a transaction's abort record is part of what it wasted.
        self.attribute(rec);
        let result = match rec.rmid() {
            RmgrId::XACT => self.apply_xact(major, rec),
            RmgrId::XLOG => self.apply_xlog(major, rec),
            RmgrId::STANDBY => self.apply_standby(rec),
            RmgrId::DBASE => self.apply_dbase(rec),
            _ => return Ok(()),
        };
        if result.is_err() {
            self.status.malformed_records += 1;
        }
        result
    }

    #[inline]
    fn apply_xact<R: Record + ?Sized>(&mut self, major: Major, rec: &R) -> Result<(), WalError> {
        if let Some(committed) = xact::plain_end(rec) {
            self.settle(rec.xid(), committed);
            return Ok(());
        }
        self.apply_xact_in_full(major, rec)
    }

    #[inline(never)]
    fn apply_xact_in_full<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
    ) -> Result<(), WalError> {
        let decoded = match xact::decode(major, rec) {
            Ok(decoded) => decoded,
            Err(e) => {
                // It may have been its end.
                self.open.forget(rec.xid());
                return Err(e);
            }
        };
        match decoded {
            XactRecord::Commit(end) | XactRecord::CommitPrepared(end) => self.end(&end, true),
            XactRecord::Abort(end) | XactRecord::AbortPrepared(end) => self.end(&end, false),
            XactRecord::Prepare(prepare) => {
                let xids = std::iter::once(prepare.xid).chain(prepare.subxacts.iter());
                xids.for_each(|xid| self.open.prepare(xid));
            }
            XactRecord::Assignment { .. }
            | XactRecord::Invalidations(_)
            | XactRecord::Other { .. } => {}
        }
        Ok(())
    }

    /// The transaction first: its bytes still have their place.
    fn end(&mut self, end: &XactEnd<'_>, committed: bool) {
        end.xids().for_each(|xid| self.settle(xid, committed));
        if !end.rels.is_empty() {
            self.drop_relations(end.rels.iter());
        }
    }

    fn apply_xlog<R: Record + ?Sized>(&mut self, major: Major, rec: &R) -> Result<(), WalError> {
        match xlog::decode(major, rec)? {
            // Nobody runs who is not prepared.
            XlogRecord::CheckpointShutdown(_) | XlogRecord::EndOfRecovery(_) => {
                let lost = self.open.select(|_, writer| !writer.prepared);
                lost.into_iter().for_each(|xid| self.settle(xid, false));
            }
            _ => {}
        }
        Ok(())
    }

    fn apply_standby<R: Record + ?Sized>(&mut self, rec: &R) -> Result<(), WalError> {
        if let StandbyRecord::RunningXacts(running) = standby::decode(rec)? {
            let oldest = running.oldest_running_xid;
            if oldest >= FIRST_NORMAL_XID {
                let lost = self.open.select(|xid, _| precedes(xid, oldest));
                lost.into_iter().for_each(|xid| self.settle(xid, false));
            }
        }
        Ok(())
    }

    fn apply_dbase<R: Record + ?Sized>(&mut self, rec: &R) -> Result<(), WalError> {
        if let DbaseRecord::Drop { db_oid, ts_oids } = storage::decode_dbase(rec)? {
            self.drop_database(db_oid, ts_oids.iter());
        }
        Ok(())
    }
}
