//! walker: one background worker that reads every WAL record of the server
//! and hands it to plugins.
//!
//! The way of a record is the way through these modules: `reader` finds it as the
//! server's XLogReader would, or by that, `plugin` dispatches it by resource
//! manager ID, `shared` is where positions and counters are shown, `sql` shows
//! them. `worker` is the loop around it.
#![deny(ffi_unwind_calls)]

mod compat;
mod guc;
mod memory;
mod plugin;
mod reader;
mod rmgr;
mod services;
mod shared;
mod sql;
mod worker;

use pgrx::prelude::*;

pgrx::pg_module_magic!(name = c"walker", version = c"0.2.0");

#[cfg(not(panic = "unwind"))]
compile_error!("walker needs panic = \"unwind\": an abort would restart every session");

/// Called by the server when it loads the library.
#[pg_guard]
#[allow(non_snake_case)]
pub extern "C-unwind" fn _PG_init() {
    walker_plugin::prepare();
    // SAFETY: plain flags of the server, written before libraries are loaded.
    let (preloading, upgrading) = unsafe {
        (
            pg_sys::process_shared_preload_libraries_in_progress,
            pg_sys::IsBinaryUpgrade,
        )
    };
    if !preloading {
        // CREATE EXTENSION on a server that has not preloaded us: the
        // functions exist and say what is missing.
        return;
    }
    guc::init();
    if upgrading {
        // pg_upgrade's server must write nothing of its own (compare
        // ApplyLauncherRegister).
        return;
    }
    guc::keep_some_wal();
    shared::init();
    services::init();
    worker::register();
}
