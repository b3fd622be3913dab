//! Records of resource manager Transaction (`access/xact.h`).
//!
//! Commit and abort records consist of chunks whose presence `xinfo` tells.
//! Transactions that ended by a crash leave no record at all.

mod stats;

pub use stats::{DroppedStat, DroppedStats};

use crate::bytes::{List, Reader, U32List};
use crate::inval::InvalMessages;
use crate::text::Text;
use crate::{Lsn, Major, Record, RelFileLocator, TransactionId, WalError};
use serde::Serialize;

/// A transaction committed.
pub const XLOG_XACT_COMMIT: u8 = 0x00;
/// A transaction was prepared for two-phase commit.
pub const XLOG_XACT_PREPARE: u8 = 0x10;
/// A transaction or subtransaction aborted.
pub const XLOG_XACT_ABORT: u8 = 0x20;
/// A prepared transaction committed.
pub const XLOG_XACT_COMMIT_PREPARED: u8 = 0x30;
/// A prepared transaction aborted.
pub const XLOG_XACT_ABORT_PREPARED: u8 = 0x40;
/// Subtransactions were assigned to their top-level transaction.
pub const XLOG_XACT_ASSIGNMENT: u8 = 0x50;
/// Cache invalidations of a running transaction, for logical decoding.
pub const XLOG_XACT_INVALIDATIONS: u8 = 0x60;
/// The bits of the info byte that hold the opcode.
pub const XLOG_XACT_OPMASK: u8 = 0x70;
/// The record has a field `xinfo`.
pub const XLOG_XACT_HAS_INFO: u8 = 0x80;

/// Database and tablespace are there.
pub const XACT_XINFO_HAS_DBINFO: u32 = 1 << 0;
/// Subtransactions are there.
pub const XACT_XINFO_HAS_SUBXACTS: u32 = 1 << 1;
/// Dropped relation files are there (`HAS_RELFILENODES` in 15).
pub const XACT_XINFO_HAS_RELFILELOCATORS: u32 = 1 << 2;
/// Cache invalidations are there.
pub const XACT_XINFO_HAS_INVALS: u32 = 1 << 3;
/// The ID of the prepared transaction is there.
pub const XACT_XINFO_HAS_TWOPHASE: u32 = 1 << 4;
/// Position and time at the replication origin are there.
pub const XACT_XINFO_HAS_ORIGIN: u32 = 1 << 5;
/// The transaction held access exclusive locks.
pub const XACT_XINFO_HAS_AE_LOCKS: u32 = 1 << 6;
/// The name of the prepared transaction is there.
pub const XACT_XINFO_HAS_GID: u32 = 1 << 7;
/// Dropped statistics are there.
pub const XACT_XINFO_HAS_DROPPED_STATS: u32 = 1 << 8;
/// A standby reports when it has applied the commit.
pub const XACT_COMPLETION_APPLY_FEEDBACK: u32 = 1 << 29;
/// The relcache init file is invalidated.
pub const XACT_COMPLETION_UPDATE_RELCACHE_FILE: u32 = 1 << 30;
/// The commit is synchronous.
pub const XACT_COMPLETION_FORCE_SYNC_COMMIT: u32 = 1 << 31;

/// Microseconds since 2000-01-01 00:00 UTC (`TimestampTz`).
pub type TimestampTz = i64;

