//! Records as text, as `rm_desc` of each resource manager writes it.
//!
//! Field names and values are those of the server of the same major version.
//! Times are in UTC. Index methods are named but not described.

mod heap;
mod identify;

pub use identify::identify;

use crate::inval::{InvalMessage, InvalMessages};
use crate::misc::{LogicalmsgRecord, ReploriginRecord, SeqRecord};
use crate::multixact::{MultixactRecord, SlruRecord};
use crate::standby::StandbyRecord;
use crate::storage::{DbaseRecord, RelmapRecord, SmgrRecord, TblspcRecord};
use crate::xact::*;
use crate::xlog::XlogRecord;
use crate::{ForkNumber, List, Lsn, Major, Payload, Record, RelFileLocator, RmgrId, WalError};
use std::fmt::{self, Display, Formatter, Write};

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
            Payload::Standby(r) => standby(f, r),
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

/// Items with a separator between them.
fn separated<T>(
    f: &mut Formatter<'_>,
    separator: &str,
    items: impl Iterator<Item = T>,
    mut item: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (i, it) in items.enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        item(f, it)?;
    }
    Ok(())
}

/// `timestamptz_to_str` in time zone UTC.
struct Timestamp(TimestampTz);

impl Display for Timestamp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400_000_000;
        let (days, micros) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        // Years are counted from March, so that the leap day is the last one.
        let from_march_0 = days + 730_425;
        let era = from_march_0.div_euclid(146_097);
        let day_of_era = from_march_0.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let seconds = micros / 1_000_000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:06} UTC",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            micros % 1_000_000
        )
    }
}

/// `relpathperm`.
struct RelPath(Major, RelFileLocator, ForkNumber);

impl Display for RelPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let RelPath(major, locator, fork) = self;
        let RelFileLocator {
            spc_oid,
            db_oid,
            rel_number,
        } = locator;
        match spc_oid {
            1664 => write!(f, "global/{rel_number}")?,
            1663 => write!(f, "base/{db_oid}/{rel_number}")?,
            _ => {
                // TABLESPACE_VERSION_DIRECTORY
                let version = match major {
                    Major::V15 => "PG_15_202209061",
                    Major::V16 => "PG_16_202307071",
                    Major::V17 => "PG_17_202406281",
                    Major::V18 => "PG_18_202506291",
                };
                write!(f, "pg_tblspc/{spc_oid}/{version}/{db_oid}/{rel_number}")?;
            }
        }
        match *fork {
            ForkNumber::MAIN => Ok(()),
            ForkNumber::FSM => f.write_str("_fsm"),
            ForkNumber::VISIBILITYMAP => f.write_str("_vm"),
            ForkNumber::INIT => f.write_str("_init"),
            ForkNumber(other) => write!(f, "_{other}"),
        }
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
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

fn standby(f: &mut Formatter<'_>, record: &StandbyRecord<'_>) -> fmt::Result {
    match record {
        StandbyRecord::Lock(locks) => locks
            .iter()
            .try_for_each(|l| write!(f, "xid {} db {} rel {} ", l.xid, l.db_oid, l.rel_oid)),
        StandbyRecord::RunningXacts(r) => {
            write!(f, "nextXid {} ", r.next_xid)?;
            write!(f, "latestCompletedXid {} ", r.latest_completed_xid)?;
            write!(f, "oldestRunningXid {}", r.oldest_running_xid)?;
            if !r.xids.is_empty() {
                write!(f, "; {} xacts:", r.xids.len())?;
                r.xids.iter().try_for_each(|xid| write!(f, " {xid}"))?;
            }
            if r.subxid_overflow {
                f.write_str("; subxid overflowed")?;
            }
            if !r.subxids.is_empty() {
                write!(f, "; {} subxacts:", r.subxids.len())?;
                r.subxids.iter().try_for_each(|xid| write!(f, " {xid}"))?;
            }
            Ok(())
        }
        StandbyRecord::Invalidations(i) => {
            invalidations(f, i.msgs, i.db_oid, i.ts_oid, i.relcache_init_file_inval)
        }
        StandbyRecord::Other { .. } => Ok(()),
    }
}

