//! Walker's shared memory: the control block, then the memory lent to plugins.
//!
//! Written by the worker, read by any backend. Numbers are atomics, so no
//! reader waits and none sees a torn value; texts are copied under one
//! lightweight lock that is held for the copy only. A crash of any backend
//! makes the server build all of it anew.

mod area;
mod control;
mod text;

pub use area::lend;
pub use control::{Control, PluginState, PluginStatus, RmgrStats, WorkerState};
pub use text::Text;

use core::sync::atomic::{AtomicPtr, Ordering};
use pgrx::prelude::*;

static PREVIOUS_REQUEST: AtomicHook = AtomicHook::new();
static PREVIOUS_STARTUP: AtomicHook = AtomicHook::new();
static CONTROL: AtomicPtr<Control> = AtomicPtr::new(core::ptr::null_mut());

/// Name of the lock tranche and of the shared memory block.
const NAME: &core::ffi::CStr = c"walker";

type Hook = Option<unsafe extern "C-unwind" fn()>;

/// The hook that was installed before ours.
struct AtomicHook(core::cell::UnsafeCell<Hook>);

// SAFETY: set once in the postmaster while libraries are preloaded, then only
// read; a PostgreSQL process has one thread.
unsafe impl Sync for AtomicHook {}

impl AtomicHook {
    const fn new() -> Self {
        AtomicHook(core::cell::UnsafeCell::new(None))
    }

    fn set(&self, hook: Hook) {
        // SAFETY: see the Sync implementation.
        unsafe { *self.0.get() = hook }
    }

    /// Call the previous hook, if there is one.
    fn call(&self) {
        // SAFETY: see the Sync implementation; the hook belongs to a library
        // that stays loaded.
        unsafe {
            if let Some(hook) = *self.0.get() {
                #[allow(ffi_unwind_calls, reason = "protected by pg_guard_ffi_boundary")]
                pg_sys::ffi::pg_guard_ffi_boundary(|| hook());
            }
        }
    }
}

/// Ask for shared memory and install the hooks. Only while libraries are
/// preloaded.
pub fn init() {
    // SAFETY: hooks are plain pointers, changed by one process before it forks.
    unsafe {
        PREVIOUS_REQUEST.set(pg_sys::shmem_request_hook);
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP.set(pg_sys::shmem_startup_hook);
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

fn size() -> usize {
    size_of::<Control>().next_multiple_of(128) + crate::guc::shared_memory()
}

#[pg_guard]
unsafe extern "C-unwind" fn request() {
    PREVIOUS_REQUEST.call();
    // SAFETY: called from the request hook, where both are allowed
    // (storage/ipc/ipci.c).
    unsafe {
        pg_sys::RequestAddinShmemSpace(size());
        pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), 1);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn startup() {
    PREVIOUS_STARTUP.call();
    let mut found = false;
    // SAFETY: ShmemInitStruct returns `size` bytes of the main segment,
    // cache-line aligned, zeroed when new (storage/ipc/shmem.c); it raises an
    // error rather than returning NULL. AddinShmemInitLock is not needed: the
    // postmaster is alone when it builds shared memory, and a child only finds.
    let control = unsafe {
        let ptr = pg_sys::ShmemInitStruct(NAME.as_ptr(), size(), &mut found).cast::<Control>();
        if !found {
            // A new segment is zeroed by the kernel; only what we read at once
            // must not depend on it.
            core::ptr::write_bytes(ptr, 0, 1);
            let lock = pg_sys::GetNamedLWLockTranche(NAME.as_ptr());
            Control::init(ptr, &raw mut (*lock).lock, crate::guc::shared_memory());
        }
        ptr
    };
    CONTROL.store(control, Ordering::Release);
}

/// The control block; `None` if walker was not preloaded.
pub fn control() -> Option<&'static Control> {
    // SAFETY: set by the startup hook to shared memory that outlives every
    // process that can see it; all of it is atomics.
    unsafe { CONTROL.load(Ordering::Acquire).as_ref() }
}
