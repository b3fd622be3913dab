//! Reading the server's WAL: an XLogReader with our own `page_read`.
//!
//! The reader never waits. Where WAL ends, or the record at hand is not yet
//! complete, it says so and the worker decides what to do; that keeps signals,
//! barriers and the plugins' polling in one place.

mod checksum;
mod direct;
pub mod history;
mod limit;
mod page_read;
mod scan;
mod source;
mod window;

pub(crate) use direct::{Direct, Found};
pub use limit::{Limit, current_limit};
pub use source::WalSource;
pub use walker_plugin::state::redo_pointer;

use crate::compat::raw;
use core::ffi::{CStr, c_char};
use pgrx::prelude::*;
use walker_plugin::wal::Lsn;
use walker_plugin::wal::lsn::segment_file_name;

/// Bytes of a WAL segment.
#[inline]
pub fn segment_size() -> u64 {
    // SAFETY: set once at server start, before libraries are preloaded
    // (LocalProcessControlFile in postmaster.c).
    unsafe { pg_sys::wal_segment_size as u64 }
}

/// Where the segments are, below the data directory, which is a server process's
/// working directory.
pub const WAL_DIRECTORY: &str = "pg_wal";

/// The name of a segment's file.
fn file_name(tli: u32, segno: u64) -> String {
    segment_file_name(tli, segno, segment_size() as u32)
}

/// Bytes of a record for which the raw reader keeps its buffer.
const MOST_KEPT: u32 = 1024 * 1024;

/// Why no record came.
#[derive(Debug)]
pub enum NoRecord {
    /// The WAL up to the limit does not hold the whole record yet; it makes no
    /// sense to try again before the limit has reached this position.
    Incomplete(Lsn),
    /// The segment with this number has been removed or recycled.
    Removed(u64),
    /// The segment with this number is not there (yet), on this timeline.
    Missing(u64, u32),
    /// There is no descriptor to be had for the segment.
    Short(String),
    /// The XLogReader's own message: this is not valid WAL.
    Invalid(String),
}

/// An XLogReader and where it stands.
pub struct Reader {
    state: *mut pg_sys::XLogReaderState,
    /// The buffer that XLogReaderAllocate made, which `page_read` puts aside.
    read_buffer: *mut c_char,
    source: Box<WalSource>,
    direct: Direct,
    end: Lsn,
    /// The raw reader was called and has not come back.
    in_read: bool,
}

impl Reader {
    /// A reader that begins at `start`: the beginning of a record or the end
    /// of the one before.
    pub fn new(start: Lsn) -> Reader {
        let mut source = Box::new(WalSource::new());
        let routine = pg_sys::XLogReaderRoutine {
            page_read: Some(page_read::page_read),
            segment_open: Some(raw::wal_segment_open),
            segment_close: Some(raw::wal_segment_close),
        };
        // SAFETY: XLogReaderAllocate (access/transam/xlogreader.c) copies the
        // routine and keeps the private pointer, which lives as long as the
        // reader: both are freed in Drop. NULL means out of memory.
        let state = unsafe {
            let mut routine = routine;
            let old = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let state = pg_sys::XLogReaderAllocate(
                pg_sys::wal_segment_size,
                core::ptr::null(),
                &mut routine,
                (&raw mut *source).cast(),
            );
            pg_sys::MemoryContextSwitchTo(old);
            state
        };
        if state.is_null() {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
                "out of memory",
                "Failed while allocating a WAL reading processor."
            );
        }
        let mut reader = Reader {
            state,
            // SAFETY: not NULL, and no page was read yet.
            read_buffer: unsafe { (*state).readBuf },
            source,
            direct: Direct::new(),
            end: start,
            in_read: false,
        };
        reader.begin();
        reader
    }

    /// Stand behind the last whole record, ready to read the next.
    fn begin(&mut self) {
        // SAFETY: the state is ours; the position is a record boundary, which
        // XLogBeginRead asks for.
        unsafe { pg_sys::XLogBeginRead(self.state, self.end.0) };
    }

    /// End of the last record read.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// Timeline of the last WAL read.
    pub fn timeline(&self) -> u32 {
        self.source.timeline()
    }

    /// Give back what a very long record has left: the raw reader keeps the largest
    /// buffer it ever needed, which may be a gigabyte. Between two records.
    pub fn slim(&mut self) {
        // SAFETY: the state is ours.
        let kept = unsafe { (*self.state).readRecordBufSize };
        if kept > MOST_KEPT {
            *self = Reader::new(self.end);
        }
    }

    /// Let records up to this limit be read.
    pub fn set_limit(&mut self, limit: Limit) {
        self.source.set_limit(limit);
    }

    /// The raw reader. Whoever calls it says so before: see [`Self::came_back`].
    pub(crate) fn raw(&mut self) -> *mut pg_sys::XLogReaderState {
        self.in_read = true;
        self.state
    }

    /// The same, and what reads on beside it.
    pub(crate) fn raw_and_direct(&mut self) -> (*mut pg_sys::XLogReaderState, &mut Direct) {
        self.direct.prepare();
        (self.raw(), &mut self.direct)
    }

    /// The raw reader has come back from what it was called for, not by an
    /// ERROR: then it must not be used any more, nor be freed. Where that was
    /// for lack of memory it still has a pointer to the buffer it had just
    /// freed (allocate_recordbuf in access/transam/xlogreader.c).
    pub(crate) fn came_back(&mut self) {
        self.in_read = false;
    }

    /// Begin, end and checksum of the record read last.
    pub(crate) fn record_id(&self) -> Option<(u64, u64, u32)> {
        // SAFETY: NULL before the first record and after a failed read, else
        // valid until the next read.
        let record = unsafe { (*self.state).record.as_ref() }?;
        Some((record.lsn, record.next_lsn, record.header.xl_crc))
    }

    /// After the dispatch loop moved the raw reader: `end` is the end of the
    /// last record it handed out.
    pub(crate) fn moved_to(&mut self, end: Lsn) {
        self.end = end;
    }

    /// Find out why the raw reader gave no record, and make it ready again.
    ///
    /// # Safety
    /// `message` must be what XLogReadRecord left, before any other call.
    pub(crate) unsafe fn no_record(&mut self, message: *const c_char) -> NoRecord {
        let why = self.source.take_refusal().unwrap_or_else(|| {
            if message.is_null() {
                return NoRecord::Invalid("could not read WAL".to_owned());
            }
            // SAFETY: XLogReadRecord leaves a C string in the reader's own
            // buffer.
            NoRecord::Invalid(
                unsafe { CStr::from_ptr(message) }
                    .to_string_lossy()
                    .into_owned(),
            )
        });
        self.begin();
        why
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once; closes the open segment. Not
        // freed after an ERROR, see `came_back`. XLogReaderFree frees readBuf,
        // which must be the one that was allocated.
        unsafe {
            self.source.forget_segment(self.state);
            (*self.state).readBuf = self.read_buffer;
            if !self.in_read {
                // It forgets a record that had no room in its buffer, which this frees
                // (ResetDecoder).
                self.begin();
                pg_sys::XLogReaderFree(self.state);
            }
        }
    }
}