/// A record of resource manager Transaction.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum XactRecord<'a> {
    /// `XLOG_XACT_COMMIT`
    Commit(XactEnd<'a>),
    /// `XLOG_XACT_ABORT`
    Abort(XactEnd<'a>),
    /// `XLOG_XACT_COMMIT_PREPARED`
    CommitPrepared(XactEnd<'a>),
    /// `XLOG_XACT_ABORT_PREPARED`
    AbortPrepared(XactEnd<'a>),
    /// `XLOG_XACT_PREPARE`
    Prepare(XlXactPrepare<'a>),
    /// `XLOG_XACT_ASSIGNMENT`
    Assignment {
        /// The top-level transaction.
        xtop: TransactionId,
        /// Its subtransactions.
        xsub: U32List<'a>,
    },
    /// `XLOG_XACT_INVALIDATIONS`
    Invalidations(InvalMessages<'a>),
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// The end of a transaction: `xl_xact_commit`, `xl_xact_abort` and their
/// chunks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XactEnd<'a> {
    /// The transaction that ended: the record's, or the prepared one.
    pub xid: TransactionId,
    /// When it ended.
    pub xact_time: TimestampTz,
    /// `XACT_XINFO_*`, `XACT_COMPLETION_*`.
    pub xinfo: u32,
    /// The database, 0 if not told.
    pub db_oid: u32,
    /// The database's default tablespace, 0 if not told.
    pub ts_oid: u32,
    /// Its committed subtransactions; in an abort record, those that abort
    /// with it.
    pub subxacts: U32List<'a>,
    /// Relations whose files are removed with the end of the transaction.
    pub rels: List<'a, RelFileLocator>,
    /// Statistics that are dropped.
    pub stats: DroppedStats<'a>,
    /// Cache invalidations.
    pub msgs: InvalMessages<'a>,
    /// The prepared transaction, 0 if it was none.
    pub twophase_xid: TransactionId,
    /// The prepared transaction's name, if told.
    pub gid: Option<Text<'a>>,
    /// Position and time of the end at the replication origin.
    pub origin: Option<(Lsn, TimestampTz)>,
}

/// `xl_xact_prepare`, and what follows it in the state file of a prepared
/// transaction.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlXactPrepare<'a> {
    /// The prepared transaction.
    pub xid: TransactionId,
    /// The database.
    pub db_oid: u32,
    /// When it was prepared.
    pub prepared_at: TimestampTz,
    /// The user who runs it.
    pub owner: u32,
    /// Its name.
    pub gid: Text<'a>,
    /// Its subtransactions.
    pub subxacts: U32List<'a>,
    /// Relations whose files a commit removes.
    pub commit_rels: List<'a, RelFileLocator>,
    /// Relations whose files an abort removes.
    pub abort_rels: List<'a, RelFileLocator>,
    /// Statistics that a commit drops.
    pub commit_stats: DroppedStats<'a>,
    /// Statistics that an abort drops.
    pub abort_stats: DroppedStats<'a>,
    /// Cache invalidations.
    pub msgs: InvalMessages<'a>,
    /// Whether the relcache init file is invalidated.
    pub initfileinval: bool,
    /// Position at the replication origin.
    pub origin_lsn: Lsn,
    /// Time of preparation at the replication origin.
    pub origin_timestamp: TimestampTz,
}

/// The end of a transaction of which nothing but the end is to be told, as
/// nearly all are: whether it committed. `None` if the record is another one;
/// then [`decode`] has an answer.
#[inline]
pub fn plain_end<R: Record + ?Sized>(rec: &R) -> Option<bool> {
    const SIZE_OF_XACT_TIME: usize = 8;
    if rec.main_data().len() != SIZE_OF_XACT_TIME {
        return None;
    }
    match rec.info() & (XLOG_XACT_OPMASK | XLOG_XACT_HAS_INFO) {
        XLOG_XACT_COMMIT => Some(true),
        XLOG_XACT_ABORT => Some(false),
        _ => None,
    }
}

/// Decodes a record of resource manager Transaction.
pub fn decode<R: Record + ?Sized>(major: Major, rec: &R) -> Result<XactRecord<'_>, WalError> {
    use XactRecord::*;
    match rec.info() & XLOG_XACT_OPMASK {
        XLOG_XACT_COMMIT => XactEnd::read(major, rec, true).map(Commit),
        XLOG_XACT_COMMIT_PREPARED => XactEnd::read(major, rec, true).map(CommitPrepared),
        XLOG_XACT_ABORT => XactEnd::read(major, rec, false).map(Abort),
        XLOG_XACT_ABORT_PREPARED => XactEnd::read(major, rec, false).map(AbortPrepared),
        XLOG_XACT_PREPARE => XlXactPrepare::read(major, rec.main_data()).map(Prepare),
        XLOG_XACT_ASSIGNMENT => {
            let mut r = Reader::new("xl_xact_assignment", rec.main_data());
            let (xtop, n) = (r.u32()?, r.count()?);
            let xsub = r.list(n)?;
            r.finish()?;
            Ok(Assignment { xtop, xsub })
        }
        XLOG_XACT_INVALIDATIONS => {
            let mut r = Reader::new("xl_xact_invals", rec.main_data());
            let msgs = InvalMessages::read(&mut r)?;
            r.finish()?;
            Ok(Invalidations(msgs))
        }
        op => Ok(Other { op }),
    }
}

impl<'a> XactEnd<'a> {
    fn read<R: Record + ?Sized>(major: Major, rec: &'a R, commit: bool) -> Result<Self, WalError> {
        let what = if commit {
            "xl_xact_commit"
        } else {
            "xl_xact_abort"
        };
        let mut r = Reader::new(what, rec.main_data());
        let mut end = XactEnd {
            xid: rec.xid(),
            xact_time: r.i64()?,
            xinfo: 0,
            db_oid: 0,
            ts_oid: 0,
            subxacts: List::EMPTY,
            rels: List::EMPTY,
            stats: DroppedStats::EMPTY,
            msgs: List::EMPTY,
            twophase_xid: 0,
            gid: None,
            origin: None,
        };
        if rec.info() & XLOG_XACT_HAS_INFO != 0 {
            end.xinfo = r.u32()?;
        }
        let has = |bit: u32| end.xinfo & bit != 0;
        if has(XACT_XINFO_HAS_DBINFO) {
            (end.db_oid, end.ts_oid) = (r.u32()?, r.u32()?);
        }
        if has(XACT_XINFO_HAS_SUBXACTS) {
            let n = r.count()?;
            end.subxacts = r.list(n)?;
        }
        if has(XACT_XINFO_HAS_RELFILELOCATORS) {
            let n = r.count()?;
            end.rels = r.list(n)?;
        }
        if has(XACT_XINFO_HAS_DROPPED_STATS) {
            let n = r.count()?;
            end.stats = DroppedStats::read(major, &mut r, n)?;
        }
        if commit && has(XACT_XINFO_HAS_INVALS) {
            end.msgs = InvalMessages::read(&mut r)?;
        }
        if has(XACT_XINFO_HAS_TWOPHASE) {
            end.twophase_xid = r.u32()?;
            end.xid = end.twophase_xid;
            if has(XACT_XINFO_HAS_GID) {
                end.gid = Some(Text(r.c_string()?));
            }
        }
        if has(XACT_XINFO_HAS_ORIGIN) {
            end.origin = Some((r.lsn()?, r.i64()?));
        }
        r.finish()?;
        Ok(end)
    }

    /// The transaction and its listed subtransactions.
    pub fn xids(&self) -> impl Iterator<Item = TransactionId> + Clone + 'a {
        std::iter::once(self.xid).chain(self.subxacts.iter())
    }
}

impl<'a> XlXactPrepare<'a> {
    fn read(major: Major, data: &'a [u8]) -> Result<XlXactPrepare<'a>, WalError> {
        let mut r = Reader::new("xl_xact_prepare", data);
        let (_magic, _total_len, xid, db_oid) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        let (prepared_at, owner) = (r.i64()?, r.u32()?);
        let (nsubxacts, ncommitrels, nabortrels) = (r.count()?, r.count()?, r.count()?);
        let (ncommitstats, nabortstats, ninvalmsgs) = (r.count()?, r.count()?, r.count()?);
        let initfileinval = r.bool()?;
        r.skip(1)?;
        let gidlen = r.u16()?;
        let (origin_lsn, origin_timestamp) = (r.lsn()?, r.i64()?);
        // save_state_data pads every chunk to MAXALIGN.
        let gid = r.bytes(gidlen.into())?;
        r.align_to(8, data)?;
        let subxacts = r.list(nsubxacts)?;
        r.align_to(8, data)?;
        let commit_rels = r.list(ncommitrels)?;
        r.align_to(8, data)?;
        let abort_rels = r.list(nabortrels)?;
        r.align_to(8, data)?;
        let commit_stats = DroppedStats::read(major, &mut r, ncommitstats)?;
        r.align_to(8, data)?;
        let abort_stats = DroppedStats::read(major, &mut r, nabortstats)?;
        r.align_to(8, data)?;
        let msgs = r.list(ninvalmsgs)?;
        // Records of other modules (locks, predicate locks, pgstat) follow.
        Ok(XlXactPrepare {
            xid,
            db_oid,
            prepared_at,
            owner,
            gid: Text(gid.strip_suffix(&[0]).unwrap_or(gid)),
            subxacts,
            commit_rels,
            abort_rels,
            commit_stats,
            abort_stats,
            msgs,
            initfileinval,
            origin_lsn,
            origin_timestamp,
        })
    }
}
