//! Records of resource manager XLOG (`catalog/pg_control.h`,
//! `access/xlog_internal.h`).

use crate::bytes::Reader;
use crate::text::Text;
use crate::xact::TimestampTz;
use crate::{Lsn, Major, Record, TimeLineId, TransactionId, WalError};
use serde::Serialize;

/// A checkpoint at shutdown, or at the end of recovery.
pub const XLOG_CHECKPOINT_SHUTDOWN: u8 = 0x00;
/// A checkpoint while the server runs; its redo point is earlier.
pub const XLOG_CHECKPOINT_ONLINE: u8 = 0x10;
/// Nothing.
pub const XLOG_NOOP: u8 = 0x20;
/// OIDs up to here may be in use.
pub const XLOG_NEXTOID: u8 = 0x30;
/// The rest of the segment is empty.
pub const XLOG_SWITCH: u8 = 0x40;
/// A base backup has ended.
pub const XLOG_BACKUP_END: u8 = 0x50;
/// Settings that matter to a standby have changed.
pub const XLOG_PARAMETER_CHANGE: u8 = 0x60;
/// A named point to recover to.
pub const XLOG_RESTORE_POINT: u8 = 0x70;
/// full_page_writes has changed.
pub const XLOG_FPW_CHANGE: u8 = 0x80;
/// Recovery has ended without a checkpoint.
pub const XLOG_END_OF_RECOVERY: u8 = 0x90;
/// A page image, because hint bits were set.
pub const XLOG_FPI_FOR_HINT: u8 = 0xA0;
/// Page images.
pub const XLOG_FPI: u8 = 0xB0;
/// A record that never came to its end was overwritten.
pub const XLOG_OVERWRITE_CONTRECORD: u8 = 0xD0;
/// The redo point of a checkpoint to come (from 17).
pub const XLOG_CHECKPOINT_REDO: u8 = 0xE0;

/// `MAXFNAMELEN`: size of the name of a restore point.
const MAXFNAMELEN: usize = 64;

/// A record of resource manager XLOG.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum XlogRecord<'a> {
    /// `XLOG_CHECKPOINT_SHUTDOWN`
    CheckpointShutdown(CheckPoint),
    /// `XLOG_CHECKPOINT_ONLINE`
    CheckpointOnline(CheckPoint),
    /// `XLOG_CHECKPOINT_REDO` (from 17)
    CheckpointRedo(WalLevel),
    /// `XLOG_NOOP`
    Noop,
    /// `XLOG_NEXTOID`
    NextOid(u32),
    /// `XLOG_SWITCH`
    Switch,
    /// `XLOG_BACKUP_END`: where the backup began.
    BackupEnd(Lsn),
    /// `XLOG_PARAMETER_CHANGE`
    ParameterChange(XlParameterChange),
    /// `XLOG_RESTORE_POINT`
    RestorePoint {
        /// When it was set.
        rp_time: TimestampTz,
        /// Its name.
        rp_name: Text<'a>,
    },
    /// `XLOG_FPW_CHANGE`: the new setting.
    FpwChange(bool),
    /// `XLOG_END_OF_RECOVERY`
    EndOfRecovery(XlEndOfRecovery),
    /// `XLOG_FPI`: the images are those of the record's blocks.
    Fpi,
    /// `XLOG_FPI_FOR_HINT`
    FpiForHint,
    /// `XLOG_OVERWRITE_CONTRECORD`
    OverwriteContrecord {
        /// Where the given-up record began.
        overwritten_lsn: Lsn,
        /// When.
        overwrite_time: TimestampTz,
    },
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// `WalLevel` (`access/xlog.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct WalLevel(pub i32);

impl WalLevel {
    /// `WAL_LEVEL_MINIMAL`: contents of new relations may be missing.
    pub const MINIMAL: WalLevel = WalLevel(0);
    /// `WAL_LEVEL_REPLICA`
    pub const REPLICA: WalLevel = WalLevel(1);
    /// `WAL_LEVEL_LOGICAL`
    pub const LOGICAL: WalLevel = WalLevel(2);

