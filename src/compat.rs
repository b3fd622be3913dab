//! Everything that differs between PostgreSQL 15, 16, 17 and 18, and the
//! server functions that need their raw C form.

use core::ffi::{c_char, c_int};
use pgrx::pg_sys;

/// Raw declarations. pgrx wraps its bindings in a Rust function each, which
/// cannot be put into a C function pointer and costs a `sigsetjmp` a call.
pub mod raw {
    use super::*;

    unsafe extern "C-unwind" {
        /// `tcop/postgres.c`: the standard SIGTERM handler.
        pub fn die(signo: c_int);
        /// `postmaster/interrupt.c`
        pub fn SignalHandlerForConfigReload(signo: c_int);
        /// `storage/ipc/procsignal.c`
        pub fn procsignal_sigusr1_handler(signo: c_int);
        /// `access/transam/xlogreader.c`
        pub fn XLogReadRecord(
            state: *mut pg_sys::XLogReaderState,
            errormsg: *mut *mut c_char,
        ) -> *mut pg_sys::XLogRecord;
        /// `access/transam/xlogreader.c`
        pub fn XLogReleasePreviousRecord(state: *mut pg_sys::XLogReaderState)
        -> pg_sys::XLogRecPtr;
        /// `access/transam/xlogreader.c`
        pub fn XLogReaderValidatePageHeader(
            state: *mut pg_sys::XLogReaderState,
            recptr: pg_sys::XLogRecPtr,
            phdr: *mut c_char,
        ) -> bool;
        /// `access/transam/xlogreader.c`
        pub fn DecodeXLogRecord(
            state: *mut pg_sys::XLogReaderState,
            decoded: *mut pg_sys::DecodedXLogRecord,
            record: *mut pg_sys::XLogRecord,
            lsn: pg_sys::XLogRecPtr,
            errmsg: *mut *mut c_char,
        ) -> bool;
        /// `utils/mmgr/mcxt.c`
        pub fn MemoryContextReset(context: pg_sys::MemoryContext);
        /// `access/transam/xlogutils.c`
        pub fn wal_segment_open(
            state: *mut pg_sys::XLogReaderState,
            next_seg_no: pg_sys::XLogSegNo,
            tli: *mut pg_sys::TimeLineID,
        );
        /// `access/transam/xlogutils.c`
        pub fn wal_segment_close(state: *mut pg_sys::XLogReaderState);
        /// `utils/misc/timeout.c`, which pgrx does not bind.
        pub fn RegisterTimeout(id: c_int, handler: unsafe extern "C-unwind" fn()) -> c_int;
        /// `utils/misc/timeout.c`
        pub fn enable_timeout_every(id: c_int, first: pg_sys::TimestampTz, delay_ms: c_int);
        /// `utils/misc/timeout.c`
        pub fn disable_timeout(id: c_int, keep_indicator: bool);
        /// `utils/adt/timestamp.c`, for signal handlers.
        pub fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
    }
}

/// `USER_TIMEOUT` of utils/timeout.h: "the next free ID, please".
pub const USER_TIMEOUT: c_int = if cfg!(any(feature = "pg17", feature = "pg18")) {
    13
} else {
    12
};

/// Install a signal handler.
///
/// # Safety
/// `handler` must be safe to run at any instruction.
pub unsafe fn pqsignal(signo: i32, handler: unsafe extern "C-unwind" fn(c_int)) {
    // SAFETY: pqsignal (port/pqsignal.c) only registers it.
    unsafe {
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signo, Some(handler));
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signo, Some(handler));
    }
}

