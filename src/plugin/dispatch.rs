//! The hot loop: read a record, count it, call the plugins.
//!
//! A record is decoded when the first callback needs that: one that takes it
//! as it stands does not.
//!
//! One `sigsetjmp` covers a whole batch. Between the reading of a record and
//! its callbacks there are only frames without destructors, so that an ERROR
//! may jump over them (see pg_guard_ffi_boundary); nothing here may panic.

use super::current;
use super::stats::{BatchStats, add};
use super::table::{Call, DispatchTable};
use crate::compat::raw;
use crate::guc::MAX_PLUGINS;
use crate::memory;
use crate::reader::{Direct, Found, NoRecord, Reader, history};
use crate::worker::signals;
use core::ffi::c_char;
use pgrx::prelude::*;
use std::time::Instant;
use walker_plugin::wal::{Lsn, raw as wal_raw};

/// Records read before the worker looks after everything else.
const BATCH: u32 = 512;
/// One in this many records that somebody wants is timed.
const SAMPLE: u32 = 256;

/// Why a batch ended.
pub enum BatchEnd {
    /// It is full.
    Full,
    /// All WAL up to the limit was read.
    EndOfWal,
    /// A signal or a reload waits to be served.
    Interrupted,
    /// No record came.
    NoRecord(NoRecord),
}

/// What a batch needs besides reader and table.
pub struct BatchInput<'a> {
    /// Read up to here.
    pub limit: Lsn,
    /// Count only records that begin at or after this position.
    pub count_from: Lsn,
    /// By plugin: deliver only records that end after this position.
    pub positions: &'a [u64; MAX_PLUGINS],
    /// Memory for the plugins' per-record allocations.
    pub record_context: pg_sys::MemoryContext,
}

/// Why a batch ended, and the last record of it that all had: where it begins
/// and ends, and its checksum.
struct Ended {
    why: RawEnd,
    last: (u64, u64, u32),
}

enum RawEnd {
    Full,
    EndOfWal,
    Interrupted,
    NoRecord(*const c_char),
}

/// Read and dispatch up to a batch of records.
pub fn run_batch(
    reader: &mut Reader,
    table: &DispatchTable,
    input: &BatchInput<'_>,
    stats: &BatchStats,
) -> BatchEnd {
    let end = reader.end().0;
    let (state, direct) = reader.raw_and_direct();
    // SAFETY: `batch` neither panics nor owns anything that needs a
    // destructor, so an ERROR may leave it by longjmp.
    let Ended { why, last } = unsafe {
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        pg_sys::ffi::pg_guard_ffi_boundary(|| batch(state, direct, end, table, input, stats))
    };
    reader.came_back();
    if last.0 != 0 {
        reader.moved_to(Lsn(last.1));
        history::remember(Some(last));
    }
    match why {
        RawEnd::Full => BatchEnd::Full,
        RawEnd::EndOfWal => BatchEnd::EndOfWal,
        RawEnd::Interrupted => BatchEnd::Interrupted,
        // SAFETY: the message of the failed read, nothing called since.
        RawEnd::NoRecord(message) => BatchEnd::NoRecord(unsafe { reader.no_record(message) }),
    }
}

/// # Safety
/// Inside pg_guard_ffi_boundary, with a reader that stands behind `end`.
unsafe fn batch(
    state: *mut pg_sys::XLogReaderState,
    direct: &mut Direct,
    end: u64,
    table: &DispatchTable,
    input: &BatchInput<'_>,
    stats: &BatchStats,
) -> Ended {
    // Noted record by record: after a read that gives nothing the reader no
    // longer has the last one. Not through a pointer, so that it can stay in
    // registers: an ERROR that leaves this function needs it no more.
    let mut last = (0, end, 0);
    let mut record = Found::none(end);
    // The per-record context is current but where WAL is read.
    // SAFETY: the caller's promise.
    unsafe { pg_sys::CurrentMemoryContext = input.record_context };
    let mut left = BATCH;
    let why = loop {
        // SAFETY: flags that signal handlers set; a volatile read each.
        let interrupted = unsafe {
            (&raw const pg_sys::InterruptPending).read_volatile()
                | (&raw const pg_sys::ShutdownRequestPending).read_volatile()
                | (&raw const pg_sys::ConfigReloadPending).read_volatile()
        };
        if interrupted != 0 {
            break RawEnd::Interrupted;
        }
        if last.1 >= input.limit.0 {
            break RawEnd::EndOfWal;
        }
        if left == 0 {
            break RawEnd::Full;
        }
        left -= 1;
        // SAFETY: the caller's promise.
        let no_record = unsafe {
            match direct.next(state, &mut record) {
                true => None,
                false => read_by_server(state, direct, &mut record),
            }
        };
        if let Some(message) = no_record {
            break RawEnd::NoRecord(message);
        }
        current::read_to(record.end());
        if record.lsn() >= input.count_from.0 {
            // SAFETY: the record is at hand.
            unsafe { count(state, &record, stats) };
        }
        let calls = table.calls(record.rmid);
        if !calls.is_empty() {
            // SAFETY: the caller's promise, and a record is at hand.
            let delivered = unsafe { deliver(state, direct, &record, calls, input, stats) };
            if !delivered {
                // Not all plugins had it.
                current::read_to(last.1);
                // SAFETY: the reader's own buffer, which says why.
                break RawEnd::NoRecord(unsafe { (*state).errormsg_buf });
            }
        }
        last = (record.lsn(), record.end(), record.crc);
    };
    // SAFETY: the caller's promise: whoever uses the reader next may not find
    // a record in it that the server did not put there.
    unsafe {
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        direct.hand_over(state);
    }
    Ended { why, last }
}