    fn read(r: &mut Reader<'_>) -> Result<WalLevel, WalError> {
        r.u32().map(|n| WalLevel(n.cast_signed()))
    }
}

impl std::fmt::Display for WalLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match *self {
            WalLevel::MINIMAL => "minimal",
            WalLevel::REPLICA => "replica",
            WalLevel::LOGICAL => "logical",
            _ => "?",
        })
    }
}

/// `CheckPoint`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct CheckPoint {
    /// Where redo begins.
    pub redo: Lsn,
    /// The timeline.
    pub this_tli: TimeLineId,
    /// The timeline before, if the record begins a new one.
    pub prev_tli: TimeLineId,
    /// full_page_writes.
    pub full_page_writes: bool,
    /// wal_level (from 17).
    pub wal_level: Option<WalLevel>,
    /// The next transaction ID, 64 bits wide.
    pub next_xid: u64,
    /// The next OID.
    pub next_oid: u32,
    /// The next multixact.
    pub next_multi: u32,
    /// The next multixact member.
    pub next_multi_offset: u32,
    /// Oldest `datfrozenxid`.
    pub oldest_xid: TransactionId,
    /// The database that has it.
    pub oldest_xid_db: u32,
    /// Oldest `datminmxid`.
    pub oldest_multi: u32,
    /// The database that has it.
    pub oldest_multi_db: u32,
    /// Seconds since 1970.
    pub time: i64,
    /// Oldest transaction with a commit timestamp.
    pub oldest_commit_ts_xid: TransactionId,
    /// Newest transaction with a commit timestamp.
    pub newest_commit_ts_xid: TransactionId,
    /// Oldest running transaction; 0 unless online.
    pub oldest_active_xid: TransactionId,
}

/// `xl_parameter_change`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct XlParameterChange {
    /// max_connections
    pub max_connections: i32,
    /// max_worker_processes
    pub max_worker_processes: i32,
    /// max_wal_senders
    pub max_wal_senders: i32,
    /// max_prepared_transactions
    pub max_prepared_xacts: i32,
    /// max_locks_per_transaction
    pub max_locks_per_xact: i32,
    /// wal_level
    pub wal_level: WalLevel,
    /// wal_log_hints
    pub wal_log_hints: bool,
    /// track_commit_timestamp
    pub track_commit_timestamp: bool,
}

/// `xl_end_of_recovery`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct XlEndOfRecovery {
    /// When.
    pub end_time: TimestampTz,
    /// The new timeline.
    pub this_tli: TimeLineId,
    /// The timeline it left.
    pub prev_tli: TimeLineId,
    /// wal_level (from 17).
    pub wal_level: Option<WalLevel>,
}

/// Decodes a record of resource manager XLOG.
pub fn decode<R: Record + ?Sized>(major: Major, rec: &R) -> Result<XlogRecord<'_>, WalError> {
    use XlogRecord::*;
    let data = rec.main_data();
    let exact = |what| Reader::new(what, data);
    Ok(match rec.rmgr_info() {
        XLOG_CHECKPOINT_SHUTDOWN => CheckpointShutdown(CheckPoint::read(major, data)?),
        XLOG_CHECKPOINT_ONLINE => CheckpointOnline(CheckPoint::read(major, data)?),
        XLOG_CHECKPOINT_REDO if major >= Major::V17 => {
            let mut r = exact("wal_level");
            let wal_level = WalLevel::read(&mut r)?;
            r.finish()?;
            CheckpointRedo(wal_level)
        }
        XLOG_NOOP => Noop,
        XLOG_NEXTOID => {
            let mut r = exact("nextOid");
            let oid = r.u32()?;
            r.finish()?;
            NextOid(oid)
        }
        XLOG_SWITCH => Switch,
        XLOG_BACKUP_END => {
            let mut r = exact("startpoint");
            let lsn = r.lsn()?;
            r.finish()?;
            BackupEnd(lsn)
        }
        XLOG_PARAMETER_CHANGE => ParameterChange(XlParameterChange::read(data)?),
        XLOG_RESTORE_POINT => {
            let mut r = exact("xl_restore_point");
            let (rp_time, name) = (r.i64()?, r.bytes(MAXFNAMELEN)?);
            r.finish()?;
            RestorePoint {
                rp_time,
                rp_name: Text(name.split(|b| *b == 0).next().unwrap_or(name)),
            }
        }
        XLOG_FPW_CHANGE => {
            let mut r = exact("fullPageWrites");
            let fpw = r.bool()?;
            r.finish()?;
            FpwChange(fpw)
        }
        XLOG_END_OF_RECOVERY => EndOfRecovery(XlEndOfRecovery::read(major, data)?),
        XLOG_FPI => Fpi,
        XLOG_FPI_FOR_HINT => FpiForHint,
        XLOG_OVERWRITE_CONTRECORD => {
            let mut r = exact("xl_overwrite_contrecord");
            let (overwritten_lsn, overwrite_time) = (r.lsn()?, r.i64()?);
            r.finish()?;
            OverwriteContrecord {
                overwritten_lsn,
                overwrite_time,
            }
        }
        op => Other { op },
    })
}

