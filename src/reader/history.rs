//! Which history a position belongs to.
//!
//! An LSN alone does not name a place: after a promotion, a rewind or a restore
//! the same LSN can hold other WAL. A record with its checksum, on the timeline
//! the server's history gives for it, does.

use super::{Limit, NoRecord, Reader, WAL_DIRECTORY, current_limit, file_name, segment_size};
use crate::plugin::{is_shortage, sqlstate_of};
use crate::worker;
use core::cell::Cell;
use pgrx::prelude::*;
use std::{fs, io};
use walker_plugin::RecordId;
use walker_plugin::wal::Lsn;
use walker_plugin::wal::timeline::timeline_at;

unsafe extern "C-unwind" {
    /// `access/transam/timeline.c`; not among pgrx's bindings.
    fn readTimeLineHistory(tli: pg_sys::TimeLineID) -> *mut pg_sys::List;
    /// `access/transam/timeline.c`; not among pgrx's bindings.
    fn tliOfPointInHistory(
        ptr: pg_sys::XLogRecPtr,
        history: *mut pg_sys::List,
    ) -> pg_sys::TimeLineID;
}

thread_local! {
    static LAST: Cell<Option<(u64, u64, u32)>> = const { Cell::new(None) };
}

/// Remember the last record handed to the plugins: begin, end, checksum.
pub fn remember(record: Option<(u64, u64, u32)>) {
    if record.is_some() {
        LAST.set(record);
    }
}

/// The last record handed to the plugins; `None` before the first.
pub fn last_record() -> Option<RecordId> {
    let (lsn, end_lsn, crc) = LAST.get()?;
    Some(RecordId {
        lsn,
        end_lsn,
        crc,
        tli: timeline_of(Lsn(lsn), current_limit().tli),
    })
}

/// Begin and end of the same.
pub fn last_span() -> Option<(Lsn, Lsn)> {
    LAST.get().map(|(lsn, end_lsn, _)| (Lsn(lsn), Lsn(end_lsn)))
}

/// What the server's WAL says of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It holds that very record.
    Stands,
    /// It did, for all that is known: that WAL is there no more. Not said during
    /// recovery.
    Gone,
    /// It holds something else.
    Foreign,
}

/// Whether this server's WAL holds that very record. Says that WAL was lost if
/// it is there no more.
pub fn check_record(id: &RecordId) -> bool {
    let proof = prove(id);
    if proof == Proof::Gone && worker::is_worker() {
        worker::lost_behind(Lsn(id.end_lsn));
    }
    proof == Proof::Stands
}

/// What this server's WAL says of a record; an ERROR if memory or descriptors
/// are short, so that nobody can tell. Remembers one that stands as the last
/// one, for a state that is saved again before another record came.
pub fn prove(id: &RecordId) -> Proof {
    // The reader asserts what every record fulfils: aligned, and not in
    // segment 0, which never exists.
    if id.lsn < segment_size() || !id.lsn.is_multiple_of(8) || id.lsn >= id.end_lsn {
        return Proof::Foreign;
    }
    if worker::is_worker() {
        worker::wait_for_replay(Lsn(id.end_lsn));
    }
    let mut tries = 0;
    loop {
        let limit = current_limit();
        let proof = look(id, limit);
        if proof != Proof::Gone || !limit.in_recovery {
            return proof;
        }
        // A segment that is restored or renamed is missing for a moment. Where it
        // is not there, the state came with a base backup, as a rule, and no WAL
        // of before: that is no loss to be told of.
        if tries == TRIES || !worker::is_worker() {
            return Proof::Foreign;
        }
        tries += 1;
        worker::wait_a_moment();
    }
}

/// How often a segment that is missing during recovery is looked for again.
const TRIES: u32 = 3;

/// One look at the WAL up to the limit.
fn look(id: &RecordId, limit: Limit) -> Proof {
    if id.end_lsn > limit.lsn.0 {
        return Proof::Foreign;
    }
    if timeline_of(Lsn(id.lsn), limit.tli) != id.tli {
        return Proof::Foreign;
    }
    let mut reader = Reader::new(Lsn(id.lsn));
    reader.set_limit(Limit {
        lsn: Lsn(id.end_lsn),
        ..limit
    });
    let found = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
        // SAFETY: a context for the life of the process.
        reader.read_next(unsafe { pg_sys::TopMemoryContext })
    }))
    .catch_others(|error| match is_shortage(sqlstate_of(&error)) {
        true => error.rethrow(),
        false => Err(NoRecord::Invalid("an error".to_owned())),
    })
    .execute();
    if let Err(NoRecord::Short(message)) = &found {
        // Nobody knows: then a sound state must not be called a foreign one.
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            format!("could not read WAL at {}", Lsn(id.lsn)),
            message
        );
    }
    if let Err(NoRecord::Removed(_) | NoRecord::Missing(..)) = found {
        return Proof::Gone;
    }
    let record = Some((id.lsn, id.end_lsn, id.crc));
    if found.is_ok() && reader.record_id() == record {
        remember(record);
        return Proof::Stands;
    }
    Proof::Foreign
}

/// The newest timeline that has branched off from the history of this one, not in
/// front of the limit, and whose file of the segment is there: up to the limit that
/// is WAL of this timeline. An error if that cannot be told now.
pub(super) fn descendant_with(tli: u32, segno: u64, limit: Lsn) -> io::Result<Option<u32>> {
    let mut newer = Vec::new();
    for file in fs::read_dir(WAL_DIRECTORY)? {
        let name = file?.file_name();
        let name = name.to_string_lossy();
        let other = name.get(..8).map(|digits| u32::from_str_radix(digits, 16));
        if let Some(Ok(other)) = other
            && other > tli
            && name == file_name(other, segno)
        {
            newer.push(other);
        }
    }
    newer.sort_unstable_by(|a, b| b.cmp(a));
    let Some(last) = limit
        .0
        .checked_sub(1)
        .map(Lsn)
        .filter(|_| !newer.is_empty())
    else {
        return Ok(None);
    };
    let own = timeline_of(last, tli);
    for other in newer {
        let history = match fs::read(format!("{WAL_DIRECTORY}/{other:08X}.history")) {
            Err(errno) if errno.kind() == io::ErrorKind::NotFound => continue,
            history => history?,
        };
        if timeline_at(&String::from_utf8_lossy(&history), other, last) == Some(own) {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// The timeline a position belongs to, in the history of timeline `tli`.
fn timeline_of(lsn: Lsn, tli: u32) -> u32 {
    // SAFETY: both read history files only; the list is ours and small. The
    // position is not beyond the end of `tli`, which is the newest timeline.
    #[allow(ffi_unwind_calls, reason = "protected by pg_guard_ffi_boundary")]
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            let history = readTimeLineHistory(tli);
            let found = tliOfPointInHistory(lsn.0, history);
            pg_sys::list_free_deep(history);
            found
        })
    }
}
