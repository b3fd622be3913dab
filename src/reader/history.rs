//! Which history a position belongs to.
//!
//! An LSN alone does not name a place: after a promotion, a rewind or a restore
//! the same LSN can hold other WAL. A record with its checksum, on the timeline
//! the server's history gives for it, does.

use super::{Limit, NoRecord, Reader, current_limit};
use crate::plugin::{is_shortage, sqlstate_of};
use crate::worker;
use core::cell::Cell;
use pgrx::prelude::*;
use walker_plugin::RecordId;
use walker_plugin::wal::Lsn;

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

/// Whether this server's WAL holds that very record; an ERROR if memory or
/// descriptors are short, so that nobody can tell. Remembers it as the last
/// one if so, for a state that is saved again before another record came.
pub fn check_record(id: &RecordId) -> bool {
    // The reader asserts what every record fulfils: aligned, and not in
    // segment 0, which never exists.
    // SAFETY: set once at server start.
    let first = unsafe { pg_sys::wal_segment_size } as u64;
    if id.lsn < first || !id.lsn.is_multiple_of(8) || id.lsn >= id.end_lsn {
        return false;
    }
    if worker::is_worker() {
        worker::wait_for_replay(Lsn(id.end_lsn));
    }
    let limit = current_limit();
    if id.end_lsn > limit.lsn.0 {
        return false;
    }
    if timeline_of(Lsn(id.lsn), limit.tli) != id.tli {
        return false;
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
    let same = found.is_ok() && reader.record_id() == Some((id.lsn, id.end_lsn, id.crc));
    if same {
        remember(Some((id.lsn, id.end_lsn, id.crc)));
    }
    same
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
