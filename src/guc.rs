//! The settings of walker.

use crate::reader::segment_size;
use core::ffi::{CStr, c_char, c_void};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::ffi::CString;
use std::time::Duration;

/// Most plugins at once; sizes the status in shared memory.
pub const MAX_PLUGINS: usize = 16;
/// Longest plugin name in bytes, as PostgreSQL's NAMEDATALEN - 1.
pub const MAX_NAME: usize = 63;
/// Bytes of WAL that the server is to keep for whoever reads it later.
const KEEP_WAL: u64 = 64 << 20;

static PLUGINS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static SHARED_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(64);
static SLOT_NAME: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static MAX_RETAINED_WAL: GucSetting<i32> = GucSetting::<i32>::new(1024);
static FLUSH_WAL: GucSetting<i32> = GucSetting::<i32>::new(256);
static MAX_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(0);
static RESTART_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5);

/// Define the settings. Only while libraries are preloaded.
pub fn init() {
    // SAFETY: the hook is a guarded function of the type the server expects.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"walker.plugins",
            c"Lists the plugins that receive WAL records, in order.",
            c"Plain library names, found along the server's library search path.",
            &PLUGINS,
            GucContext::Sighup,
            GucFlags::from_bits_retain(
                (pg_sys::GUC_LIST_INPUT | pg_sys::GUC_SUPERUSER_ONLY) as i32,
            ),
            Some(check_plugins),
            None,
            None,
        );
    }
    GucRegistry::define_int_guc(
        c"walker.shared_memory",
        c"Sets the amount of shared memory that walker lends to plugins.",
        c"Reserved once when the server starts.",
        &SHARED_MEMORY,
        1,
        1024 * 1024,
        GucContext::Postmaster,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"walker.flush_wal",
        c"Sets the amount of WAL after which plugins make their state durable.",
        c"Plugins also do so after every checkpoint and when the server stops.",
        &FLUSH_WAL,
        1,
        1024 * 1024,
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_string_guc(
        c"walker.slot_name",
        c"Sets the physical replication slot that keeps WAL until it was read.",
        c"Empty for none. The worker creates it, and drops it when it retains more than walker.max_retained_wal.",
        &SLOT_NAME,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_int_guc(
        c"walker.max_retained_wal",
        c"Sets the most WAL that walker's replication slot may retain.",
        c"Beyond it the slot is dropped and lost WAL is reported as a gap.",
        &MAX_RETAINED_WAL,
        16,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"walker.max_memory",
        c"Sets the private memory beyond which the worker restarts.",
        c"A guard against plugins that leak. 0 sets no limit.",
        &MAX_MEMORY,
        0,
        i32::MAX / 2,
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"walker.restart_interval",
        c"Sets the time after which a worker that ended is started again.",
        c"Whether it failed or was asked to restart. 0 starts it at once.",
        &RESTART_INTERVAL,
        0,
        3600,
        GucContext::Postmaster,
        GucFlags::UNIT_S,
    );
    // SAFETY: all settings with the prefix are defined above.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"walker".as_ptr()) };
}

/// Have `wal_keep_size` be [`KEEP_WAL`], and two segments at least, unless
/// somebody sets it. In the postmaster.
///
/// Whoever stops a server stops its worker before the last records are written,
/// and the checkpoint that comes then lets all WAL before it go: with archiving
/// always, for it begins a new segment, else where much was written just
/// before. Without that WAL no state could go on.
///
/// A setting that is taken out of the configuration by a reload falls back to
/// the server's own default, until the next start.
pub fn keep_some_wal() {
    let megabytes = KEEP_WAL.max(2 * segment_size()) >> 20;
    let Ok(value) = CString::new(format!("{megabytes}MB")) else {
        return;
    };
    // SAFETY: SetConfigOption (utils/misc/guc.c) copies the value. A dynamic
    // default gives way to every other source, and to a later one.
    unsafe {
        pg_sys::SetConfigOption(
            c"wal_keep_size".as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_POSTMASTER,
            pg_sys::GucSource::PGC_S_DYNAMIC_DEFAULT,
        );
    }
}

/// Names of the configured plugins, in order.
pub fn plugins() -> Vec<String> {
    let value = PLUGINS.get().unwrap_or_default();
    // The check hook accepted it.
    parse_names(&value.to_string_lossy()).unwrap_or_default()
}

/// Bytes of shared memory to lend.
pub fn shared_memory() -> usize {
    usize::try_from(SHARED_MEMORY.get()).unwrap_or(1) * 1024 * 1024
}

/// Name of the replication slot, empty for none.
pub fn slot_name() -> String {
    SLOT_NAME
        .get()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Bytes of WAL the slot may retain.
pub fn max_retained_wal() -> u64 {
    u64::try_from(MAX_RETAINED_WAL.get()).unwrap_or(1) * 1024 * 1024
}

/// Bytes of WAL between two flushes of plugin state.
pub fn flush_wal() -> u64 {
    u64::try_from(FLUSH_WAL.get()).unwrap_or(1) * 1024 * 1024
}

/// Bytes of private memory beyond which the worker restarts.
pub fn max_memory() -> Option<u64> {
    let megabytes = u64::try_from(MAX_MEMORY.get()).unwrap_or(0);
    (megabytes > 0).then_some(megabytes * 1024 * 1024)
}

/// How long the postmaster waits before it starts the worker again.
pub fn restart_interval() -> Duration {
    Duration::from_secs(u64::try_from(RESTART_INTERVAL.get()).unwrap_or(5))
}

/// Split and check a list of plugin names. The error is the detail to show.
///
/// A name reaches the dynamic loader, so it must be a plain file name: no
/// path part, no macro of the search path, nothing that folds or truncates.
fn parse_names(list: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    if list.trim().is_empty() {
        return Ok(names);
    }
    for item in list.split(',') {
        let name = item.trim();
        let mut bytes = name.bytes();
        let good = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            && name.len() <= MAX_NAME;
        if !good {
            return Err(format!(
                "\"{name}\" is not a plugin name: a letter or underscore, then letters, digits, \
                 underscores and hyphens, {MAX_NAME} bytes at most."
            ));
        }
        if names.iter().any(|n| n == name) {
            return Err(format!("Plugin \"{name}\" is listed twice."));
        }
        if names.len() == MAX_PLUGINS {
            return Err(format!("More than {MAX_PLUGINS} plugins are listed."));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

#[pg_guard]
unsafe extern "C-unwind" fn check_plugins(
    newval: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server passes the address of a C string, which may be NULL
    // (GucStringCheckHook, utils/guc.h).
    let value = unsafe {
        if (*newval).is_null() {
            c""
        } else {
            CStr::from_ptr(*newval)
        }
    };
    match parse_names(&value.to_string_lossy()) {
        Ok(_) => true,
        Err(detail) => {
            let detail = CString::new(detail).unwrap_or_default();
            // SAFETY: the server reports and frees the text, which it expects
            // in ErrorContext (GUC_check_errdetail, utils/guc.h).
            unsafe {
                pg_sys::GUC_check_errdetail_string =
                    pg_sys::MemoryContextStrdup(pg_sys::ErrorContext, detail.as_ptr());
            }
            false
        }
    }
}
