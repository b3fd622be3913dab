//! From WAL records to operations of the ledger.
//!
//! A record of a resource manager that has nothing to do with heaps is passed
//! over, one with an opcode nobody knows is counted. A malformed record makes
//! the blocks it names unknown and is reported; nothing is ever guessed.

mod heap;
mod images;
mod prune;

use walker_wal::heap::plain_change;
use walker_wal::heap2::plain_prune;
use walker_wal::multixact::MultixactRecord;
use walker_wal::raw::FlatRecord;
use walker_wal::standby::StandbyRecord;
use walker_wal::storage::{DbaseRecord, SMGR_TRUNCATE_HEAP, SmgrRecord, TblspcRecord};
use walker_wal::xact::{XactEnd, XactRecord};
use walker_wal::xlog::{WalLevel, XlogRecord};
use walker_wal::{BLCKSZ, Block, ForkNumber, Major, Record, RmgrId, TransactionId, WalError};
use walker_wal::{multixact, standby, storage, xact, xlog};

use crate::Sink;
use crate::audit::Expect;
use crate::ledger::{At, Ledger};
use crate::xact::{Oracle, special_xid};

/// A page.
pub type Page = [u8; BLCKSZ];

/// What the server lends while a record is applied.
pub(crate) struct Server<'a> {
    pub oracle: &'a mut dyn Oracle,
    /// Restores the image of the block reference with this ID.
    pub restore: &'a mut dyn FnMut(u8, &mut Page) -> bool,
}

impl<S: Sink> Ledger<S> {
    /// Whether records of this resource manager matter here.
    pub fn wants(rmid: RmgrId) -> bool {
        matches!(
            rmid,
            RmgrId::HEAP
                | RmgrId::HEAP2
                | RmgrId::XLOG
                | RmgrId::XACT
                | RmgrId::SMGR
                | RmgrId::DBASE
                | RmgrId::TBLSPC
                | RmgrId::MULTIXACT
                | RmgrId::STANDBY
                | RmgrId::SEQ
                | RmgrId::BRIN
        )
    }

