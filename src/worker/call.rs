//! A call of a plugin's code: watched, guarded, its memory counted and given back.

use super::{crash, watch};
use crate::memory;
use crate::plugin::current::Callback;
use crate::shared;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use pgrx::prelude::*;
use walker_plugin::wal::Lsn;

/// Call a plugin; an ERROR from it becomes our panic, with the callback still
/// marked as running.
pub(super) fn call<R>(plugin: u32, callback: Callback, lsn: Lsn, f: impl FnOnce() -> R) -> R {
    let before = memory::before();
    watch::enter(plugin, callback, lsn);
    // What it allocates while it starts may be meant to last.
    let lasts = matches!(callback, Callback::Startup | Callback::StartLsn);
    // SAFETY: `f` does nothing but the call; after an ERROR from it the process
    // ends, whatever context is current.
    let result = unsafe {
        if !lasts {
            pg_sys::CurrentMemoryContext = call_context();
        }
        pg_sys::ffi::pg_guard_ffi_boundary(f)
    };
    if !lasts {
        // SAFETY: our own context, which is no longer current; its children go with
        // it.
        unsafe {
            pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
            pg_sys::MemoryContextReset(call_context());
        }
    }
    watch::leave();
    memory::after(plugin, before);
    worked(plugin, callback);
    crash::came_back(plugin, callback);
    result
}

/// The context that is current in plugins' callbacks once they have started, and
/// is emptied after each.
pub(super) fn call_context() -> pg_sys::MemoryContext {
    static CONTEXT: AtomicPtr<pg_sys::MemoryContextData> = AtomicPtr::new(core::ptr::null_mut());
    let made = CONTEXT.load(Relaxed);
    if !made.is_null() {
        return made;
    }
    // SAFETY: a child of TopMemoryContext, for the life of the process.
    let context = unsafe {
        pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"walker plugin call".as_ptr(),
            0,
            8 * 1024,
            8 * 1024 * 1024,
        )
    };
    CONTEXT.store(context, Relaxed);
    context
}

/// A callback without a record came back: its failures in a row are over.
#[inline]
fn worked(plugin: u32, callback: Callback) {
    let status = shared::control().and_then(|c| c.plugins.get(plugin as usize));
    if let Some(status) = status
        && status.failures.load(Relaxed) != 0
        && status.failed_callback.load(Relaxed) == callback as u32
    {
        status.failures.store(0, Relaxed);
    }
}
