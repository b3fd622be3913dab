//! One pass over a stretch of WAL, with a reader of its own.

use super::Failure;
use crate::reader::{Limit, NoRecord, Reader, WAL_DIRECTORY, current_limit, segment_size};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use walker_plugin::WalRecord;
use walker_plugin::wal::xlog::XLOG_SWITCH;
use walker_plugin::wal::{Lsn, Record, RmgrId};

/// The pass. Never waits: all of the stretch has been written.
pub struct Scan {
    // Dropped before the context it allocates in.
    reader: Reader,
    context: OwnedContext,
    end: Lsn,
    /// No record begins in the stretch, or the last one has been read.
    done: bool,
}

/// A memory context that goes with the pass, also when an ERROR or a LIMIT
/// ends it, with whatever the XLogReader does not free itself.
struct OwnedContext(pg_sys::MemoryContext);

impl OwnedContext {
    fn new() -> OwnedContext {
        // SAFETY: a child of TopMemoryContext, deleted in Drop. Not of the
        // current one, which may be gone before us.
        OwnedContext(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"walker_records".as_ptr(),
                0,
                8 * 1024,
                8 * 1024 * 1024,
            )
        })
    }
}

impl Drop for OwnedContext {
    fn drop(&mut self) {
        // SAFETY: ours, deleted once; nothing in it is used any more.
        unsafe { pg_sys::MemoryContextDelete(self.0) };
    }
}

impl Scan {
    /// Stand before the first record that begins at or after `start`.
    pub fn open(start: Lsn, end: Lsn) -> Result<Scan, Failure> {
        let limit = current_limit();
        check_range(start, end, limit)?;
        let segment_size = segment_size() as u32;
        // WAL begins with segment 1; a reader would choke on position 0.
        if start.segment_number(segment_size) == 0 {
            return Err(Box::new(removed(start, 0)));
        }
        let context = OwnedContext::new();
        let mut reader = Reader::new(start);
        reader.set_limit(Limit { lsn: end, ..limit });
        let mut sought = reader.seek(start, context.0);
        if matches!(sought, Err(NoRecord::Invalid(_)))
            && let Some(next) = end_of_switched_segment(start, limit, context.0)
        {
            sought = if next < end {
                reader.seek(next, context.0)
            } else {
                Err(NoRecord::Incomplete(next))
            };
        }
        let done = match sought {
            Ok(_) => false,
            Err(NoRecord::Incomplete(_)) => true,
            Err(why) => return Err(Box::new(report(start, why))),
        };
        Ok(Scan {
            reader,
            context,
            end,
            done,
        })
    }

    /// The next record that ends at or before the end of the stretch.
    pub fn next_record(&mut self) -> Result<Option<WalRecord<'_>>, Failure> {
        if self.done || self.reader.end() >= self.end {
            return Ok(None);
        }
        let at = self.reader.end();
        match self.reader.read_next(self.context.0) {
            Ok(()) => {}
            Err(NoRecord::Incomplete(_)) => {
                self.done = true;
                return Ok(None);
            }
            Err(why) => return Err(Box::new(report(at, why))),
        }
        let end = self.end;
        Ok(self.reader.record().filter(|r| r.end_lsn() <= end))
    }
}

/// Where the segment that `start` is in ends, if nothing was written between
/// `start` and there because the server had switched to the next segment.
fn end_of_switched_segment(
    start: Lsn,
    limit: Limit,
    context: pg_sys::MemoryContext,
) -> Option<Lsn> {
    let segment_size = segment_size();
    let begin = Lsn(start.0 - start.0 % segment_size);
    let next = Lsn(begin.0 + segment_size);
    let mut reader = Reader::new(begin);
    reader.set_limit(limit);
    reader.seek(begin, context).ok()?;
    while reader.end() < start {
        pgrx::check_for_interrupts!();
        reader.read_next(context).ok()?;
    }
    // A switch record extends to the end of its segment (xlogreader.c).
    let last = reader.record()?;
    let switch = last.rmid() == RmgrId::XLOG && last.rmgr_info() == XLOG_SWITCH;
    (switch && last.end_lsn() == next).then_some(next)
}

fn invalid(message: &str) -> ErrorReport {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        message.to_owned(),
        "walker_records",
    )
}

/// There must be something between the positions, and it must have been
/// written, or replayed.
fn check_range(start: Lsn, end: Lsn, limit: Limit) -> Result<(), Failure> {
    if start >= end {
        let report = invalid("WAL start LSN must be less than end LSN");
        let detail = format!("The start is {start}, the end is {end}.");
        return Err(Box::new(report.set_detail(detail)));
    }
    let message = if start >= limit.lsn {
        "WAL start LSN is in the future"
    } else if end > limit.lsn {
        "WAL end LSN is in the future"
    } else {
        return Ok(());
    };
    let (detail, function) = if limit.in_recovery {
        ("replayed", "pg_last_wal_replay_lsn()")
    } else {
        ("flushed", "pg_current_wal_flush_lsn()")
    };
    let report = invalid(message)
        .set_detail(format!("WAL has been {detail} up to {}.", limit.lsn))
        .set_hint(format!("Read up to {function}."));
    Err(Box::new(report))
}

fn report(at: Lsn, why: NoRecord) -> ErrorReport {
    match why {
        NoRecord::Removed(segno) | NoRecord::Missing(segno, _) => removed(at, segno),
        NoRecord::Invalid(message) => ErrorReport::new(
            PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            format!("could not read WAL at {at}"),
            "walker_records",
        )
        .set_detail(message),
        NoRecord::Short(message) => ErrorReport::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            format!("could not read WAL at {at}"),
            "walker_records",
        )
        .set_detail(message),
        NoRecord::Incomplete(lsn) => ErrorReport::new(
            PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            format!("could not read WAL at {at}"),
            "walker_records",
        )
        .set_detail(format!("It is incomplete before {lsn}.")),
    }
}

fn removed(at: Lsn, segno: u64) -> ErrorReport {
    let segment_size = segment_size();
    let report = ErrorReport::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
        format!("WAL at {at} is not there any more"),
        "walker_records",
    );
    let report = report.set_detail(format!(
        "The segment that begins at {} has been removed or recycled.",
        Lsn(segno * segment_size)
    ));
    match oldest_segment(0x1_0000_0000 / segment_size) {
        Some(oldest) => report.set_hint(format!(
            "The oldest WAL of this server begins at {}.",
            Lsn(oldest * segment_size)
        )),
        None => report,
    }
}

/// The lowest number of a segment file, of whatever timeline.
fn oldest_segment(segments_per_id: u64) -> Option<u64> {
    let files = std::fs::read_dir(WAL_DIRECTORY).ok()?;
    let names = files.filter_map(|f| f.ok()?.file_name().into_string().ok());
    names
        .filter(|n| n.len() == 24)
        .filter_map(|n| {
            let number = |part: &str| u64::from_str_radix(part, 16).ok();
            Some(number(n.get(8..16)?)? * segments_per_id + number(n.get(16..24)?)?)
        })
        .min()
}
