//! Transaction and Standby as text: `xactdesc.c`, `standbydesc.c`.

use super::*;
use crate::inval::{InvalMessage, InvalMessages};
use crate::standby::StandbyRecord;
use crate::xact::*;

pub(super) fn standby(
    f: &mut Formatter<'_>,
    major: Major,
    record: &StandbyRecord<'_>,
) -> fmt::Result {
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
                f.write_str(match major {
                    Major::V15 => "; subxid ovf",
                    _ => "; subxid overflowed",
                })?;
            }
            // 15 does not list them.
            if major != Major::V15 && !r.subxids.is_empty() {
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
pub(super) fn invalidations(
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
    pub(super) fn xact(&self, f: &mut Formatter<'_>, record: &XactRecord<'_>) -> fmt::Result {
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
