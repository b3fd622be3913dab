//! From the plugin trait to the C table: one guarded shim per callback.
//!
//! Two Rust libraries in one process have two copies of the standard library,
//! so a panic must never cross from one to the other. Every shim turns panics
//! and errors into an ereport inside the plugin's own library
//! (`pgrx_extern_c_guard`); walker catches that as it catches any ERROR.

use crate::abi::{ABI_VERSION, NamedRmgr, WalkerCallbacks, WalkerPluginAbi, WalkerRecordBytes};
use crate::plugin::Plugin;
use crate::record::WalRecord;
use core::cell::UnsafeCell;
use pgrx::pg_sys;
use pgrx::pg_sys::elog::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;
use walker_wal::raw::{Decoder, FlatRecord};
use walker_wal::{Lsn, RmgrId};

/// The place of a plugin's one instance, and of what decodes records for it.
/// Used on the worker's main thread.
#[doc(hidden)]
pub struct PluginCell<P> {
    plugin: UnsafeCell<Option<P>>,
    decoder: UnsafeCell<Option<Decoder>>,
}

// SAFETY: a PostgreSQL process runs callbacks on its main thread only, and
// pgrx's guards refuse any other thread.
unsafe impl<P> Sync for PluginCell<P> {}

impl<P> PluginCell<P> {
    /// An empty place.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        PluginCell {
            plugin: UnsafeCell::new(None),
            decoder: UnsafeCell::new(None),
        }
    }
}

/// A plugin with its place; implemented by `export_plugin!`.
#[doc(hidden)]
pub trait Instance: Plugin {
    /// Where the instance lives.
    fn cell() -> &'static PluginCell<Self>;
}

/// Run `f` on the plugin; a failure becomes an ereport(ERROR).
///
/// # Safety
/// Only from a callback, which walker never nests.
unsafe fn with<P: Instance, R>(f: impl FnOnce(&mut P) -> Result<R, P::Error>) -> R {
    // SAFETY: pgrx_extern_c_guard turns panics into ereport at this frame,
    // which holds no destructors; the cell is ours alone, see PluginCell.
    unsafe {
        pgrx::pgrx_extern_c_guard(move || match (*P::cell().plugin.get()).as_mut() {
            Some(plugin) => f(plugin).unwrap_or_else(|e| raise(e)),
            None => raise(ErrorReport::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "walker plugin was called before its startup",
                "walker_plugin",
            )),
        })
    }
}

fn raise(error: impl Into<ErrorReport>) -> ! {
    error.into().report(PgLogLevel::ERROR);
    unreachable!("ereport(ERROR) does not return")
}

unsafe extern "C-unwind" fn startup<P: Instance>() {
    // SAFETY: as in `with`; nothing else runs while the plugin starts.
    unsafe {
        pgrx::pgrx_extern_c_guard(|| {
            let plugin = P::startup().unwrap_or_else(|e| raise(e));
            *P::cell().plugin.get() = Some(plugin);
            // Without one, the server decodes.
            if P::IN_PLACE {
                *P::cell().decoder.get() = Decoder::try_with_room().ok();
            }
        })
    }
}

unsafe extern "C-unwind" fn record<P: Instance>(reader: *mut pg_sys::XLogReaderState) {
    // SAFETY: walker calls with the reader of the record just read.
    unsafe {
        with::<P, ()>(|plugin| match WalRecord::from_reader(reader) {
            Some(record) => plugin.record(&record),
            None => Ok(()),
        })
    }
}

unsafe extern "C-unwind" fn in_place<P: Instance>(record: *const WalkerRecordBytes) -> bool {
    // Nothing but the pointer goes into the guarded function: what is put down
    // for it in words, and taken up there two at a time, has the processor wait.
    // SAFETY: the contract of in_place_cb: `record` points to xl_tot_len bytes,
    // which stay as they are during the call.
    unsafe {
        with::<P, _>(move |plugin| {
            let record = &*record;
            let len = (*record.record).xl_tot_len as usize;
            let bytes = core::slice::from_raw_parts(record.record.cast::<u8>(), len);
            let (lsn, end_lsn) = (Lsn(record.lsn), Lsn(record.end_lsn));
            match FlatRecord::new(bytes, lsn, end_lsn) {
                Some(record) => plugin.record_in_place(&record),
                None => {
                    let decoder = (*P::cell().decoder.get()).as_mut();
                    match decoder.map(|decoder| decoder.decode(bytes, lsn, end_lsn)) {
                        Some(Ok(record)) => plugin.raw_in_place(&record),
                        // The server knows what to say of it.
                        Some(Err(_)) | None => Ok(false),
                    }
                }
            }
        })
    }
}

