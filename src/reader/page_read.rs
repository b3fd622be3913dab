//! The XLogReader's `page_read` callback.

use super::source::WalSource;
use core::ffi::{c_char, c_int};
use pgrx::prelude::*;
use walker_plugin::wal::{BLCKSZ, Lsn};

/// `XLREAD_FAIL`
const FAIL: c_int = -1;

/// Give the reader one page, at least its first `req_len` bytes.
///
/// # Safety
/// Called by the XLogReader with a state whose private data is the
/// [`WalSource`] that `Reader::new` gave it, and a buffer of one WAL page.
#[pg_guard]
pub unsafe extern "C-unwind" fn page_read(
    state: *mut pg_sys::XLogReaderState,
    page: pg_sys::XLogRecPtr,
    req_len: c_int,
    _target: pg_sys::XLogRecPtr,
    buffer: *mut c_char,
) -> c_int {
    // SAFETY: see above; the reader holds no other reference to either.
    let (source, to) = unsafe {
        (
            &mut *(*state).private_data.cast::<WalSource>(),
            core::slice::from_raw_parts_mut(buffer.cast::<u8>(), BLCKSZ),
        )
    };
    let need = usize::try_from(req_len).unwrap_or(BLCKSZ).min(BLCKSZ);
    match source.page(state, Lsn(page), need, to) {
        Some(len) => len as c_int,
        None => FAIL,
    }
}
