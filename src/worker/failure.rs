//! When the worker fails: say where, remember it, leave cleanly.
//!
//! After an ERROR in somebody's code the state of the process cannot be
//! trusted: nothing of it is written, the process ends with exit code 1, the
//! next one resumes from durable state. The failure is counted at exit and not
//! where it is caught, so that a FATAL or an `exit()` in a plugin counts too.

use super::{resume, signals, watch};
use crate::plugin::current::{self, Callback, Running};
use crate::plugin::is_shortage;
use crate::shared::{self, Control, WorkerState};
use crate::{rmgr, services};
use core::ffi::{CStr, c_int};
use core::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::ffi::CString;
use std::sync::Mutex;
use walker_plugin::wal::Lsn;

static FAILED: AtomicBool = AtomicBool::new(false);
/// The process ends because memory could not be had.
static SHORTAGE: AtomicBool = AtomicBool::new(false);
/// It ends because it was asked to, in the middle of a callback.
static ASKED: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicI64 = AtomicI64::new(0);
/// Text of the FATAL that is ending the process.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// Two failures with less than this between start and failure are a streak.
const CALM: i64 = 60 * 1_000_000;

/// Whether this process has run for longer.
pub fn is_calm() -> bool {
    now() - STARTED.load(Relaxed) >= CALM
}

/// Clean up the status when the process ends, however it ends.
pub fn watch_exit() {
    STARTED.store(now(), Relaxed);
    // SAFETY: before_shmem_exit and on_proc_exit (storage/ipc/ipc.c) call them
    // once, the first while shared memory is still attached. The hook is ours
    // alone: no other library of this process has been loaded but by preload,
    // and what was there is called.
    unsafe {
        pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0usize));
        pg_sys::on_proc_exit(Some(after_exit), pg_sys::Datum::from(0usize));
        if PREVIOUS_HOOK.set(pg_sys::emit_log_hook).is_ok() {
            pg_sys::emit_log_hook = Some(name_the_plugin);
        }
    }
}

static PREVIOUS_HOOK: std::sync::OnceLock<pg_sys::emit_log_hook_type> = std::sync::OnceLock::new();

