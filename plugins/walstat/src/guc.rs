//! The extension's settings.

use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use walstat_core::MIN_ENTRIES;

static MAX_ENTRIES: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);

/// Entries there may be, at 48 bytes of shared memory each.
pub fn max_entries() -> usize {
    usize::try_from(MAX_ENTRIES.get()).unwrap_or(MIN_ENTRIES)
}

/// Define all settings. Called once per process, when the library is loaded.
pub fn init() {
    GucRegistry::define_int_guc(
        c"walstat.max_entries",
        c"Sets the number of combinations of relation and record type that are told apart.",
        c"Beyond it the WAL of further relations is summed up by record type. \
          Takes effect when the worker restarts, a larger value when the server restarts.",
        &MAX_ENTRIES,
        MIN_ENTRIES as i32,
        16 * 1024 * 1024,
        GucContext::Sighup,
        GucFlags::default(),
    );
    // SAFETY: a constant name; the last definition, as MarkGUCPrefixReserved
    // demands.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"walstat".as_ptr()) };
}
