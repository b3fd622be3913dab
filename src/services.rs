//! What walker offers to plugins in any process: the table behind the
//! rendezvous variable `walker_services`.

use crate::plugin::current;
use crate::reader::history;
use crate::{shared, worker};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicU32, fence};
use pgrx::prelude::*;
use walker_plugin::{ABI_VERSION, RecordId, SERVICES_RENDEZVOUS, WalkerServices};

static SERVICES: WalkerServices = WalkerServices {
    abi_version: ABI_VERSION,
    struct_size: size_of::<WalkerServices>() as u32,
    shared_area: Some(shared_area),
    shared_free: Some(shared_free),
    applied_lsn: Some(applied_lsn),
    log: Some(log),
    wake: Some(wake),
    last_record: Some(last_record),
    check_record: Some(check_record),
    flush_again: Some(flush_again),
};

/// Publish the table. In the postmaster, so that every process inherits it.
pub fn init() {
    // SAFETY: the slot is stable for the process (utils/fmgr/dfmgr.c); the
    // table is a static of a library that is never unloaded.
    unsafe {
        let slot = pg_sys::find_rendezvous_variable(SERVICES_RENDEZVOUS.as_ptr());
        *slot = (&raw const SERVICES).cast_mut().cast::<c_void>();
    }
}

/// # Safety
/// `ptr` must be NULL or a C string that outlives the call.
unsafe fn c_str<'a>(ptr: *const c_char) -> &'a CStr {
    if ptr.is_null() {
        return c"";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(ptr) }
}

/// A name; one that is not UTF-8 is nobody's.
///
/// # Safety
/// As for `c_str`.
unsafe fn text<'a>(ptr: *const c_char) -> &'a str {
    // SAFETY: the caller's promise.
    unsafe { c_str(ptr) }.to_str().unwrap_or("")
}

#[pg_guard]
unsafe extern "C-unwind" fn shared_area(
    name: *const c_char,
    size: usize,
    actual: *mut usize,
) -> *mut c_void {
    // Only the worker reserves: it is the one process that decides about the
    // room, and a backend must not be able to use it up.
    let reserved = if worker::is_worker() { size } else { 0 };
    // SAFETY: the contract of WalkerServices::shared_area.
    let mut area = shared::lend(unsafe { text(name) }, reserved);
    // SAFETY: as above; `actual` may be NULL.
    match unsafe { actual.as_mut() } {
        Some(actual) => *actual = area.map_or(0, |a| a.size),
        // One that was reserved before may have less than whoever does not ask
        // relies on.
        None => area = area.filter(|a| a.size >= size),
    }
    area.map_or(core::ptr::null_mut(), |a| a.start.cast())
}

#[pg_guard]
unsafe extern "C-unwind" fn shared_free() -> usize {
    shared::control().map_or(0, |c| c.areas.free())
}

#[pg_guard]
unsafe extern "C-unwind" fn applied_lsn(plugin: *const c_char) -> u64 {
    // SAFETY: the contract of WalkerServices::applied_lsn.
    let name = unsafe { text(plugin) };
    let Some(control) = shared::control() else {
        return 0;
    };
    let found = control
        .configured()
        .iter()
        .find(|p| control.text(&p.name) == name);
    // What a plugin has seen that is out of the game says nothing of now.
    found
        .filter(|p| p.state.load(Relaxed) == shared::PluginState::Running as u32)
        .map_or(0, |p| p.applied_lsn.load(Relaxed))
}

#[pg_guard]
unsafe extern "C-unwind" fn log(elevel: c_int, plugin: *const c_char, message: *const c_char) {
    // SAFETY: the contract of WalkerServices::log.
    let (plugin, message) = unsafe { (text(plugin), c_str(message).to_string_lossy()) };
    // pgrx's own conversion does not know LOG and takes it for ERROR. An ERROR
    // is not a log message: a plugin raises its own. What the server calls COMMERROR, too, is
    // a log message that no client gets, as all are in the worker.
    let level = match elevel {
        _ if elevel >= PgLogLevel::WARNING as c_int => PgLogLevel::WARNING,
        _ if elevel < PgLogLevel::LOG as c_int => PgLogLevel::DEBUG1,
        _ if elevel <= PgLogLevel::LOG_SERVER_ONLY as c_int => PgLogLevel::LOG,
        _ => PgLogLevel::NOTICE,
    };
    let lsn = shared::control().map_or(0, |c| c.applied_lsn.load(Relaxed));
    let code = match level {
        PgLogLevel::WARNING => PgSqlErrorCode::ERRCODE_WARNING,
        _ => PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
    };
    ereport!(
        level,
        code,
        format!("walker plugin \"{plugin}\": {message}"),
        format!("Position of the worker: {}.", walker_plugin::wal::Lsn(lsn))
    );
}

#[pg_guard]
unsafe extern "C-unwind" fn wake() {
    worker::wake();
}

/// Wake the backends in `walker_wait`, if there are any. They say so again with
/// each turn of theirs, so that one that was ended is soon forgotten.
pub fn wake_waiters(control: &shared::Control) {
    // Behind the position that they wait for.
    fence(SeqCst);
    if control.waiters.load(Relaxed) != 0 {
        control.waiters.store(0, Relaxed);
        // SAFETY: initialised when shared memory was built.
        unsafe { pg_sys::ConditionVariableBroadcast(control.applied_cv()) };
    }
}

/// The plugins that have more state to write, a bit for each. Only the worker
/// sets and reads it.
static FLUSH_AGAIN: AtomicU32 = AtomicU32::new(0);

#[pg_guard]
unsafe extern "C-unwind" fn flush_again() {
    if let Some(running) = current::running() {
        let plugin = 1u32.checked_shl(running.plugin).unwrap_or(0);
        FLUSH_AGAIN.fetch_or(plugin, Relaxed);
    }
}

/// Whether a plugin has more state to write.
pub fn wants_flush() -> bool {
    FLUSH_AGAIN.load(Relaxed) != 0
}

/// Which of them do, a bit for each; the wish is granted.
pub fn take_flush_wishes() -> u32 {
    FLUSH_AGAIN.swap(0, Relaxed)
}

#[pg_guard]
unsafe extern "C-unwind" fn last_record(id: *mut RecordId) -> bool {
    // SAFETY: the contract of WalkerServices::last_record.
    match (history::last_record(), unsafe { id.as_mut() }) {
        (Some(last), Some(id)) => {
            *id = last;
            true
        }
        _ => false,
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_record(id: *const RecordId) -> bool {
    // SAFETY: the contract of WalkerServices::check_record.
    unsafe { id.as_ref() }.is_some_and(history::check_record)
}
