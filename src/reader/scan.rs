//! Reading a stretch of WAL outside the worker's loop: in a session, or one
//! record to see whether it is the right one.
//!
//! The worker begins where records begin; a session names any position. And
//! the current memory context is not the reader's to change.

use super::{NoRecord, Reader};
use core::ffi::c_char;
use pgrx::prelude::*;
use walker_plugin::WalRecord;
use walker_plugin::wal::Lsn;

/// Has its context be the current one until it is dropped: also by an ERROR, after
/// which that context may be the next that is deleted.
struct Current(pg_sys::MemoryContext);

impl Current {
    /// # Safety
    /// `context` must be a context, and the one that is current must outlive the
    /// guard.
    unsafe fn of(context: pg_sys::MemoryContext) -> Current {
        // SAFETY: the caller's promise (MemoryContextSwitchTo in utils/palloc.h).
        Current(unsafe { pg_sys::MemoryContextSwitchTo(context) })
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        // SAFETY: it was current, and is still there: the promise of `of`.
        unsafe { pg_sys::MemoryContextSwitchTo(self.0) };
    }
}

impl Reader {
    /// Stand before the first record that begins at or after `start`; where
    /// that is. What the reader allocates, it allocates in `context`.
    pub(crate) fn seek(
        &mut self,
        start: Lsn,
        context: pg_sys::MemoryContext,
    ) -> Result<Lsn, NoRecord> {
        let state = self.raw();
        // SAFETY: XLogFindNextRecord (access/transam/xlogreader.c) takes any
        // position and leaves the reader before the record it found; 0 means
        // that it found none. The context outlives the reader.
        let found = unsafe {
            let _current = Current::of(context);
            pg_sys::XLogFindNextRecord(state, start.0)
        };
        self.came_back();
        if found == 0 {
            // SAFETY: XLogFindNextRecord hands no message out; what it read
            // last left one in the reader's buffer, a C string.
            return Err(unsafe { self.no_record((*state).errormsg_buf) });
        }
        self.end = Lsn(found);
        Ok(self.end)
    }

    /// Read the next record; see [`Reader::record`].
    pub(crate) fn read_next(&mut self, context: pg_sys::MemoryContext) -> Result<(), NoRecord> {
        let mut message: *mut c_char = core::ptr::null_mut();
        let (state, message_to) = (self.raw(), &raw mut message);
        // SAFETY: the guarded binding of XLogReadRecord; a record stays valid
        // until the next read, as the context outlives the reader.
        let read = unsafe {
            let _current = Current::of(context);
            !pg_sys::XLogReadRecord(state, message_to).is_null()
        };
        self.came_back();
        if !read {
            // SAFETY: the message of the failed read, nothing called since.
            return Err(unsafe { self.no_record(message) });
        }
        // SAFETY: the state is ours.
        self.end = Lsn(unsafe { (*state).EndRecPtr });
        Ok(())
    }

    /// The record read last.
    pub(crate) fn record(&self) -> Option<WalRecord<'_>> {
        // SAFETY: set by a successful read; the borrow keeps the reader from
        // being moved on.
        unsafe { WalRecord::from_reader(self.state) }
    }
}
