//! The hot loop: read a record, count it, call the plugins.
//!
//! One `sigsetjmp` covers a whole batch. Between a record's XLogReadRecord and
//! its callbacks there are only frames without destructors, so that an ERROR
//! may jump over them (see pg_guard_ffi_boundary); nothing here may panic.

use super::current;
use super::stats::{BatchStats, add};
use super::table::{Call, DispatchTable};
use crate::compat::raw;
use crate::guc::MAX_PLUGINS;
use crate::memory;
use crate::reader::{NoRecord, Reader, history};
use core::ffi::c_char;
use pgrx::prelude::*;
use std::time::Instant;
use walker_plugin::wal::Lsn;

/// Records read before the worker looks after everything else.
const BATCH: u32 = 512;
/// One in this many records is timed.
const SAMPLE: u32 = 64;

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

/// The record read last.
struct LastRecord {
    lsn: u64,
    end: u64,
    crc: u32,
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
    // Noted record by record: after a read that gives nothing the reader no
    // longer has the last one.
    let mut last = LastRecord {
        lsn: 0,
        end: reader.end().0,
        crc: 0,
    };
    let state = reader.raw();
    let to_last = &raw mut last;
    // SAFETY: `batch` neither panics nor owns anything that needs a
    // destructor, so an ERROR may leave it by longjmp.
    let why = unsafe {
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        pg_sys::ffi::pg_guard_ffi_boundary(|| batch(state, table, input, stats, to_last))
    };
    reader.came_back();
    if last.lsn != 0 {
        reader.moved_to(Lsn(last.end));
        history::remember(Some((last.lsn, last.end, last.crc)));
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
/// Inside pg_guard_ffi_boundary, with a reader that stands behind `last.end`.
unsafe fn batch(
    state: *mut pg_sys::XLogReaderState,
    table: &DispatchTable,
    input: &BatchInput<'_>,
    stats: &BatchStats,
    last: *mut LastRecord,
) -> RawEnd {
    for _ in 0..BATCH {
        // SAFETY: flags that signal handlers set; a volatile read each.
        let interrupted = unsafe {
            (&raw const pg_sys::InterruptPending).read_volatile()
                | (&raw const pg_sys::ShutdownRequestPending).read_volatile()
                | (&raw const pg_sys::ConfigReloadPending).read_volatile()
        };
        if interrupted != 0 {
            return RawEnd::Interrupted;
        }
        // SAFETY: the caller's promise.
        if unsafe { (*last).end } >= input.limit.0 {
            return RawEnd::EndOfWal;
        }
        let mut message: *mut c_char = core::ptr::null_mut();
        #[allow(
            ffi_unwind_calls,
            reason = "the caller is inside pg_guard_ffi_boundary"
        )]
        // SAFETY: XLogReadRecord either returns a record that stays valid
        // until the next call, or NULL and perhaps a message.
        let header = unsafe { raw::XLogReadRecord(state, &mut message) };
        if header.is_null() {
            return RawEnd::NoRecord(message);
        }
        // SAFETY: a record was read, so state->record is set.
        unsafe {
            *last = LastRecord {
                lsn: (*state).ReadRecPtr,
                end: (*state).EndRecPtr,
                crc: (*header).xl_crc,
            };
            current::read_to((*last).end);
            deliver(state, table, input, stats);
        }
    }
    RawEnd::Full
}

/// Count the record at hand and call the plugins.
///
/// # Safety
/// As for `batch`, with a record at hand.
#[inline]
unsafe fn deliver(
    state: *mut pg_sys::XLogReaderState,
    table: &DispatchTable,
    input: &BatchInput<'_>,
    stats: &BatchStats,
) {
    // SAFETY: XLogReadRecord set it.
    let record = unsafe { &*(*state).record };
    let (lsn, end, rmid) = (record.lsn, record.next_lsn, record.header.xl_rmid);
    if lsn >= input.count_from.0 {
        let counts = &stats.rmgrs[usize::from(rmid)];
        add(&counts.records, 1);
        add(&counts.bytes, u64::from(record.header.xl_tot_len));
        if record.max_block_id >= 0 {
            add(&counts.fpi_bytes, fpi_bytes(record));
        }
    }
    let seen = stats.seen.get().wrapping_add(1);
    stats.seen.set(seen);
    let timed = seen.is_multiple_of(SAMPLE);
    for call in table.calls(rmid) {
        let Some(position) = input.positions.get(call.plugin as usize) else {
            continue;
        };
        if end <= *position {
            continue;
        }
        // SAFETY: the caller's promise.
        unsafe { deliver_to(state, call, lsn, rmid, timed, input.record_context, stats) };
    }
}

/// Call one plugin.
///
/// # Safety
/// As for `deliver`.
#[inline]
unsafe fn deliver_to(
    state: *mut pg_sys::XLogReaderState,
    call: &Call,
    lsn: u64,
    rmid: u8,
    timed: bool,
    context: pg_sys::MemoryContext,
    stats: &BatchStats,
) {
    let started = timed.then(|| (memory::before(), Instant::now()));
    current::record(call.plugin, lsn, rmid);
    #[allow(
        ffi_unwind_calls,
        reason = "the caller is inside pg_guard_ffi_boundary"
    )]
    // SAFETY: the callback is the plugin's own, guarded against panics; a
    // longjmp from it lands in run_batch. What it left in the per-record
    // context is freed at once.
    unsafe {
        // Only for the callback: the XLogReader allocates its buffers, and
        // records that are too large for them, in the current context.
        pg_sys::CurrentMemoryContext = context;
        (call.callback)(state);
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        if !(*context).isReset {
            pg_sys::MemoryContextReset(context);
        }
    }
    current::leave();
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
