//! `walker_status`, `walker_plugins`, `walker_rmgr_stats`.

use super::required_control;
use crate::plugin::current::Callback;
use crate::reader::current_limit;
use crate::shared::{PluginState, WorkerState};
use crate::{guc, rmgr};
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use walker_plugin::sql::{PgLsn, ROLE_PG_MONITOR, require_role};

fn lsn(a: &AtomicU64) -> Option<PgLsn> {
    PgLsn::valid(a.load(Relaxed))
}

fn count(a: &AtomicU64) -> i64 {
    i64::try_from(a.load(Relaxed)).unwrap_or(i64::MAX)
}

fn time(a: &AtomicI64) -> Option<TimestampWithTimeZone> {
    match a.load(Relaxed) {
        0 => None,
        t => TimestampWithTimeZone::try_from(t).ok(),
    }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// One row about the worker. Readable by pg_monitor.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn walker_status() -> TableIterator<
    'static,
    (
        name!(pid, Option<i32>),
        name!(state, &'static str),
        name!(since, Option<TimestampWithTimeZone>),
        name!(timeline, Option<i32>),
        name!(counted_from_lsn, Option<PgLsn>),
        name!(applied_lsn, Option<PgLsn>),
        name!(limit_lsn, Option<PgLsn>),
        name!(lag_bytes, Option<i64>),
        name!(caught_up_at, Option<TimestampWithTimeZone>),
        name!(records, i64),
        name!(bytes, i64),
        name!(fpi_bytes, i64),
        name!(bytes_per_second, i64),
        name!(restarts, i64),
        name!(last_error, Option<String>),
        name!(last_error_at, Option<TimestampWithTimeZone>),
        name!(gaps, i64),
        name!(last_gap_from, Option<PgLsn>),
        name!(last_gap_to, Option<PgLsn>),
        name!(slot, Option<String>),
    ),
> {
    require_role("walker_status", &[ROLE_PG_MONITOR]);
    let control = required_control();
    let pid = control.pid.load(Relaxed);
    let state = match control.state() {
        // A process that is gone is not doing what it last said.
        s if pid == 0 && s != WorkerState::Failed => WorkerState::NotRunning,
        s => s,
    };
    let applied = control.applied_lsn.load(Relaxed);
    let limit = current_limit().lsn;
    let total = |f: fn(&crate::shared::RmgrStats) -> &AtomicU64| {
        control.rmgrs.iter().map(|r| count(f(r))).sum::<i64>()
    };
    TableIterator::once((
        (pid != 0).then_some(pid),
        state.name(),
        time(&control.since),
        match control.timeline.load(Relaxed) {
            0 => None,
            tli => Some(tli as i32),
        },
        lsn(&control.counted_from_lsn),
        PgLsn::valid(applied),
        PgLsn::valid(limit.0),
        (applied != 0).then(|| limit.0.saturating_sub(applied) as i64),
        time(&control.caught_up_at),
        total(|r| &r.records),
        total(|r| &r.bytes),
        total(|r| &r.fpi_bytes),
        count(&control.rate),
        (count(&control.starts) - 1).max(0),
        non_empty(control.text(&control.last_error)),
        time(&control.last_error_at),
        count(&control.gaps),
        lsn(&control.gap_from),
        lsn(&control.gap_to),
        non_empty(control.text(&control.slot)),
    ))
}

/// One row per configured plugin, in order. The `busy_` columns show a callback
/// that has been running for more than a second. Readable by pg_monitor.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn walker_plugins() -> TableIterator<
    'static,
    (
        name!(name, String),
        name!(state, &'static str),
        name!(library, Option<String>),
        name!(abi_version, Option<i32>),
        name!(start_lsn, Option<PgLsn>),
        name!(applied_lsn, Option<PgLsn>),
        name!(durable_lsn, Option<PgLsn>),
        name!(records, i64),
        name!(time_ms, f64),
        name!(errors, i64),
        name!(last_error, Option<String>),
        name!(last_error_lsn, Option<PgLsn>),
        name!(busy_callback, Option<&'static str>),
        name!(busy_lsn, Option<PgLsn>),
        name!(busy_since, Option<TimestampWithTimeZone>),
    ),
> {
    require_role("walker_plugins", &[ROLE_PG_MONITOR]);
    let control = required_control();
    let busy_since = time(&control.running_since);
    let busy_plugin = control.running_plugin.load(Relaxed);
    let served = control.pid.load(Relaxed) != 0;
    // No worker has said yet which plugins there are: it may never have been started.
    let configured = control.configured();
    let unnamed = match configured {
        [] => guc::plugins(),
        _ => Vec::new(),
    };
    let unnamed = unnamed.into_iter().map(|name| {
        let state = match served {
            true => PluginState::Unknown.name(),
            false => WorkerState::NotRunning.name(),
        };
        (
            name, state, None, None, None, None, None, 0, 0.0, 0, None, None, None, None, None,
        )
    });
    let rows: Vec<_> = (0u32..)
        .zip(configured)
        .map(|(index, p)| {
            let busy = busy_since.filter(|_| index == busy_plugin);
            let abi = p.abi_version.load(Relaxed);
            (
                control.text(&p.name),
                match PluginState::from_u32(p.state.load(Relaxed)) {
                    // Nobody hands it records now; what it shows stays.
                    PluginState::Running if !served => WorkerState::NotRunning.name(),
                    state => state.name(),
                },
                non_empty(control.text(&p.library)),
                (abi != 0).then_some(abi as i32),
                lsn(&p.start_lsn),
                lsn(&p.applied_lsn),
                lsn(&p.durable_lsn),
                count(&p.records),
                p.time_ns.load(Relaxed) as f64 / 1e6,
                count(&p.errors),
                non_empty(control.text(&p.last_error)),
                lsn(&p.last_error_lsn),
                busy.map(|_| Callback::from_u32(control.running_callback.load(Relaxed)).name()),
                busy.and_then(|_| lsn(&control.running_lsn)),
                busy,
            )
        })
        .chain(unnamed)
        .collect();
    TableIterator::new(rows)
}

/// Records, bytes and image bytes by resource manager, from
/// `walker_status.counted_from_lsn` on; `bytes` are whole records, images
/// included. Readable by pg_monitor.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn walker_rmgr_stats() -> TableIterator<
    'static,
    (
        name!(rmid, i32),
        name!(rmgr, String),
        name!(records, i64),
        name!(bytes, i64),
        name!(fpi_bytes, i64),
    ),
> {
    require_role("walker_rmgr_stats", &[ROLE_PG_MONITOR]);
    let control = required_control();
    let rows: Vec<_> = (0u8..=255)
        .zip(&control.rmgrs)
        .filter(|(id, r)| rmgr::is_known(*id) || r.records.load(Relaxed) != 0)
        .map(|(id, r)| {
            (
                i32::from(id),
                rmgr::name(id),
                count(&r.records),
                count(&r.bytes),
                count(&r.fpi_bytes),
            )
        })
        .collect();
    TableIterator::new(rows)
}
