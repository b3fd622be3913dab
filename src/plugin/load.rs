//! From a name in `walker.plugins` to a filled callback table.
//!
//! The server checks the module magic before it calls the library's `_PG_init`, we
//! check the ABI before the plugin is given a table. Whatever is wrong stays with
//! this plugin.

use crate::rmgr;
use core::ffi::{CStr, c_void};
use libloading::os::unix::Library;
use pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::ffi::CString;
use walker_plugin::state::SHORTAGES;
use walker_plugin::{ABI_VERSION, RecordCallback, WalkerCallbacks, WalkerPluginAbi};

/// Size of the original table: six callbacks.
const ORIGINAL_SIZE: usize = 6 * size_of::<usize>();

/// A plugin whose callbacks may be called.
pub struct LoadedPlugin {
    /// Its name in `walker.plugins`.
    pub name: CString,
    /// File the library was loaded from.
    pub library: String,
    /// ABI version it declares, 1 if none.
    pub abi_version: u32,
    /// Its callbacks; members it does not know are `None`.
    pub callbacks: Box<WalkerCallbacks>,
    /// Those it gave by registered name, with the ID each name has here.
    pub named: Vec<(u8, RecordCallback)>,
}

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not found, not a library, no magic block, another major version, or an
    /// error in its `_PG_init`: the server's own words.
    #[error("{0}")]
    Library(String),
    /// Memory or file descriptors are short, which passes.
    #[error("{0}")]
    Shortage(String),
    /// No `_PG_walker_plugin_init`.
    #[error("library \"{0}\" has no symbol _PG_walker_plugin_init")]
    NoInit(String),
    /// Made for a walker that is newer, or broken.
    #[error(
        "library \"{library}\" has walker plugin ABI {version} with a table of {size} bytes, \
         this walker has ABI {ABI_VERSION} with {}",
        size_of::<WalkerCallbacks>()
    )]
    Abi {
        /// The library.
        library: String,
        /// Its version.
        version: u32,
        /// Its table size.
        size: u32,
    },
    /// Its `_PG_walker_plugin_init` raised an error.
    #[error("_PG_walker_plugin_init failed: {0}")]
    Init(String),
}

type InitFn = unsafe extern "C-unwind" fn(*mut WalkerCallbacks);
type AbiFn = unsafe extern "C-unwind" fn() -> *const WalkerPluginAbi;

/// Load one plugin.
pub fn load(name: &str) -> Result<LoadedPlugin, LoadError> {
    let cname = CString::new(name).map_err(|e| LoadError::Library(e.to_string()))?;
    let handle = open(&cname)?;
    // SAFETY: a handle of dlopen; libraries are never unloaded, so the
    // Library is turned back into its handle and not dropped.
    let library = unsafe { Library::from_raw(handle) };
    // SAFETY: the types are the contract of include/walker.h.
    let (init, abi) = unsafe {
        (
            library.get::<InitFn>(b"_PG_walker_plugin_init").map(|s| *s),
            library.get::<AbiFn>(b"_PG_walker_plugin_abi").map(|s| *s),
        )
    };
    let _ = library.into_raw();
    let init = init.map_err(|_| LoadError::NoInit(name.to_owned()))?;
    let path = file_of(init).unwrap_or_else(|| name.to_owned());

    let (abi_version, size) = match abi {
        // SAFETY: the function takes nothing and returns a pointer to a static.
        Ok(abi) => unsafe {
            #[allow(ffi_unwind_calls, reason = "protected by pg_guard_ffi_boundary")]
            match pg_sys::ffi::pg_guard_ffi_boundary(|| abi()).as_ref() {
                Some(abi) => (abi.abi_version, abi.struct_size),
                None => (0, 0),
            }
        },
        Err(_) => (1, ORIGINAL_SIZE as u32),
    };
    if abi_version == 0
        || abi_version > ABI_VERSION
        || (size as usize) < ORIGINAL_SIZE
        || size as usize > size_of::<WalkerCallbacks>()
    {
        return Err(LoadError::Abi {
            library: path,
            version: abi_version,
            size,
        });
    }

    let mut callbacks = empty_table();
    let table: *mut WalkerCallbacks = &mut *callbacks;
    // A plugin of the original contract may have been compiled with a table
    // that ends after six members, but never one that is longer than ours.
    PgTryBuilder::new(|| {
        // SAFETY: the contract of _PG_walker_plugin_init: a zeroed table.
        #[allow(ffi_unwind_calls, reason = "protected by pg_guard_ffi_boundary")]
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| init(table))
        };
        Ok(())
    })
    .catch_others(|error| Err(failed(&error, LoadError::Init)))
    .execute()?;

    if abi_version < 2 {
        // Late forms of the original table had a seventh member, which would
        // stand where our additions begin: only the six are the contract.
        let five = [
            callbacks.heap_cb,
            callbacks.heap2_cb,
            callbacks.xlog_cb,
            callbacks.xact_cb,
            callbacks.smgr_cb,
        ];
        let startup_cb = callbacks.startup_cb;
        callbacks = empty_table();
        callbacks.startup_cb = startup_cb;
        [
            callbacks.heap_cb,
            callbacks.heap2_cb,
            callbacks.xlog_cb,
            callbacks.xact_cb,
            callbacks.smgr_cb,
        ] = five;
    }
    let named = resolve_names(name, &callbacks);
    Ok(LoadedPlugin {
        name: cname,
        library: path,
        abi_version,
        callbacks,
        named,
    })
}

