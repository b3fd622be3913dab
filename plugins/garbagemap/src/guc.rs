//! The extension's settings.

use garbagemap_core::MAX_RANGE_BLOCKS;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// Blocks per range of `garbage_summary`.
static SUMMARY_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1024);

/// Blocks per range of the live map.
static RANGE_BLOCKS: GucSetting<i32> = GucSetting::<i32>::new(32);
/// Memory of the ledger, in megabytes.
static MAX_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(256);

/// Speed of base scans, in megabytes a second.
static BASE_SCAN_RATE: GucSetting<i32> = GucSetting::<i32>::new(0);

/// Pages a base scan may read in a second; `None` for as many as it can.
pub fn base_scan_pages_per_second() -> Option<f64> {
    let rate = BASE_SCAN_RATE.get();
    (rate > 0).then(|| f64::from(rate) * f64::from((1024 * 1024) / pg_sys::BLCKSZ))
}

/// Blocks per range of the live map: a power of two.
pub fn range_blocks() -> u32 {
    let set = RANGE_BLOCKS.get().clamp(1, MAX_RANGE_BLOCKS as i32) as u32;
    1 << set.ilog2()
}

/// Bytes the ledger may use.
pub fn max_memory() -> usize {
    MAX_MEMORY.get().max(1) as usize * 1024 * 1024
}

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
    GucRegistry::define_int_guc(
        c"garbagemap.range_blocks",
        c"Sets the number of blocks in a range of the live map.",
        c"Rounded down to a power of two. Takes effect when the worker restarts; a new value discards the state file.",
        &RANGE_BLOCKS,
        1,
        MAX_RANGE_BLOCKS as i32,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"garbagemap.max_memory",
        c"Sets the memory the live map may use in the walker process.",
        c"Beyond it the relations that changed least recently lose the number of their live tuples, then become inexact.",
        &MAX_MEMORY,
        1,
        1024 * 1024,
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"garbagemap.base_scan_rate",
        c"Sets how much of a table garbage_base_scan reads in a second.",
        c"0 sets no limit.",
        &BASE_SCAN_RATE,
        0,
        1024 * 1024,
        GucContext::Userset,
        GucFlags::UNIT_MB,
    );
    // SAFETY: a constant name; the last definition, as MarkGUCPrefixReserved
    // demands.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"garbagemap".as_ptr()) };
}