    /// Apply one record. `restore` restores a compressed page image by way of
    /// the server. After an error the blocks the record names are unknown, and
    /// the ledger is good for the next record.
    pub fn apply<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
        oracle: &mut dyn Oracle,
        restore: &mut dyn FnMut(u8, &mut Page) -> bool,
    ) -> Result<(), WalError> {
        match self.apply_plain_record(major, rec) {
            true => Ok(()),
            false => self.apply_other_record(major, rec, &mut Server { oracle, restore }),
        }
    }

    /// The same for one that is seen where it stands. Most are plain, and are
    /// never put down in memory; so it is handed on by value.
    #[inline(always)]
    pub fn apply_flat(
        &mut self,
        major: Major,
        rec: FlatRecord<'_>,
        oracle: &mut dyn Oracle,
    ) -> Result<(), WalError> {
        match self.apply_plain_record(major, &rec) {
            true => Ok(()),
            false => self.apply_other_flat(major, rec, oracle),
        }
    }

    #[inline(never)]
    fn apply_other_flat(
        &mut self,
        major: Major,
        rec: FlatRecord<'_>,
        oracle: &mut dyn Oracle,
    ) -> Result<(), WalError> {
        // There is no image to restore in it.
        let restore = &mut |_, _: &mut Page| false;
        self.apply_other_record(major, &rec, &mut Server { oracle, restore })
    }

    /// Apply a record if it is but a change of tuples on one page or pruning of
    /// one, without an image, or the end of a transaction without anything else.
    /// Whether it is.
    #[inline(always)]
    fn apply_plain_record<R: Record + ?Sized>(&mut self, major: Major, rec: &R) -> bool {
        self.applied = rec.end_lsn();
        self.saw_xid(rec.xid());
        // In the order of how many there are: a processor foresees the outcome
        // of comparisons better than where a table of jumps leads to.
        let rmid = rec.rmid();
        if rmid == RmgrId::HEAP {
            let Some(plain) = plain_change(rec) else {
                return false;
            };
            if special_xid(rec.xid()).is_some() {
                return false;
            }
            // What waits needs no memory, and what does not has looked to the
            // limit.
            self.apply_plain(rec, &plain);
        } else if rmid == RmgrId::XACT {
            let Some(committed) = xact::plain_end(rec) else {
                return false;
            };
            self.finish_one(rec.xid(), committed);
            self.enforce_limit();
        } else if rmid == RmgrId::HEAP2 {
            let Some(prune) = plain_prune(major, rec) else {
                return false;
            };
            if !self.apply_plain_prune(rec, &prune) {
                return false;
            }
            self.enforce_limit();
        } else {
            return false;
        }
        self.advance(rec.end_lsn());
        true
    }

    #[inline]
    fn apply_other_record<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let rmid = rec.rmid();
        let result = if rmid == RmgrId::HEAP2 {
            self.apply_heap2(major, rec, server)
        } else if rmid == RmgrId::HEAP {
            self.apply_heap(major, rec, server)
        } else {
            self.apply_rest(major, rec, server)
        };
        if result.is_err() {
            self.give_up_record(rec);
        }
        self.enforce_limit();
        self.advance(rec.end_lsn());
        result
    }

    #[inline(never)]
    fn apply_rest<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        match rec.rmid() {
            RmgrId::XACT => return self.apply_xact(major, rec),
            RmgrId::MULTIXACT => return self.apply_multixact(major, rec),
            // Most of these are images of single blocks.
            RmgrId::XLOG => return self.apply_xlog(major, rec, server),
            RmgrId::SEQ | RmgrId::BRIN => {
                self.drop_what_is_no_heap(rec);
                return Ok(());
            }
            _ => self.note_recent(),
        }
        match rec.rmid() {
            RmgrId::SMGR => self.apply_smgr(rec),
            RmgrId::DBASE => self.apply_dbase(rec),
            RmgrId::TBLSPC => self.apply_tblspc(rec),
            RmgrId::STANDBY => self.apply_standby(rec, server),
            _ => Ok(()),
        }
    }

    /// Who creates a file does not say what for. Of an index there is an image soon, but
    /// not of a sequence, nor of a BRIN index; a database may have as many of them as
    /// tables.
    #[inline(never)]
    fn drop_what_is_no_heap<R: Record + ?Sized>(&mut self, rec: &R) {
        // Not by main_blocks: a second user of it here made every image dearer, which
        // it is inlined for.
        for id in 0..=rec.max_block_id().unwrap_or(0) {
            let Some(Block { locator, .. }) = rec.block(id) else {
                continue;
            };
            if self.rels.find(locator).is_some() {
                self.note_recent();
                self.drop_relation(locator);
            }
        }
    }

    #[inline(never)]
    fn give_up_record<R: Record + ?Sized>(&mut self, rec: &R) {
        self.stats.malformed_records += 1;
        self.note_recent();
        match rec.rmid() {
            // Whatever it dropped, cut or decided, it does not say.
            RmgrId::XACT | RmgrId::SMGR | RmgrId::DBASE | RmgrId::TBLSPC => self.mark_all_unknown(),
            _ => main_blocks(rec).for_each(|block| self.forget_block(at(rec, &block))),
        }
    }

    #[inline(never)]
    fn apply_xact<R: Record + ?Sized>(&mut self, major: Major, rec: &R) -> Result<(), WalError> {
        match xact::decode(major, rec)? {
            XactRecord::Commit(end) | XactRecord::CommitPrepared(end) => self.end(&end, true),
            XactRecord::Abort(end) | XactRecord::AbortPrepared(end) => self.end(&end, false),
            // A prepared transaction stays undecided, across a crash as well.
            XactRecord::Prepare(_)
            | XactRecord::Assignment { .. }
            | XactRecord::Invalidations(_) => {}
            XactRecord::Other { .. } => self.stats.unknown_records += 1,
        }
        Ok(())
    }

    /// The relations first: what they have undecided goes with them.
    fn end(&mut self, end: &XactEnd<'_>, committed: bool) {
        if !end.rels.is_empty() {
            self.note_recent();
        }
        end.rels
            .iter()
            .for_each(|locator| self.drop_relation(locator));
        self.finish(end.xids(), committed);
    }

    #[inline(never)]
    fn apply_xlog<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let record = xlog::decode(major, rec)?;
        match record {
            XlogRecord::Fpi => return self.apply_fpi(rec, Expect::Nothing, server),
            XlogRecord::FpiForHint => return self.apply_fpi(rec, Expect::Exact, server),
            _ => self.note_recent(),
        }
        let level = match record {
            XlogRecord::CheckpointShutdown(checkpoint) => {
                self.settle_lost(None, server.oracle);
                checkpoint.wal_level
            }
            XlogRecord::EndOfRecovery(end) => {
                self.settle_lost(None, server.oracle);
                end.wal_level
            }
            XlogRecord::CheckpointOnline(checkpoint) => {
                // With wal_level = minimal there are no records of running transactions.
                self.republish();
                checkpoint.wal_level
            }
            XlogRecord::CheckpointRedo(level) => Some(level),
            XlogRecord::ParameterChange(change) => Some(change.wal_level),
            XlogRecord::Other { .. } => {
                self.stats.unknown_records += 1;
                None
            }
            // Without full-page writes unknown blocks stay unknown longer.
            _ => None,
        };
        if let Some(level) = level {
            self.set_wal_minimal(level == WalLevel::MINIMAL);
        }
        Ok(())
    }

    #[inline(never)]
    fn apply_smgr<R: Record + ?Sized>(&mut self, rec: &R) -> Result<(), WalError> {
        match storage::decode_smgr(rec)? {
            SmgrRecord::Create {
                locator,
                fork: ForkNumber::MAIN,
            } => {
                self.create_relation(locator, rec.end_lsn());
            }
            SmgrRecord::Create { .. } => {}
            // Other forks may be cut alone (pg_truncate_visibility_map).
            SmgrRecord::Truncate {
                locator,
                blkno,
                flags,
            } => {
                if flags & SMGR_TRUNCATE_HEAP != 0 {
                    self.truncate_relation(locator, blkno, rec.end_lsn());
                }
            }
            SmgrRecord::Other { .. } => self.stats.unknown_records += 1,
        }
        Ok(())
    }

    #[inline(never)]
    fn apply_dbase<R: Record + ?Sized>(&mut self, rec: &R) -> Result<(), WalError> {
        match storage::decode_dbase(rec)? {
            DbaseRecord::CreateFileCopy {
                db_oid,
                ts_oid,
                src_db_oid,
                src_ts_oid,
            } => {
                let (from, to) = ((src_db_oid, src_ts_oid), (db_oid, ts_oid));
                self.clone_database(from, to, rec.end_lsn());
            }
            // The relations follow one by one.
            DbaseRecord::CreateWalLog { .. } => {}
            DbaseRecord::Drop { db_oid, ts_oids } => {
                ts_oids
                    .iter()
                    .for_each(|ts_oid| self.drop_database(db_oid, ts_oid));
            }
            DbaseRecord::Other { .. } => self.stats.unknown_records += 1,
        }
        Ok(())
    }

    #[inline(never)]
    fn apply_tblspc<R: Record + ?Sized>(&mut self, rec: &R) -> Result<(), WalError> {
        match storage::decode_tblspc(rec)? {
            TblspcRecord::Create { .. } => {}
            TblspcRecord::Drop { ts_oid } => self.drop_tablespace(ts_oid),
            TblspcRecord::Other { .. } => self.stats.unknown_records += 1,
        }
        Ok(())
    }

    #[inline(never)]
    fn apply_standby<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        match standby::decode(rec)? {
            StandbyRecord::RunningXacts(running) => {
                self.settle_lost(Some(running.oldest_running_xid), server.oracle);
                self.republish();
            }
            StandbyRecord::Lock(_) | StandbyRecord::Invalidations(_) => {}
            StandbyRecord::Other { .. } => self.stats.unknown_records += 1,
        }
        Ok(())
    }

    #[inline(never)]
    fn apply_multixact<R: Record + ?Sized>(
        &mut self,
        major: Major,
        rec: &R,
    ) -> Result<(), WalError> {
        match multixact::decode(major, rec)? {
            MultixactRecord::CreateId(create) => {
                let updater: TransactionId = create.updater().unwrap_or(0);
                self.multixacts.record(create.mid, updater);
            }
            MultixactRecord::Other { .. } => self.stats.unknown_records += 1,
            _ => {}
        }
        Ok(())
    }
}

/// The record's blocks in main forks. Visibility map and free space map have
/// no garbage; which IDs they have differs between minor releases.
fn main_blocks<'a, R: Record + ?Sized>(rec: &'a R) -> impl Iterator<Item = Block<'a>> {
    (0..=rec.max_block_id().unwrap_or(0))
        .filter_map(|id| rec.block(id))
        .filter(|block| block.fork == ForkNumber::MAIN)
}

fn at<R: Record + ?Sized>(rec: &R, block: &Block<'_>) -> At {
    At {
        locator: block.locator,
        blkno: block.blkno,
        end_lsn: rec.end_lsn(),
        sets_page_lsn: true,
    }
}