/// `standby_desc_invalidations`.
fn invalidations(
    f: &mut Formatter<'_>,
    msgs: InvalMessages<'_>,
    db_oid: u32,
    ts_oid: u32,
    init_file: bool,
) -> fmt::Result {
    if msgs.is_empty() {
        return Ok(());
    }
    if init_file {
        write!(f, "; relcache init file inval dbid {db_oid} tsid {ts_oid}")?;
    }
    f.write_str("; inval msgs:")?;
    msgs.iter().try_for_each(|msg| match msg {
        InvalMessage::Catcache { id, .. } => write!(f, " catcache {id}"),
        InvalMessage::Catalog { cat_oid, .. } => write!(f, " catalog {cat_oid}"),
        InvalMessage::Relcache { rel_oid, .. } => write!(f, " relcache {rel_oid}"),
        InvalMessage::Smgr { .. } => f.write_str(" smgr"),
        InvalMessage::Relmap { db_oid } => write!(f, " relmap db {db_oid}"),
        InvalMessage::Snapshot { rel_oid, .. } => write!(f, " snapshot {rel_oid}"),
        InvalMessage::Relsync { rel_oid, .. } => write!(f, " relsync {rel_oid}"),
        InvalMessage::Other { id } => write!(f, " unrecognized id {id}"),
    })
}

impl Description<'_> {
    fn xact(&self, f: &mut Formatter<'_>, record: &XactRecord<'_>) -> fmt::Result {
        match record {
            XactRecord::Commit(end) | XactRecord::CommitPrepared(end) => {
                self.xact_start(f, end)?;
                stats(f, "", &end.stats)?;
                let init_file = end.xinfo & XACT_COMPLETION_UPDATE_RELCACHE_FILE != 0;
                invalidations(f, end.msgs, end.db_oid, end.ts_oid, init_file)?;
                if end.xinfo & XACT_COMPLETION_APPLY_FEEDBACK != 0 {
                    f.write_str("; apply_feedback")?;
                }
                if end.xinfo & XACT_COMPLETION_FORCE_SYNC_COMMIT != 0 {
                    f.write_str("; sync")?;
                }
                self.origin(f, end.origin)
            }
            XactRecord::Abort(end) | XactRecord::AbortPrepared(end) => {
                self.xact_start(f, end)?;
                self.origin(f, end.origin)?;
                stats(f, "", &end.stats)
            }
            XactRecord::Prepare(p) => {
                write!(f, "gid {}: {}", p.gid, Timestamp(p.prepared_at))?;
                self.rels(f, "rels(commit)", p.commit_rels)?;
                self.rels(f, "rels(abort)", p.abort_rels)?;
                stats(f, "commit ", &p.commit_stats)?;
                stats(f, "abort ", &p.abort_stats)?;
                subxacts(f, p.subxacts)?;
                // The tablespace is not in the record.
                invalidations(f, p.msgs, p.db_oid, 0, p.initfileinval)?;
                let origin = (self.origin != 0).then_some((p.origin_lsn, p.origin_timestamp));
                self.origin(f, origin)
            }
            XactRecord::Assignment { xtop, xsub } => {
                write!(f, "xtop {xtop}: subxacts:")?;
                xsub.iter().try_for_each(|xid| write!(f, " {xid}"))
            }
            XactRecord::Invalidations(msgs) => invalidations(f, *msgs, 0, 0, false),
            XactRecord::Other { .. } => Ok(()),
        }
    }

    fn xact_start(&self, f: &mut Formatter<'_>, end: &XactEnd<'_>) -> fmt::Result {
        if end.twophase_xid != 0 {
            write!(f, "{}: ", end.twophase_xid)?;
        }
        write!(f, "{}", Timestamp(end.xact_time))?;
        self.rels(f, "rels", end.rels)?;
        subxacts(f, end.subxacts)
    }

    fn rels(
        &self,
        f: &mut Formatter<'_>,
        label: &str,
        rels: List<'_, RelFileLocator>,
    ) -> fmt::Result {
        if rels.is_empty() {
            return Ok(());
        }
        write!(f, "; {label}:")?;
        rels.iter()
            .try_for_each(|r| write!(f, " {}", RelPath(self.major, r, ForkNumber::MAIN)))
    }

    fn origin(&self, f: &mut Formatter<'_>, origin: Option<(Lsn, TimestampTz)>) -> fmt::Result {
        let Some((lsn, at)) = origin else {
            return Ok(());
        };
        write!(
            f,
            "; origin: node {}, lsn {lsn}, at {}",
            self.origin,
            Timestamp(at)
        )
    }
}

fn subxacts(f: &mut Formatter<'_>, subxacts: List<'_, u32>) -> fmt::Result {
    if subxacts.is_empty() {
        return Ok(());
    }
    f.write_str("; subxacts:")?;
    subxacts.iter().try_for_each(|xid| write!(f, " {xid}"))
}

fn stats(f: &mut Formatter<'_>, label: &str, stats: &DroppedStats<'_>) -> fmt::Result {
    if stats.is_empty() {
        return Ok(());
    }
    write!(f, "; {label}dropped stats:")?;
    stats
        .iter()
        .try_for_each(|s| write!(f, " {}/{}/{}", s.kind, s.db_oid, s.objid))
}
