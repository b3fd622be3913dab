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
/// One in this many records that somebody wants is timed.
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

/// Why a batch ended, and the last record of it.
struct Ended {
    why: RawEnd,
    last: LastRecord,
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
    let state = reader.raw();
    // SAFETY: `batch` neither panics nor owns anything that needs a
    // destructor, so an ERROR may leave it by longjmp.
    let Ended { why, last } = unsafe {
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        pg_sys::ffi::pg_guard_ffi_boundary(|| batch(state, end, table, input, stats))
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
/// Inside pg_guard_ffi_boundary, with a reader that stands behind `end`.
unsafe fn batch(
    state: *mut pg_sys::XLogReaderState,
    end: u64,
    table: &DispatchTable,
    input: &BatchInput<'_>,
    stats: &BatchStats,
) -> Ended {
    // Noted record by record: after a read that gives nothing the reader no
    // longer has the last one. Not through a pointer, so that it can stay in
    // registers: an ERROR that leaves this function needs it no more.
    let mut last = LastRecord {
        lsn: 0,
        end,
        crc: 0,
    };
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
        if last.end >= input.limit.0 {
            break RawEnd::EndOfWal;
        }
        if left == 0 {
            break RawEnd::Full;
        }
        left -= 1;
        let mut message: *mut c_char = core::ptr::null_mut();
        #[allow(
            ffi_unwind_calls,
            reason = "the caller is inside pg_guard_ffi_boundary"
        )]
        // SAFETY: XLogReadRecord either returns a record that stays valid
        // until the next call and is state->record then, or NULL and perhaps
        // a message.
        let record = unsafe {
            if raw::XLogReadRecord(state, &mut message).is_null() {
                break RawEnd::NoRecord(message);
            }
            &*(*state).record
        };
        last = LastRecord {
            lsn: record.lsn,
            end: record.next_lsn,
            crc: record.header.xl_crc,
        };
        let rmid = record.header.xl_rmid;
        current::read_to(last.end);
        if last.lsn >= input.count_from.0 {
            count(record, stats);
        }
        let calls = table.calls(rmid);
        if !calls.is_empty() {
            // SAFETY: the caller's promise, and a record is at hand.
            unsafe { deliver(state, &last, rmid, calls, input, stats) };
        }
    };
    Ended { why, last }
}

/// Count a record by its resource manager.
#[inline]
fn count(record: &pg_sys::DecodedXLogRecord, stats: &BatchStats) {
    let counts = &stats.rmgrs[usize::from(record.header.xl_rmid)];
    add(&counts.records, 1);
    add(&counts.bytes, u64::from(record.header.xl_tot_len));
    if record.max_block_id >= 0 {
        add(&counts.fpi_bytes, fpi_bytes(record));
    }
}

/// Call the plugins that want the record at hand.
///
/// # Safety
/// As for `batch`, with a record at hand.
#[inline]
unsafe fn deliver(
    state: *mut pg_sys::XLogReaderState,
    record: &LastRecord,
    rmid: u8,
    calls: &[Call],
    input: &BatchInput<'_>,
    stats: &BatchStats,
) {
    let seen = stats.seen.get().wrapping_add(1);
    stats.seen.set(seen);
    let timed = seen.is_multiple_of(SAMPLE);
    for call in calls {
        let Some(position) = input.positions.get(call.plugin as usize) else {
            continue;
        };
        if record.end <= *position {
            continue;
        }
        // SAFETY: the caller's promise.
        unsafe {
            deliver_to(
                state,
                call,
                record.lsn,
                rmid,
                timed,
                input.record_context,
                stats,
            )
        };
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
            raw::MemoryContextReset(context);
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
