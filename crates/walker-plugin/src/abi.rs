//! The C contract, same order as `include/walker.h`.
//!
//! The table begins with the six members of the original walker in their
//! original order; what follows is read only from plugins that export
//! `_PG_walker_plugin_abi`. Members are only ever appended.

use core::ffi::{c_char, c_int, c_void};
use pgrx::pg_sys;

/// The ABI version of this header. Version 1 is the original contract, which
/// a plugin without `_PG_walker_plugin_abi` has.
pub const ABI_VERSION: u32 = 3;

/// "Where delivery stopped", as an answer of `start_lsn_cb`.
pub const RESUME: u64 = u64::MAX;

/// Name of the rendezvous variable that leads to [`WalkerServices`].
pub const SERVICES_RENDEZVOUS: &core::ffi::CStr = c"walker_services";

/// A callback that takes one record. The reader state is valid only during
/// the call.
pub type RecordCallback = unsafe extern "C-unwind" fn(record: *mut pg_sys::XLogReaderState);

/// A record callback for a resource manager by its registered name
/// (`WalkerNamedRmgr`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NamedRmgr {
    /// The name; NULL ends an array of these.
    pub name: *const c_char,
    /// The callback.
    pub callback: Option<RecordCallback>,
}

/// A record as it stands in WAL: whole, with the right checksum, not decoded.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WalkerRecordBytes {
    /// Where it begins.
    pub lsn: u64,
    /// Where it ends.
    pub end_lsn: u64,
    /// Its header, and `xl_tot_len` bytes in all.
    pub record: *const pg_sys::XLogRecord,
}

/// A callback that may take a record as it stands. False if it did not: then
/// the record is decoded for the plugin's record callback.
pub type InPlaceCallback = unsafe extern "C-unwind" fn(record: *const WalkerRecordBytes) -> bool;

/// The table a plugin fills in `_PG_walker_plugin_init`. Walker zeroes it
/// before the call; every member is optional.
#[repr(C)]
pub struct WalkerCallbacks {
    /// Called once, before the first record.
    pub startup_cb: Option<unsafe extern "C-unwind" fn()>,
    /// `RM_HEAP_ID`
    pub heap_cb: Option<RecordCallback>,
    /// `RM_HEAP2_ID`
    pub heap2_cb: Option<RecordCallback>,
    /// `RM_XLOG_ID`
    pub xlog_cb: Option<RecordCallback>,
    /// `RM_XACT_ID`
    pub xact_cb: Option<RecordCallback>,
    /// `RM_SMGR_ID`
    pub smgr_cb: Option<RecordCallback>,

    /// By resource manager ID, built-in and custom. Wins over the named
    /// member where both are set.
    pub rmgr_cb: [Option<RecordCallback>; 256],
    /// Called before the worker leaves, after the last flush.
    pub shutdown_cb: Option<unsafe extern "C-unwind" fn()>,
    /// Make the state durable: everything up to `upto` has been delivered.
    /// Returns the LSN up to which the state now is durable; 0 for "no state".
    pub flush_cb: Option<unsafe extern "C-unwind" fn(upto: u64) -> u64>,
    /// Called after startup: the LSN from which the plugin wants records
    /// (records that end at or before it are not delivered); 0 for "I have no
    /// state yet", [`RESUME`] for "where delivery stopped".
    pub start_lsn_cb: Option<unsafe extern "C-unwind" fn() -> u64>,
    /// WAL between the two positions was lost and will never be delivered.
    pub gap_cb: Option<unsafe extern "C-unwind" fn(from: u64, to: u64)>,
    /// Reading has come to timeline `tli`. `lsn` is where the reader is, near the
    /// switch: up to a segment before it, or some records behind it.
    pub timeline_cb: Option<unsafe extern "C-unwind" fn(tli: u32, lsn: u64)>,
    /// Called between records: at every wake-up of the worker, and while records
    /// are read at least every 10 ms or so, which can be many thousands of them.
    /// `lsn` is the end of the last record.
    pub poll_cb: Option<unsafe extern "C-unwind" fn(lsn: u64)>,
    /// By registered name, for custom resource managers, whose numbers are a
    /// local choice. NULL, or an array that ends with a NULL name and lives as
    /// long as the library. A callback by number wins.
    pub rmgr_by_name: *const NamedRmgr,
    /// Tried before the record callback of a resource manager, if there is
    /// one, where walker has the record as it stands in WAL. For plugins that
    /// read the format themselves and gain by it. Since ABI 3.
    pub in_place_cb: Option<InPlaceCallback>,
}

/// What `_PG_walker_plugin_abi` returns.
#[repr(C)]
pub struct WalkerPluginAbi {
    /// [`ABI_VERSION`] of the header the plugin was built with.
    pub abi_version: u32,
    /// `sizeof(WalkerCallbacks)` at that time.
    pub struct_size: u32,
}

// SAFETY: plain numbers, never written after they were built.
unsafe impl Sync for WalkerPluginAbi {}

pub use walker_state::RecordId;

/// What walker offers to plugins, in any process of the server. Reached by
/// `*(WalkerServices **) find_rendezvous_variable("walker_services")`.
#[repr(C)]
pub struct WalkerServices {
    /// [`ABI_VERSION`] of the walker that is loaded.
    pub abi_version: u32,
    /// `sizeof(WalkerServices)` of that walker.
    pub struct_size: u32,
    /// Find the named part of walker's shared memory or, in the worker and
    /// with `size` > 0, reserve it: zeroed, cache-line aligned, for the life
    /// of the server. `actual` receives its size. NULL if there is none or
    /// not enough room.
    pub shared_area: Option<
        unsafe extern "C-unwind" fn(
            name: *const c_char,
            size: usize,
            actual: *mut usize,
        ) -> *mut c_void,
    >,
    /// Bytes of walker's shared memory not yet lent.
    pub shared_free: Option<unsafe extern "C-unwind" fn() -> usize>,
    /// The position up to which the named plugin has seen all WAL; 0 if it
    /// is not running.
    pub applied_lsn: Option<unsafe extern "C-unwind" fn(plugin: *const c_char) -> u64>,
    /// Write a message to the server log with the plugin's name and the
    /// current position as context. `elevel` as in ereport, below ERROR.
    pub log: Option<
        unsafe extern "C-unwind" fn(elevel: c_int, plugin: *const c_char, message: *const c_char),
    >,
    /// Wake the worker, so that it calls `poll_cb` soon.
    pub wake: Option<unsafe extern "C-unwind" fn()>,
    /// In the worker: the last record that was delivered. False if none.
    pub last_record: Option<unsafe extern "C-unwind" fn(id: *mut RecordId) -> bool>,
    /// In the worker: whether this server's WAL holds that very record, on the
    /// timeline the server's history says it belongs to.
    pub check_record: Option<unsafe extern "C-unwind" fn(id: *const RecordId) -> bool>,
    /// In the worker, from `flush_cb`: only a part of the state was written,
    /// call `flush_cb` again after the next few records, or at once if there
    /// are none. From `poll_cb`: there is something to write.
    pub flush_again: Option<unsafe extern "C-unwind" fn()>,
}
