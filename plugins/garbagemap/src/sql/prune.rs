//! `garbage_prune`: free the space of dead tuples where the map says they are.

use crate::error::{Error, or_raise};
use crate::privilege;
use crate::prune::progress;
use crate::prune::run::{Done, Request, run};
use crate::relation::Table;
use crate::rows::{Rows, bigint};
use pgrx::pg_sys::{self, Datum};
use pgrx::prelude::*;
use std::time::Duration;

const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

#[doc(hidden)]
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_garbage_prune_wrapper() -> &'static pg_sys::Pg_finfo_record {
    &V1
}

/// By hand: it ends transactions, and returns a row made after the last one.
///
/// # Safety
/// To be called by the server's function manager, as declared in
/// `sql/functions.sql`.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn garbage_prune_wrapper(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    let mut done = None;
    // SAFETY: the call being executed, with the declared arguments.
    or_raise(unsafe { call(fcinfo) }.map(|d| done = Some(d)));
    let done = done.unwrap_or_default();
    // SAFETY: the same.
    unsafe { row(fcinfo, &done) }
}

/// # Safety
/// As for [`garbage_prune_wrapper`].
unsafe fn call(fcinfo: pg_sys::FunctionCallInfo) -> Result<Done, Error> {
    // SAFETY: messages with the command's name in them, or nothing
    // (tcop/utility.c).
    unsafe {
        pg_sys::PreventCommandDuringRecovery(c"garbage_prune()".as_ptr());
        pg_sys::PreventCommandIfReadOnly(c"garbage_prune()".as_ptr());
    }
    // SAFETY: the caller's promise.
    let Some(request) = (unsafe { request(fcinfo) })? else {
        return Ok(Done::default());
    };
    let table = Table::look_up(request.rel)?;
    privilege::require_maintain(&table)?;
    table.require_no_catalog()?;
    table.require_wal_logged()?;
    // SAFETY: the caller's promise: CALL passes a CallContext
    // (ExecuteCallStmt in commands/functioncmds.c), SELECT never calls us.
    let atomic = unsafe {
        let context = (*fcinfo).context.cast::<pg_sys::CallContext>();
        context.is_null()
            || (*context).type_ != pg_sys::NodeTag::T_CallContext
            || (*context).atomic
            // A block with EXCEPTION: its subtransaction cannot be ended here.
            || pg_sys::GetCurrentTransactionNestLevel() > 1
    };
    run(request, table, atomic)
}

/// # Safety
/// As for [`garbage_prune_wrapper`]. `None` if there is no relation.
unsafe fn request(fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<Request>, Error> {
    // SAFETY: the caller's promise: the first four arguments are regclass,
    // bigint, interval and integer.
    unsafe {
        let args = (*fcinfo).args.as_slice((*fcinfo).nargs as usize);
        let arg = |i: usize| args.get(i).filter(|a| !a.isnull).map(|a| a.value);
        let Some(rel) = arg(0) else { return Ok(None) };
        let negative = |parameter| Error::Negative { parameter };
        let max_pages = match arg(1).map(|d| u64::try_from(d.value() as i64)) {
            Some(pages) => Some(pages.map_err(|_| negative("max_pages"))?),
            None => None,
        };
        let max_time = match arg(2) {
            Some(datum) => {
                let interval = &*datum.cast_mut_ptr::<pg_sys::Interval>();
                Some(duration(interval).ok_or(negative("max_time"))?)
            }
            None => None,
        };
        let min_dead = arg(3).map_or(1, |d| d.value() as i32);
        let min_dead = u32::try_from(min_dead).map_err(|_| negative("min_dead"))?;
        Ok(Some(Request {
            rel: pg_sys::Oid::from(rel.value() as u32),
            max_pages,
            max_time,
            min_dead: u16::try_from(min_dead).unwrap_or(u16::MAX).max(1),
        }))
    }
}

/// `None` if it is negative. A month has 30 days, as in interval arithmetic.
fn duration(interval: &pg_sys::Interval) -> Option<Duration> {
    let days = i64::from(interval.month) * 30 + i64::from(interval.day);
    let micros = days
        .saturating_mul(86_400_000_000)
        .saturating_add(interval.time);
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// The procedure's row: its arguments, with those it returns filled in.
///
/// # Safety
/// As for [`garbage_prune_wrapper`].
unsafe fn row(fcinfo: pg_sys::FunctionCallInfo, done: &Done) -> Datum {
    let progress = &done.progress;
    let counts = [
        progress.pages_visited,
        progress.pages_pruned,
        progress.tuples_removed,
        progress.bytes_freed,
        done.pages_held,
        done.pages_busy,
    ];
    const COLUMNS: usize = 7;
    let mut values = [Datum::from(0); COLUMNS];
    let mut nulls = [false; COLUMNS];
    for (to, count) in values.iter_mut().zip(counts) {
        *to = Datum::from(count);
    }
    // SAFETY: the call being executed, which returns a record of the declared
    // INOUT arguments: the assertion compares their number with ours. All is
    // palloc'd in the caller's memory context.
    unsafe {
        match done.stop {
            Some(stop) => {
                values[COLUMNS - 1] = Datum::from(pg_sys::cstring_to_text(stop.name().as_ptr()));
            }
            None => nulls[COLUMNS - 1] = true,
        }
        let mut desc: pg_sys::TupleDesc = core::ptr::null_mut();
        pg_sys::get_call_result_type(fcinfo, core::ptr::null_mut(), &mut desc);
        assert_eq!((*desc).natts as usize, COLUMNS, "wrong number of columns");
        let desc = pg_sys::BlessTupleDesc(desc);
        let tuple = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
    }
}

#[pg_extern(sql = false)]
fn garbage_prune_progress_rows(fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: the call being executed; declared RETURNS SETOF record.
    let mut rows = unsafe { Rows::of(fcinfo) };
    or_raise(fill_progress(&mut rows));
}

fn fill_progress(rows: &mut Rows) -> Result<(), Error> {
    privilege::require_read_stats("garbage_prune_progress_rows")?;
    for pruning in progress::all() {
        let count = |i: usize| bigint(pruning.counters[i].max(0) as u64);
        rows.add([
            Some(Datum::from(pruning.pid)),
            Some(Datum::from(pruning.db_oid)),
            Some(Datum::from(pruning.rel_oid)),
            count(0),
            count(1),
            count(2),
            count(3),
            count(4),
            count(5),
        ]);
    }
    Ok(())
}