unsafe extern "C-unwind" fn shutdown<P: Instance>() {
    // SAFETY: a callback.
    unsafe {
        with::<P, ()>(|plugin| {
            plugin.shutdown();
            Ok(())
        })
    }
}

unsafe extern "C-unwind" fn flush<P: Instance>(upto: u64) -> u64 {
    // SAFETY: a callback.
    unsafe { with::<P, _>(|plugin| plugin.flush(Lsn(upto))).map_or(0, |lsn| lsn.0) }
}

unsafe extern "C-unwind" fn start_lsn<P: Instance>() -> u64 {
    // SAFETY: a callback.
    unsafe { with::<P, _>(|plugin| plugin.start_lsn()).map_or(0, |lsn| lsn.0) }
}

unsafe extern "C-unwind" fn gap<P: Instance>(from: u64, to: u64) {
    // SAFETY: a callback.
    unsafe { with::<P, _>(|plugin| plugin.gap(Lsn(from), Lsn(to))) }
}

unsafe extern "C-unwind" fn timeline<P: Instance>(tli: u32, lsn: u64) {
    // SAFETY: a callback.
    unsafe { with::<P, _>(|plugin| plugin.timeline(tli, Lsn(lsn))) }
}

unsafe extern "C-unwind" fn poll<P: Instance>(lsn: u64) {
    // SAFETY: a callback.
    unsafe { with::<P, _>(|plugin| plugin.poll(Lsn(lsn))) }
}

/// Fill the table for plugin `P`.
///
/// # Safety
/// `table` must be walker's zeroed table of this ABI version.
#[doc(hidden)]
pub unsafe fn fill_callbacks<P: Instance>(table: *mut WalkerCallbacks) {
    crate::memory::prepare();
    // SAFETY: the caller's promise.
    let table = unsafe { &mut *table };
    table.startup_cb = Some(startup::<P>);
    for (id, slot) in (0u8..=255).zip(table.rmgr_cb.iter_mut()) {
        if P::RMGRS.contains(RmgrId(id)) {
            *slot = Some(record::<P>);
        }
    }
    table.in_place_cb = P::IN_PLACE.then_some(in_place::<P>);
    table.shutdown_cb = Some(shutdown::<P>);
    table.flush_cb = Some(flush::<P>);
    table.start_lsn_cb = Some(start_lsn::<P>);
    table.gap_cb = Some(gap::<P>);
    table.timeline_cb = Some(timeline::<P>);
    table.poll_cb = Some(poll::<P>);
    if !P::CUSTOM_RMGRS.is_empty() {
        let named = P::CUSTOM_RMGRS.iter().map(|name| NamedRmgr {
            name: name.as_ptr(),
            callback: Some(record::<P>),
        });
        let end = NamedRmgr {
            name: core::ptr::null(),
            callback: None,
        };
        // Walker reads it while the library is loaded, which is for good.
        table.rmgr_by_name = named.chain([end]).collect::<Vec<_>>().leak().as_ptr();
    }
}

/// The ABI this SDK was built with.
#[doc(hidden)]
pub const fn plugin_abi() -> WalkerPluginAbi {
    WalkerPluginAbi {
        abi_version: ABI_VERSION,
        struct_size: size_of::<WalkerCallbacks>() as u32,
    }
}

/// Export a type that implements [`Plugin`] as this library's walker plugin.
///
/// The library also needs `pgrx::pg_module_magic!`.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        #[doc(hidden)]
        mod __walker_plugin {
            use super::*;

            static CELL: $crate::PluginCell<$plugin> = $crate::PluginCell::new();
            static ABI: $crate::WalkerPluginAbi = $crate::plugin_abi();

            impl $crate::Instance for $plugin {
                fn cell() -> &'static $crate::PluginCell<Self> {
                    &CELL
                }
            }

            #[unsafe(no_mangle)]
            extern "C-unwind" fn _PG_walker_plugin_abi() -> *const $crate::WalkerPluginAbi {
                &ABI
            }

            #[unsafe(no_mangle)]
            unsafe extern "C-unwind" fn _PG_walker_plugin_init(
                table: *mut $crate::WalkerCallbacks,
            ) {
                // SAFETY: walker passes a zeroed table of the ABI version that
                // _PG_walker_plugin_abi announced.
                unsafe { $crate::fill_callbacks::<$plugin>(table) }
            }
        }
    };
}
