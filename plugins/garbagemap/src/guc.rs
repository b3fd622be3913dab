//! The extension's settings.

use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// Blocks per range of `garbage_summary`.
static SUMMARY_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1024);

/// Blocks per range of `garbage_summary`.
pub fn summary_size() -> u32 {
    SUMMARY_SIZE.get().max(1) as u32
}

/// Define all settings. Called once per process, when the library is loaded.
pub fn init() {
    GucRegistry::define_int_guc(
        c"garbagemap.summary_size",
        c"Sets the number of blocks that garbage_summary sums up in a row.",
        c"",
        &SUMMARY_SIZE,
        1,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_BLOCKS,
    );
    // SAFETY: a constant name; the last definition, as MarkGUCPrefixReserved
    // demands.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"garbagemap".as_ptr()) };
}