/// The condition variable that is broadcast when WAL was flushed, or
/// replayed; `None` where the server has none (15) or never broadcasts it
/// (`max_wal_senders = 0`, see WalSndWakeup in replication/walsender.c).
#[cfg(not(feature = "pg15"))]
pub fn wal_condition_variable(in_recovery: bool) -> Option<*mut pg_sys::ConditionVariable> {
    // SAFETY: WalSndCtl is set by WalSndShmemInit before any worker starts and
    // lives in shared memory.
    unsafe {
        if pg_sys::max_wal_senders == 0 || pg_sys::WalSndCtl.is_null() {
            return None;
        }
        Some(if in_recovery {
            &raw mut (*pg_sys::WalSndCtl).wal_replay_cv
        } else {
            &raw mut (*pg_sys::WalSndCtl).wal_flush_cv
        })
    }
}

/// See the other version.
#[cfg(feature = "pg15")]
pub fn wal_condition_variable(_in_recovery: bool) -> Option<*mut pg_sys::ConditionVariable> {
    None
}

/// Read from the WAL buffers what they still have; the number of bytes read.
#[cfg(any(feature = "pg17", feature = "pg18"))]
pub fn read_from_wal_buffers(to: &mut [u8], start: u64, tli: u32) -> usize {
    // SAFETY: WALReadFromBuffers (access/transam/xlog.c) writes at most the
    // given count; the caller does not ask for WAL that is not yet inserted.
    unsafe { pg_sys::WALReadFromBuffers(to.as_mut_ptr().cast(), start, to.len(), tli) }
}

/// See the other version.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
pub fn read_from_wal_buffers(_to: &mut [u8], _start: u64, _tli: u32) -> usize {
    0
}

/// A named wait event for `pg_stat_activity`, where the server has them.
#[cfg(any(feature = "pg17", feature = "pg18"))]
pub fn wait_event(name: &'static core::ffi::CStr) -> u32 {
    // SAFETY: WaitEventExtensionNew finds or makes the event in shared memory.
    unsafe { pg_sys::WaitEventExtensionNew(name.as_ptr()) }
}

/// See the other version: 15 and 16 know one event for all extensions.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
pub fn wait_event(_name: &'static core::ffi::CStr) -> u32 {
    pg_sys::PG_WAIT_EXTENSION
}

/// Show what the process does in its title.
pub fn set_ps_display(activity: &core::ffi::CStr) {
    // SAFETY: the string is copied (utils/misc/ps_status.c).
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::set_ps_display(activity.as_ptr());
        #[cfg(not(feature = "pg15"))]
        pg_sys::set_ps_display_with_len(activity.as_ptr(), activity.count_bytes());
    }
}

/// Create and acquire a persistent physical replication slot.
///
/// # Safety
/// No slot may be held; raises an ERROR if it cannot be made.
pub unsafe fn create_physical_slot(name: &core::ffi::CStr) {
    let persistent = pg_sys::ReplicationSlotPersistency::RS_PERSISTENT;
    // SAFETY: the caller's promise (replication/slot.c).
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        pg_sys::ReplicationSlotCreate(name.as_ptr(), false, persistent, false);
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        pg_sys::ReplicationSlotCreate(name.as_ptr(), false, persistent, false, false, false);
    }
}

/// Acquire an existing replication slot, invalidated or not.
///
/// # Safety
/// No slot may be held; raises an ERROR if it is somebody else's.
pub unsafe fn acquire_slot(name: &core::ffi::CStr) {
    // SAFETY: the caller's promise (replication/slot.c).
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::ReplicationSlotAcquire(name.as_ptr(), true);
        #[cfg(feature = "pg18")]
        pg_sys::ReplicationSlotAcquire(name.as_ptr(), true, false);
    }
}

/// Whether a slot has been invalidated: it holds no WAL any more, even if it
/// still has a position.
pub fn is_invalidated(data: &pg_sys::ReplicationSlotPersistentData) -> bool {
    #[cfg(feature = "pg15")]
    {
        data.invalidated_at != 0
    }
    #[cfg(not(feature = "pg15"))]
    {
        data.invalidated != pg_sys::ReplicationSlotInvalidationCause::RS_INVAL_NONE
    }
}