fn empty_table() -> Box<WalkerCallbacks> {
    // SAFETY: all members are optional functions, for which zero is None, or
    // pointers.
    Box::new(unsafe { core::mem::zeroed() })
}

/// Find the IDs of the resource managers that a plugin named.
fn resolve_names(plugin: &str, callbacks: &WalkerCallbacks) -> Vec<(u8, RecordCallback)> {
    let mut found = Vec::new();
    let mut next = callbacks.rmgr_by_name;
    // SAFETY: the contract of the member: NULL, or an array whose last element
    // has a NULL name.
    while let Some(entry) = unsafe { next.as_ref() }.filter(|e| !e.name.is_null()) {
        // SAFETY: a C string of the plugin's library; and there is at least
        // one more element behind one with a name.
        let name = unsafe {
            next = next.add(1);
            CStr::from_ptr(entry.name)
        };
        match (rmgr::find(name), entry.callback) {
            (Some(id), Some(callback)) => found.push((id, callback)),
            (_, None) => {}
            (None, _) => ereport!(
                WARNING,
                PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                format!(
                    "walker plugin \"{plugin}\" asks for resource manager \"{}\", \
                     which is not registered",
                    name.to_string_lossy()
                ),
                "The extension that registers it must be in shared_preload_libraries."
            ),
        }
    }
    found
}

/// Load the library as the server loads any extension library: along
/// dynamic_library_path, with the magic block checked.
fn open(name: &CStr) -> Result<*mut c_void, LoadError> {
    let mut handle: *mut c_void = core::ptr::null_mut();
    let out: *mut *mut c_void = &mut handle;
    PgTryBuilder::new(|| {
        // SAFETY: load_external_function (utils/fmgr/dfmgr.c) raises an ERROR
        // for a library it cannot use; with signalNotFound = false the symbol,
        // which may be missing here, gives NULL.
        unsafe {
            pg_sys::load_external_function(
                name.as_ptr(),
                c"_PG_walker_plugin_init".as_ptr(),
                false,
                out,
            )
        };
        Ok(())
    })
    .catch_others(|error| Err(failed(&error, LoadError::Library)))
    .execute()?;
    if handle.is_null() {
        return Err(LoadError::Library(format!(
            "could not load library \"{}\"",
            name.to_string_lossy()
        )));
    }
    Ok(handle)
}

/// What a caught error means for the plugin, which is left out then.
fn failed(error: &CaughtError, otherwise: fn(String) -> LoadError) -> LoadError {
    // SAFETY: the worker holds no lock of its own while it loads plugins; what is
    // held now is what the failed call left, and others would wait for it for as
    // long as the worker runs (storage/lmgr/lwlock.c).
    unsafe { pg_sys::LWLockReleaseAll() };
    let message = message_of(error);
    // The dynamic loader puts the system's words for what failed into its own,
    // and the server has no SQLSTATE for them.
    let said = SHORTAGES.iter().any(|errno| {
        let words = std::io::Error::from_raw_os_error(*errno).to_string();
        let words = words.split(" (os error").next().unwrap_or(&words);
        message.contains(words)
    });
    match said || is_shortage(sqlstate_of(error)) {
        true => LoadError::Shortage(message),
        false => otherwise(message),
    }
}

/// The SQLSTATE of a caught error.
pub fn sqlstate_of(error: &CaughtError) -> PgSqlErrorCode {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic {
        ereport: report, ..
    }) = error;
    report.sql_error_code()
}

/// Whether an error says that memory or descriptors were short.
pub fn is_shortage(sqlstate: PgSqlErrorCode) -> bool {
    matches!(
        sqlstate,
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY | PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES
    )
}

/// The message of a caught error, with its detail.
pub fn message_of(error: &CaughtError) -> String {
    use CaughtError::{ErrorReport, PostgresError, RustPanic};
    let report = match error {
        PostgresError(report)
        | ErrorReport(report)
        | RustPanic {
            ereport: report, ..
        } => report,
    };
    match report.detail() {
        Some(detail) => format!("{}: {detail}", report.message()),
        None => report.message().to_owned(),
    }
}

/// The file a function's library was loaded from.
fn file_of(function: InitFn) -> Option<String> {
    let address = function as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (low, high) = range.split_once('-')?;
        let low = usize::from_str_radix(low, 16).ok()?;
        let high = usize::from_str_radix(high, 16).ok()?;
        let path = rest.split_whitespace().nth(4)?;
        (low..high).contains(&address).then(|| path.to_owned())
    })
}