/// Every message that comes out of a plugin's callback says so, also a FATAL,
/// which nothing can catch.
#[pg_guard]
unsafe extern "C-unwind" fn name_the_plugin(edata: *mut pg_sys::ErrorData) {
    if let Some(Some(hook)) = PREVIOUS_HOOK.get() {
        // SAFETY: a hook of a preloaded library, called as the server calls us.
        #[allow(ffi_unwind_calls, reason = "protected by pg_guard_ffi_boundary")]
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| hook(edata))
        };
    }
    let Some(running) = current::running() else {
        return;
    };
    if FAILED.load(Relaxed) {
        // Our own report, which names it already.
        return;
    }
    // SAFETY: emit_log_hook (utils/error/elog.c) gets an entry of the error
    // stack; its texts live in ErrorContext, which is current.
    unsafe {
        if (*edata).elevel >= pg_sys::FATAL as c_int && !(*edata).message.is_null() {
            let code = PgSqlErrorCode::from((*edata).sqlerrcode);
            SHORTAGE.store(is_shortage(code), Relaxed);
            // What ProcessInterrupts (tcop/postgres.c) says behind `end_plugin`.
            let asked = code == PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN && signals::terminated();
            ASKED.store(asked, Relaxed);
            // Allocated before the lock is taken: if that fails, the exit
            // callback comes and takes it.
            let message = CStr::from_ptr((*edata).message).to_string_lossy();
            let message = Some(message.into_owned());
            if let Ok(mut words) = LAST_WORDS.lock() {
                *words = message;
            }
        }
        if (*edata).context.is_null() {
            let text = CString::new(describe(&running)).unwrap_or_default();
            (*edata).context = pg_sys::pstrdup(text.as_ptr());
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: c_int, _arg: pg_sys::Datum) {
    let Some(control) = shared::control() else {
        return;
    };
    // SAFETY: a process that ends by FATAL may hold our own lock, and the
    // transaction is ended only after this callback (LWLockReleaseAll in
    // storage/lmgr/lwlock.c is what that begins with).
    unsafe { pg_sys::LWLockReleaseAll() };
    let running = current::running();
    let reported = FAILED.load(Relaxed);
    let failed = reported || running.is_some();
    // First what needs no memory: there may be none, and nobody comes back.
    if let Some(running) = &running {
        count(control, running);
    }
    resume::publish(control);
    watch::clear(control);
    control.set_state(if failed {
        WorkerState::Failed
    } else {
        WorkerState::NotRunning
    });
    control.since.store(now(), Relaxed);
    control.pid.store(0, Relaxed);
    services::wake_waiters(control);
    if let Some(running) = running.filter(|_| !reported) {
        let words = LAST_WORDS.lock().ok().and_then(|mut words| words.take());
        let silent = words.is_none();
        let message = words.unwrap_or_else(|| "the plugin ended the process".to_owned());
        remember(control, Some(&running), &message);
        if silent {
            // The hook adds which plugin, and where.
            ereport!(
                WARNING,
                PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
                "a walker plugin ended the worker process"
            );
        }
    }
}

/// A plugin that calls `exit()` must choose neither "never again" (0) nor
/// "restart all sessions" (above 1).
unsafe extern "C-unwind" fn after_exit(code: c_int, _arg: pg_sys::Datum) {
    unsafe extern "C" {
        fn _exit(code: c_int) -> !;
    }
    /// What atexit_callback (storage/ipc/ipc.c) passes after a bare `exit()`.
    const BARE_EXIT: c_int = -1;
    if code == BARE_EXIT {
        // SAFETY: shared memory has been left in order by now; 1 is what
        // proc_exit would have been called with.
        unsafe { _exit(1) };
    }
}

/// Count a callback that did not come back.
fn count(control: &Control, running: &Running) {
    let Some(plugin) = control.plugins.get(running.plugin as usize) else {
        return;
    };
    let more = |counter: &core::sync::atomic::AtomicU32, go_on: bool| {
        let before = if go_on { counter.load(Relaxed) } else { 0 };
        counter.store(before.saturating_add(1), Relaxed);
    };
    plugin.errors.fetch_add(1, Relaxed);
    if ASKED.load(Relaxed) && running.callback != Callback::Record {
        // Slow, with much state to read or a disk that does not answer. One that
        // loops at a record would loop there again.
        return;
    }
    let calm = is_calm();
    if running.callback == Callback::Memory {
        // It leaks: no record is to blame, and one restart in a while is in order.
        more(&plugin.streak, !calm);
        return;
    }
    if SHORTAGE.load(Relaxed) {
        // However long the way to a record takes, it is not tried for ever.
        let lsn = running.lsn.0;
        let same = plugin.short_lsn.swap(lsn, Relaxed) == lsn;
        more(
            &plugin.shortages,
            !calm || same && running.callback == Callback::Record,
        );
        return;
    }
    let callback = running.callback as u32;
    let same_lsn = plugin.failed_lsn.swap(running.lsn.0, Relaxed) == running.lsn.0;
    let same_callback = plugin.failed_callback.swap(callback, Relaxed) == callback;
    // Callbacks without a record are not tied to a position.
    let again = same_callback && (same_lsn || running.callback != Callback::Record);
    more(&plugin.failures, again);
    more(&plugin.streak, !calm);
}

/// Raise the caught error again, naming what was running.
pub fn report(control: &Control, error: CaughtError) {
    let (CaughtError::PostgresError(ereport)
    | CaughtError::ErrorReport(ereport)
    | CaughtError::RustPanic { ereport, .. }) = &error;
    let message = ereport.message().to_owned();
    let mut detail = ereport
        .detail()
        .map(|d| format!("{d} "))
        .unwrap_or_default();
    let running = current::running();
    detail.push_str(&remember(control, running.as_ref(), &message));
    let code = ereport.sql_error_code();
    SHORTAGE.store(is_shortage(code), Relaxed);
    FAILED.store(true, Relaxed);
    let mut again = pg_sys::panic::ErrorReport::new(code, message, "walker").set_detail(detail);
    if let Some(hint) = ereport.hint() {
        again = again.set_hint(hint.to_owned());
    }
    again.report(PgLogLevel::ERROR);
}

/// Show an error in the views; returns where it happened.
fn remember(control: &Control, running: Option<&Running>, message: &str) -> String {
    let at = match running {
        Some(running) => {
            if let Some(plugin) = control.plugins.get(running.plugin as usize) {
                plugin.last_error_lsn.store(running.lsn.0, Relaxed);
                control.set_text(&plugin.last_error, message);
            }
            describe(running)
        }
        None => format!("Position {}.", Lsn(control.applied_lsn.load(Relaxed))),
    };
    control.set_text(&control.last_error, &format!("{message} ({at})"));
    control.last_error_at.store(now(), Relaxed);
    at
}

/// End the worker because of its memory; names the plugin that grew most.
pub fn too_much_memory(bytes: u64, position: Lsn) {
    if let Some(plugin) = crate::memory::grew_most() {
        current::enter(plugin, Callback::Memory, position);
    }
    pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        format!(
            "walker has {} MB of private memory, more than walker.max_memory",
            bytes / (1024 * 1024)
        ),
        "walker",
    )
    .set_hint("The worker restarts and goes on from where it was. If this comes again and again, increase walker.max_memory, or lower the plugin's own limit.")
    .report(PgLogLevel::ERROR);
}

/// "Plugin "x", callback record, resource manager Heap, LSN 0/1234."
fn describe(running: &Running) -> String {
    let name = current::name(running.plugin);
    match (running.callback, running.rmid) {
        (Callback::Memory, _) => format!(
            "It grew most in callbacks of plugin \"{name}\", LSN {}.",
            running.lsn
        ),
        (callback, Some(rmid)) => format!(
            "Plugin \"{name}\", callback {}, resource manager {}, LSN {}.",
            callback.name(),
            rmgr::name(rmid),
            running.lsn
        ),
        (callback, None) => format!(
            "Plugin \"{name}\", callback {}, LSN {}.",
            callback.name(),
            running.lsn
        ),
    }
}

/// Now, as a TimestampTz.
pub fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}