impl CheckPoint {
    fn read(major: Major, data: &[u8]) -> Result<CheckPoint, WalError> {
        let mut r = Reader::new("CheckPoint", data);
        let (redo, this_tli, prev_tli, full_page_writes) =
            (r.lsn()?, r.u32()?, r.u32()?, r.bool()?);
        r.skip(3)?;
        // wal_level took the place of padding.
        let wal_level = if major >= Major::V17 {
            Some(WalLevel::read(&mut r)?)
        } else {
            r.skip(4)?;
            None
        };
        let (next_xid, next_oid, next_multi) = (r.u64()?, r.u32()?, r.u32()?);
        let (next_multi_offset, oldest_xid, oldest_xid_db) = (r.u32()?, r.u32()?, r.u32()?);
        let (oldest_multi, oldest_multi_db) = (r.u32()?, r.u32()?);
        r.skip(4)?;
        let (time, oldest_commit_ts_xid) = (r.i64()?, r.u32()?);
        let (newest_commit_ts_xid, oldest_active_xid) = (r.u32()?, r.u32()?);
        r.skip(4)?;
        r.finish()?;
        Ok(CheckPoint {
            redo,
            this_tli,
            prev_tli,
            full_page_writes,
            wal_level,
            next_xid,
            next_oid,
            next_multi,
            next_multi_offset,
            oldest_xid,
            oldest_xid_db,
            oldest_multi,
            oldest_multi_db,
            time,
            oldest_commit_ts_xid,
            newest_commit_ts_xid,
            oldest_active_xid,
        })
    }
}

impl XlParameterChange {
    fn read(data: &[u8]) -> Result<XlParameterChange, WalError> {
        let mut r = Reader::new("xl_parameter_change", data);
        let mut int = || r.u32().map(u32::cast_signed);
        let change = XlParameterChange {
            max_connections: int()?,
            max_worker_processes: int()?,
            max_wal_senders: int()?,
            max_prepared_xacts: int()?,
            max_locks_per_xact: int()?,
            wal_level: WalLevel::read(&mut r)?,
            wal_log_hints: r.bool()?,
            track_commit_timestamp: r.bool()?,
        };
        r.skip(2)?;
        r.finish()?;
        Ok(change)
    }
}

impl XlEndOfRecovery {
    fn read(major: Major, data: &[u8]) -> Result<XlEndOfRecovery, WalError> {
        let mut r = Reader::new("xl_end_of_recovery", data);
        let (end_time, this_tli, prev_tli) = (r.i64()?, r.u32()?, r.u32()?);
        let wal_level = if major >= Major::V17 {
            let wal_level = WalLevel::read(&mut r)?;
            r.skip(4)?;
            Some(wal_level)
        } else {
            None
        };
        r.finish()?;
        Ok(XlEndOfRecovery {
            end_time,
            this_tli,
            prev_tli,
            wal_level,
        })
    }
}
