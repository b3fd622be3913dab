//! The SDK for walker plugins.
//!
//! A plugin is a shared library with the C symbol `_PG_walker_plugin_init`.
//! In Rust: implement [`Plugin`], then `walker_plugin::export_plugin!(MyPlugin)`.
//! A plugin author writes no `unsafe` and sees no raw pointer.
//!
//! This crate is linked into several libraries at once, so it exports no
//! symbol, no SQL entity and no `_PG_init` of its own.

mod abi;
mod area;
mod error;
mod export;
mod memory;
mod plugin;
mod record;
mod services;
pub mod sql;
pub mod state;

pub use abi::{
    ABI_VERSION, InPlaceCallback, NamedRmgr, RESUME, RecordCallback, RecordId, SERVICES_RENDEZVOUS,
    WalkerCallbacks, WalkerPluginAbi, WalkerRecordBytes, WalkerServices,
};
pub use area::SharedArea;
pub use error::Error;
#[doc(hidden)]
pub use export::{Instance, PluginCell, fill_callbacks, plugin_abi};
pub use memory::prepare;
pub use plugin::{Plugin, RmgrSet};
pub use record::WalRecord;
pub use services::{Services, services};

/// The pure WAL library: addresses, typed records, page images.
pub use walker_wal as wal;

pub use pgrx::pg_sys::errcodes::PgSqlErrorCode;
pub use pgrx::pg_sys::panic::ErrorReport;

// The header files of a server say with which sizes it was built.
const _: () = assert!(
    pgrx::pg_sys::BLCKSZ as usize == walker_wal::BLCKSZ
        && pgrx::pg_sys::XLOG_BLCKSZ as usize == walker_wal::lsn::XLOG_BLCKSZ,
    "walker reads blocks and WAL pages of 8 kB only"
);

/// The major version of the server this build is for.
pub const MAJOR: walker_wal::Major = {
    #[cfg(feature = "pg15")]
    {
        walker_wal::Major::V15
    }
    #[cfg(all(feature = "pg16", not(feature = "pg15")))]
    {
        walker_wal::Major::V16
    }
    #[cfg(all(feature = "pg17", not(any(feature = "pg15", feature = "pg16"))))]
    {
        walker_wal::Major::V17
    }
    #[cfg(all(
        feature = "pg18",
        not(any(feature = "pg15", feature = "pg16", feature = "pg17"))
    ))]
    {
        walker_wal::Major::V18
    }
};

// Every callback is guarded by unwinding; an abort would be a SIGABRT in the
// server, and a SIGABRT restarts every session.
#[cfg(not(panic = "unwind"))]
compile_error!("walker plugins need panic = \"unwind\"");
