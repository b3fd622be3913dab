//! The XLogReader's `page_read` callback.

use super::source::WalSource;
use core::ffi::{c_char, c_int};
use pgrx::prelude::*;
use walker_plugin::wal::{BLCKSZ, Lsn};

/// `XLREAD_FAIL`
const FAIL: c_int = -1;

/// Give the reader one page, at least its first `req_len` bytes: not by a copy
/// into its buffer, but by making the page its buffer.
///
/// # Safety
/// Called by the XLogReader with a state whose private data is the
/// [`WalSource`] that `Reader::new` gave it.
#[pg_guard]
pub unsafe extern "C-unwind" fn page_read(
    state: *mut pg_sys::XLogReaderState,
    page: pg_sys::XLogRecPtr,
    req_len: c_int,
    _target: pg_sys::XLogRecPtr,
    _buffer: *mut c_char,
) -> c_int {
    // SAFETY: see above; the reader holds no other reference to it.
    let source = unsafe { &mut *(*state).private_data.cast::<WalSource>() };
    let need = usize::try_from(req_len).unwrap_or(BLCKSZ).min(BLCKSZ);
    let Some((at, len)) = source.page(state, Lsn(page), need) else {
        return FAIL;
    };
    // SAFETY: ReadPageInternal, the only caller of page_read in 15 to 18
    // (access/transam/xlogreader.c) beside our own (direct.rs), takes the page
    // from state->readBuf after the call. Pointers it and its callers took before are to the same page,
    // which has only one place (see window.rs), or are not used any more: a
    // stock page_read would have overwritten what they point to.
    unsafe { (*state).readBuf = at.cast() };
    len as c_int
}
