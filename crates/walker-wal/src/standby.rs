//! Records of resource manager Standby (`storage/standbydefs.h`).

use crate::bytes::{Fixed, List, Reader, U32List};
use crate::inval::InvalMessages;
use crate::{Record, TransactionId, WalError};
use serde::Serialize;

/// Access exclusive locks were taken.
pub const XLOG_STANDBY_LOCK: u8 = 0x00;
/// Which transactions are running.
pub const XLOG_RUNNING_XACTS: u8 = 0x10;
/// Cache invalidations of a transaction without xid.
pub const XLOG_INVALIDATIONS: u8 = 0x20;

/// A record of resource manager Standby.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum StandbyRecord<'a> {
    /// `XLOG_STANDBY_LOCK`
    Lock(List<'a, XlStandbyLock>),
    /// `XLOG_RUNNING_XACTS`
    RunningXacts(XlRunningXacts<'a>),
    /// `XLOG_INVALIDATIONS`
    Invalidations(XlInvalidations<'a>),
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// `xl_standby_lock`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct XlStandbyLock {
    /// The holder.
    pub xid: TransactionId,
    /// The database.
    pub db_oid: u32,
    /// The table's OID.
    pub rel_oid: u32,
}

impl Fixed for XlStandbyLock {
    const SIZE: usize = 12;
    fn read(b: &[u8]) -> Option<XlStandbyLock> {
        let (xid, db_oid) = (u32::read(b)?, u32::read(b.get(4..)?)?);
        Some(XlStandbyLock {
            xid,
            db_oid,
            rel_oid: u32::read(b.get(8..)?)?,
        })
    }
}

/// `xl_running_xacts`. A transaction of the past that is neither listed nor
/// prepared nor ended has crashed, if it is older than `oldest_running_xid`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlRunningXacts<'a> {
    /// Whether subtransactions are missing from the list.
    pub subxid_overflow: bool,
    /// The next transaction ID.
    pub next_xid: TransactionId,
    /// The oldest that still runs.
    pub oldest_running_xid: TransactionId,
    /// The newest that has ended.
    pub latest_completed_xid: TransactionId,
    /// Top-level transactions.
    pub xids: U32List<'a>,
    /// Subtransactions.
    pub subxids: U32List<'a>,
}

/// `xl_invalidations`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlInvalidations<'a> {
    /// The database.
    pub db_oid: u32,
    /// Its default tablespace.
    pub ts_oid: u32,
    /// Whether the relcache init file is invalidated.
    pub relcache_init_file_inval: bool,
    /// The messages.
    pub msgs: InvalMessages<'a>,
}

/// Decodes a record of resource manager Standby.
pub fn decode<R: Record + ?Sized>(rec: &R) -> Result<StandbyRecord<'_>, WalError> {
    let data = rec.main_data();
    match rec.rmgr_info() {
        XLOG_STANDBY_LOCK => {
            let mut r = Reader::new("xl_standby_locks", data);
            let n = r.count()?;
            let locks = r.list(n)?;
            r.finish()?;
            Ok(StandbyRecord::Lock(locks))
        }
        XLOG_RUNNING_XACTS => running_xacts(data).map(StandbyRecord::RunningXacts),
        XLOG_INVALIDATIONS => {
            let mut r = Reader::new("xl_invalidations", data);
            let (db_oid, ts_oid, relcache_init_file_inval) = (r.u32()?, r.u32()?, r.bool()?);
            r.skip(3)?;
            let msgs = InvalMessages::read(&mut r)?;
            r.finish()?;
            Ok(StandbyRecord::Invalidations(XlInvalidations {
                db_oid,
                ts_oid,
                relcache_init_file_inval,
                msgs,
            }))
        }
        op => Ok(StandbyRecord::Other { op }),
    }
}

fn running_xacts(data: &[u8]) -> Result<XlRunningXacts<'_>, WalError> {
    let mut r = Reader::new("xl_running_xacts", data);
    let (xcnt, subxcnt, subxid_overflow) = (r.count()?, r.count()?, r.bool()?);
    r.skip(3)?;
    let (next_xid, oldest_running_xid, latest_completed_xid) = (r.u32()?, r.u32()?, r.u32()?);
    let (xids, subxids) = (r.list(xcnt)?, r.list(subxcnt)?);
    r.finish()?;
    Ok(XlRunningXacts {
        subxid_overflow,
        next_xid,
        oldest_running_xid,
        latest_completed_xid,
        xids,
        subxids,
    })
}