/// The next record as the server reads it, or why there is none: what
/// XLogReadRecord leaves.
///
/// # Safety
/// As for `batch`.
#[inline(never)]
unsafe fn read_by_server(
    state: *mut pg_sys::XLogReaderState,
    direct: &mut Direct,
    found: &mut Found,
) -> Option<*const c_char> {
    let mut message: *mut c_char = core::ptr::null_mut();
    #[allow(
        ffi_unwind_calls,
        reason = "the caller is inside pg_guard_ffi_boundary"
    )]
    // SAFETY: XLogReadRecord either returns a record that stays valid until the
    // next call and is state->record then, or NULL and perhaps a message.
    unsafe {
        direct.hand_over(state);
        // It allocates its buffers, and records that are too large for them.
        let context = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let record = raw::XLogReadRecord(state, &mut message);
        pg_sys::MemoryContextSwitchTo(context);
        if record.is_null() {
            return Some(message);
        }
        found.by_server((*state).record);
    }
    None
}

/// Count a record by its resource manager.
///
/// # Safety
/// As for `batch`, with this record at hand.
#[inline]
unsafe fn count(state: *mut pg_sys::XLogReaderState, record: &Found, stats: &BatchStats) {
    // SAFETY: the caller's promise.
    let fpi_bytes = unsafe {
        match record.bytes() {
            Some(bytes) => wal_raw::image_bytes(bytes),
            None => fpi_bytes(&*(*state).record),
        }
    };
    stats.count(record.rmid, record.len, fpi_bytes);
}

/// Call the plugins that want the record at hand. False if it cannot be decoded
/// for one of them, whatever its checksum says: then the server, asked for it
/// again, says why, and whoever took it as it stands has had it.
///
/// # Safety
/// As for `batch`, with a record at hand.
#[inline]
unsafe fn deliver(
    state: *mut pg_sys::XLogReaderState,
    direct: &mut Direct,
    record: &Found,
    calls: &[Call],
    input: &BatchInput<'_>,
    stats: &BatchStats,
) -> bool {
    let seen = stats.seen.get().wrapping_add(1);
    stats.seen.set(seen);
    let timed = seen.is_multiple_of(SAMPLE);
    for call in calls {
        let Some(position) = input.positions.get(call.plugin as usize) else {
            continue;
        };
        if record.end() <= *position {
            continue;
        }
        let started = timed.then(|| (memory::before(), Instant::now()));
        current::record(call.plugin, record.lsn(), record.rmid);
        // SAFETY: the caller's promise. What the plugin left in the per-record
        // context goes, and so do contexts below it, one of which the plugin
        // may have left current.
        let done = unsafe {
            let done = call_plugin(state, direct, record, call);
            pg_sys::CurrentMemoryContext = input.record_context;
            let context = &*input.record_context;
            if !context.isReset || !context.firstchild.is_null() {
                #[allow(ffi_unwind_calls, reason = "frees memory")]
                raw::MemoryContextReset(input.record_context);
            }
            done
        };
        current::leave();
        if calls.len() > 1 {
            signals::came_back();
        }
        if !done {
            return false;
        }
        let plugin = call.plugin as usize;
        if let Some(delivered) = stats.delivered.get(plugin) {
            add(delivered, 1);
        }
        if let (Some((before, started)), Some(time)) = (started, stats.time_ns.get(plugin)) {
            let nanos = started.elapsed().as_nanos() as u64;
            add(time, nanos * u64::from(SAMPLE));
            memory::after(call.plugin, before);
        }
    }
    true
}

/// Call one plugin: as the record stands, if it takes it so, else decoded.
///
/// # Safety
/// As for `deliver`.
#[allow(
    ffi_unwind_calls,
    reason = "the caller is inside pg_guard_ffi_boundary"
)]
#[inline]
unsafe fn call_plugin(
    state: *mut pg_sys::XLogReaderState,
    direct: &mut Direct,
    record: &Found,
    call: &Call,
) -> bool {
    // SAFETY: the callback is the plugin's own, guarded against panics; a
    // longjmp from it lands in run_batch. What it left in the per-record
    // context is freed by the caller.
    unsafe {
        if let Some(in_place) = record.in_place() {
            if let Some(callback) = call.in_place
                && callback(in_place)
            {
                return true;
            }
            if (*state).record.is_null() && !direct.decode(state, record) {
                return false;
            }
        }
        (call.callback)(state);
        // An image that the plugin could not restore (RestoreBlockImage) is
        // its business; the next read is not to fail for it.
        (*state).errormsg_deferred = false;
    }
    true
}

/// Bytes of page images, as XLogRecGetLen counts them.
fn fpi_bytes(record: &pg_sys::DecodedXLogRecord) -> u64 {
    let n = usize::try_from(record.max_block_id + 1).unwrap_or(0);
    // SAFETY: DecodeXLogRecord allocates max_block_id + 1 elements.
    let blocks = unsafe { core::slice::from_raw_parts(record.blocks.as_ptr(), n) };
    blocks
        .iter()
        .filter(|b| b.in_use && b.has_image)
        .map(|b| u64::from(b.bimg_len))
        .sum()
}
