//! What walker offers, from any process: shared areas, position, log.

use crate::abi::{RecordId, SERVICES_RENDEZVOUS, WalkerServices};
use crate::area::SharedArea;
use core::ffi::CStr;
use pgrx::pg_sys;
use walker_wal::Lsn;

/// A handle on walker's services. Exists only where walker was preloaded.
#[derive(Clone, Copy)]
pub struct Services(&'static WalkerServices);

/// Walker's services, or `None` if `shared_preload_libraries` lacks walker.
pub fn services() -> Option<Services> {
    // SAFETY: find_rendezvous_variable returns a stable slot for the name
    // (utils/fmgr/dfmgr.c); walker stores there a pointer to a static table,
    // or it is NULL.
    let table = unsafe {
        let slot = pg_sys::find_rendezvous_variable(SERVICES_RENDEZVOUS.as_ptr());
        (*slot).cast::<WalkerServices>().as_ref()
    }?;
    let whole = size_of::<WalkerServices>() as u32;
    (table.abi_version >= 2 && table.struct_size >= whole).then_some(Services(table))
}

impl Services {
    /// The named area, if it has been reserved.
    pub fn find_area(&self, name: &CStr) -> Option<SharedArea> {
        self.area(name, 0)
    }

    /// Reserve the named area, or find it if it exists (then with the size it
    /// has). Only the worker may reserve. `None` if there is not enough room.
    pub fn reserve_area(&self, name: &CStr, bytes: usize) -> Option<SharedArea> {
        self.area(name, bytes)
    }

    fn area(&self, name: &CStr, bytes: usize) -> Option<SharedArea> {
        let mut actual = 0usize;
        // SAFETY: the function pointer was set by walker's own code, see
        // WalkerServices::shared_area; the guard turns an ERROR into a panic.
        let ptr = unsafe {
            let f = self.0.shared_area?;
            pg_sys::ffi::pg_guard_ffi_boundary(|| f(name.as_ptr(), bytes, &mut actual))
        };
        // SAFETY: walker lends main shared memory that lives as long as the
        // process and is cache-line aligned.
        (!ptr.is_null()).then(|| unsafe { SharedArea::new(ptr, actual) })
    }

    /// Bytes of walker's shared memory not yet lent.
    pub fn shared_free(&self) -> usize {
        // SAFETY: as in `area`.
        unsafe {
            self.0
                .shared_free
                .map_or(0, |f| pg_sys::ffi::pg_guard_ffi_boundary(|| f()))
        }
    }

    /// The position up to which the named plugin has seen all WAL.
    pub fn applied_lsn(&self, plugin: &CStr) -> Option<Lsn> {
        // SAFETY: as in `area`.
        let lsn = unsafe {
            let f = self.0.applied_lsn?;
            pg_sys::ffi::pg_guard_ffi_boundary(|| f(plugin.as_ptr()))
        };
        (lsn != 0).then_some(Lsn(lsn))
    }

    /// The area in which the named plugin shows what it knows, under its own
    /// name, while it runs. The area stays when the plugin goes (out of
    /// walker.plugins, quarantined, failed to load), and is filled before it
    /// runs: what is in it is not true then.
    pub fn area_of_running(&self, plugin: &CStr) -> Option<SharedArea> {
        self.applied_lsn(plugin)?;
        self.find_area(plugin)
    }

    /// Write a LOG message in the plugin's name.
    pub fn log(&self, plugin: &CStr, message: &CStr) {
        self.message(pg_sys::LOG as i32, plugin, message);
    }

    /// Write a WARNING in the plugin's name.
    pub fn warn(&self, plugin: &CStr, message: &CStr) {
        self.message(pg_sys::WARNING as i32, plugin, message);
    }

    fn message(&self, elevel: i32, plugin: &CStr, message: &CStr) {
        if let Some(f) = self.0.log {
            // SAFETY: as in `area`; both strings live for the call.
            unsafe {
                pg_sys::ffi::pg_guard_ffi_boundary(|| f(elevel, plugin.as_ptr(), message.as_ptr()))
            }
        }
    }

    /// Wake the worker, so that the plugins are polled soon.
    pub fn wake(&self) {
        if let Some(f) = self.0.wake {
            // SAFETY: as in `area`.
            unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| f()) }
        }
    }

    /// In the worker, from [`Plugin::flush`](crate::Plugin::flush): only a part
    /// of the state was written, call it again soon. From
    /// [`Plugin::poll`](crate::Plugin::poll): there is something to write though
    /// no checkpoint asks for it.
    pub fn flush_again(&self) {
        if let Some(f) = self.0.flush_again {
            // SAFETY: as in `area`.
            unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| f()) }
        }
    }

    /// In the worker: the last record that was delivered to plugins.
    pub fn last_record(&self) -> Option<RecordId> {
        let f = self.0.last_record?;
        let mut id = RecordId::default();
        let to: *mut RecordId = &mut id;
        // SAFETY: as in `area`.
        let found = unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| f(to)) };
        found.then_some(id)
    }

    /// In the worker: whether this server's WAL holds that very record.
    pub fn check_record(&self, id: &RecordId) -> bool {
        let Some(f) = self.0.check_record else {
            return false;
        };
        // SAFETY: as in `area`.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| f(id)) }
    }
}
