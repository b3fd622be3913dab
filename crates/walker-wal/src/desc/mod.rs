//! Records as text, as `rm_desc` of each resource manager writes it.
//!
//! Field names and values are those of the server of the same major version.
//! Times are in UTC. Index methods are named but not described.

mod heap;
mod identify;
mod parts;
mod xact;

pub use identify::identify;

use crate::misc::{LogicalmsgRecord, ReploriginRecord, SeqRecord};
use crate::multixact::{MultixactRecord, SlruRecord};
use crate::storage::{DbaseRecord, RelmapRecord, SmgrRecord, TblspcRecord};
use crate::xlog::XlogRecord;
use crate::{ForkNumber, List, Lsn, Major, Payload, Record, RelFileLocator, RmgrId, WalError};
use parts::{RelPath, Timestamp, on_off, separated};
use std::fmt::{self, Display, Formatter, Write};
use xact::{invalidations, standby};

/// What a record says, as text.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    major: Major,
    payload: Payload<'a>,
    origin: u16,
}

/// The text for a record; it is written when the result is formatted.
pub fn describe<R: Record + ?Sized>(major: Major, rec: &R) -> Result<Description<'_>, WalError> {
    Ok(Description {
        major,
        payload: crate::decode(major, rec)?,
        origin: rec.origin(),
    })
}

impl Display for Description<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.payload {
            Payload::Xlog(r) => xlog(f, r),
            Payload::Xact(r) => self.xact(f, r),
            Payload::Smgr(r) => smgr(f, self.major, r),
            Payload::Clog(r) => slru(f, RmgrId::CLOG, r),
            Payload::CommitTs(r) => slru(f, RmgrId::COMMIT_TS, r),
            Payload::Dbase(r) => dbase(f, r),
            Payload::Tblspc(TblspcRecord::Create { ts_oid, path }) => {
                write!(f, "{ts_oid} \"{path}\"")
            }
            Payload::Tblspc(TblspcRecord::Drop { ts_oid }) => write!(f, "{ts_oid}"),
            Payload::Multixact(r) => multixact(f, r),
            Payload::Relmap(RelmapRecord::Update {
                db_oid,
                ts_oid,
                data,
            }) => {
                write!(
                    f,
                    "database {db_oid} tablespace {ts_oid} size {}",
                    data.len()
                )
            }
            Payload::Standby(r) => standby(f, self.major, r),
            Payload::Heap2(r) => heap::heap2(f, self.major, r),
            Payload::Heap(r) => heap::heap(f, self.major, r),
            Payload::Seq(SeqRecord::Log { locator, .. }) => write!(f, "rel {locator}"),
            Payload::Replorigin(ReploriginRecord::Set {
                remote_lsn,
                node_id,
                force,
            }) => {
                write!(
                    f,
                    "set {node_id}; lsn {remote_lsn}; force: {}",
                    u8::from(*force)
                )
            }
            Payload::Replorigin(ReploriginRecord::Drop { node_id }) => write!(f, "drop {node_id}"),
            Payload::Logicalmsg(LogicalmsgRecord::Message {
                transactional,
                prefix,
                message,
                ..
            }) => {
                let kind = if *transactional {
                    "transactional"
                } else {
                    "non-transactional"
                };
                write!(
                    f,
                    "{kind}, prefix \"{prefix}\"; payload ({} bytes): ",
                    message.len()
                )?;
                separated(f, " ", message.iter(), |f, b| write!(f, "{b:02X}"))
            }
            Payload::Tblspc(TblspcRecord::Other { .. })
            | Payload::Relmap(RelmapRecord::Other { .. })
            | Payload::Seq(SeqRecord::Other { .. })
            | Payload::Replorigin(ReploriginRecord::Other { .. })
            | Payload::Logicalmsg(LogicalmsgRecord::Other { .. })
            | Payload::Generic(_)
            | Payload::Opaque(_) => Ok(()),
        }
    }
}

fn xlog(f: &mut Formatter<'_>, record: &XlogRecord<'_>) -> fmt::Result {
    use XlogRecord::*;
    match record {
        CheckpointShutdown(c) | CheckpointOnline(c) => {
            write!(
                f,
                "redo {}; tli {}; prev tli {}; ",
                c.redo, c.this_tli, c.prev_tli
            )?;
            write!(f, "fpw {}; ", c.full_page_writes)?;
            if let Some(wal_level) = c.wal_level {
                write!(f, "wal_level {wal_level}; ")?;
            }
            write!(
                f,
                "xid {}:{}; oid {}; ",
                c.next_xid >> 32,
                c.next_xid as u32,
                c.next_oid
            )?;
            write!(
                f,
                "multi {}; offset {}; ",
                c.next_multi, c.next_multi_offset
            )?;
            write!(f, "oldest xid {} in DB {}; ", c.oldest_xid, c.oldest_xid_db)?;
            write!(
                f,
                "oldest multi {} in DB {}; ",
                c.oldest_multi, c.oldest_multi_db
            )?;
            let (oldest, newest) = (c.oldest_commit_ts_xid, c.newest_commit_ts_xid);
            write!(f, "oldest/newest commit timestamp xid: {oldest}/{newest}; ")?;
            let kind = if matches!(record, CheckpointOnline(_)) {
                "online"
            } else {
                "shutdown"
            };
            write!(f, "oldest running xid {}; {kind}", c.oldest_active_xid)
        }
        CheckpointRedo(wal_level) => write!(f, "wal_level {wal_level}"),
        NextOid(oid) => write!(f, "{oid}"),
        BackupEnd(startpoint) => write!(f, "{startpoint}"),
        RestorePoint { rp_name, .. } => write!(f, "{rp_name}"),
        FpwChange(on) => write!(f, "{on}"),
        ParameterChange(p) => {
            write!(f, "max_connections={} ", p.max_connections)?;
            write!(f, "max_worker_processes={} ", p.max_worker_processes)?;
            write!(f, "max_wal_senders={} ", p.max_wal_senders)?;
            write!(f, "max_prepared_xacts={} ", p.max_prepared_xacts)?;
            write!(
                f,
                "max_locks_per_xact={} wal_level={} ",
                p.max_locks_per_xact, p.wal_level
            )?;
            let (hints, commit_ts) = (on_off(p.wal_log_hints), on_off(p.track_commit_timestamp));
            write!(
                f,
                "wal_log_hints={hints} track_commit_timestamp={commit_ts}"
            )
        }
        EndOfRecovery(e) => {
            let time = Timestamp(e.end_time);
            write!(
                f,
                "tli {}; prev tli {}; time {time}",
                e.this_tli, e.prev_tli
            )?;
            e.wal_level.map_or(Ok(()), |w| write!(f, "; wal_level {w}"))
        }
        OverwriteContrecord {
            overwritten_lsn,
            overwrite_time,
        } => {
            write!(
                f,
                "lsn {overwritten_lsn}; time {}",
                Timestamp(*overwrite_time)
            )
        }
        Noop | Switch | Fpi | FpiForHint | Other { .. } => Ok(()),
    }
}

fn smgr(f: &mut Formatter<'_>, major: Major, record: &SmgrRecord) -> fmt::Result {
    match *record {
        SmgrRecord::Create { locator, fork } => write!(f, "{}", RelPath(major, locator, fork)),
        SmgrRecord::Truncate {
            locator,
            blkno,
            flags,
        } => {
            let path = RelPath(major, locator, ForkNumber::MAIN);
            write!(f, "{path} to {blkno} blocks flags {flags}")
        }
        SmgrRecord::Other { .. } => Ok(()),
    }
}

fn slru(f: &mut Formatter<'_>, rmid: RmgrId, record: &SlruRecord) -> fmt::Result {
    match (record, rmid) {
        (SlruRecord::ZeroPage(page), RmgrId::CLOG) => write!(f, "page {page}"),
        (SlruRecord::ZeroPage(page), _) => write!(f, "{page}"),
        (
            SlruRecord::Truncate {
                pageno, oldest_xid, ..
            },
            RmgrId::CLOG,
        ) => {
            write!(f, "page {pageno}; oldestXact {oldest_xid}")
        }
        (
            SlruRecord::Truncate {
                pageno, oldest_xid, ..
            },
            _,
        ) => {
            write!(f, "pageno {pageno}, oldestXid {oldest_xid}")
        }
        (SlruRecord::Other { .. }, _) => Ok(()),
    }
}

fn dbase(f: &mut Formatter<'_>, record: &DbaseRecord<'_>) -> fmt::Result {
    match record {
        DbaseRecord::CreateFileCopy {
            db_oid,
            ts_oid,
            src_db_oid,
            src_ts_oid,
        } => {
            write!(f, "copy dir {src_ts_oid}/{src_db_oid} to {ts_oid}/{db_oid}")
        }
        DbaseRecord::CreateWalLog { db_oid, ts_oid } => write!(f, "create dir {ts_oid}/{db_oid}"),
        DbaseRecord::Drop { db_oid, ts_oids } => {
            f.write_str("dir")?;
            ts_oids
                .iter()
                .try_for_each(|ts_oid| write!(f, " {ts_oid}/{db_oid}"))
        }
        DbaseRecord::Other { .. } => Ok(()),
    }
}

fn multixact(f: &mut Formatter<'_>, record: &MultixactRecord<'_>) -> fmt::Result {
    const STATUS: [&str; 6] = ["keysh", "sh", "fornokeyupd", "forupd", "nokeyupd", "upd"];
    match record {
        MultixactRecord::ZeroOffPage(page) | MultixactRecord::ZeroMemPage(page) => {
            write!(f, "{page}")
        }
        MultixactRecord::CreateId(c) => {
            write!(
                f,
                "{} offset {} nmembers {}: ",
                c.mid,
                c.moff,
                c.members.len()
            )?;
            c.members.iter().try_for_each(|m| {
                let status = STATUS.get(m.status as usize).unwrap_or(&"unk");
                write!(f, "{} ({status}) ", m.xid)
            })
        }
        MultixactRecord::TruncateId(t) => {
            write!(f, "offsets [{}, {}), ", t.start_trunc_off, t.end_trunc_off)?;
            write!(f, "members [{}, {})", t.start_trunc_memb, t.end_trunc_memb)
        }
        MultixactRecord::Other { .. } => Ok(()),
    }
}
