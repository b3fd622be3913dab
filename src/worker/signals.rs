//! Signals of the worker.
//!
//! SIGTERM is a request that the loop serves between two records, because the
//! plugins' state should be written before the process ends. Only if one call of
//! a plugin lasts long after that does the server's own `die` come in as well
//! (see `watch`): it makes the next CHECK_FOR_INTERRUPTS of a plugin that loops
//! end the process.

use crate::compat::{self, raw};
use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use pgrx::prelude::*;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// SIGTERM has come.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// Install the handlers and let signals in.
pub fn install() {
    // SAFETY: both handlers only set flags and latches. SIGUSR1 stays what
    // the postmaster made it, procsignal_sigusr1_handler: barriers need it.
    // SIGINT, which BackgroundWorkerMain has cancel a query, finds none to cancel:
    // it would end the worker, or a plugin that is at work.
    unsafe {
        compat::pqsignal(SIGINT, ignore);
        compat::pqsignal(SIGHUP, raw::SignalHandlerForConfigReload);
        compat::pqsignal(SIGTERM, terminate);
        compat::pqsignal(10, raw::procsignal_sigusr1_handler);
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

unsafe extern "C-unwind" fn ignore(_signo: c_int) {}

/// Runs in a signal handler: nothing here allocates, locks or panics.
unsafe extern "C-unwind" fn terminate(_signo: c_int) {
    unsafe extern "C" {
        fn __errno_location() -> *mut c_int;
    }
    TERMINATED.store(true, Relaxed);
    leave();
    // SAFETY: this thread's errno, at which what was interrupted may be about to
    // look (only from 17 on does pqsignal see to it); and the handler is
    // installed in the worker alone, whose latch it sets.
    unsafe {
        let errno = *__errno_location();
        set_latch();
        *__errno_location() = errno;
    }
}

/// # Safety
/// The process has its latch.
unsafe fn set_latch() {
    unsafe extern "C-unwind" {
        fn SetLatch(latch: *mut pg_sys::Latch);
    }
    // SAFETY: SetLatch is async-signal-safe (storage/ipc/latch.c). Called raw:
    // pgrx's wrapper is not made for signal handlers.
    #[allow(ffi_unwind_calls, reason = "SetLatch raises nothing")]
    unsafe {
        if !pg_sys::MyLatch.is_null() {
            SetLatch(pg_sys::MyLatch);
        }
    }
}

/// Whether SIGTERM has come, be it long ago.
pub fn terminated() -> bool {
    TERMINATED.load(Relaxed)
}

/// Whether the worker was asked to end, or leaves for another reason.
pub fn shutdown_requested() -> bool {
    // SAFETY: a flag of the server.
    unsafe { (&raw const pg_sys::ShutdownRequestPending).read_volatile() != 0 }
}

/// Whether somebody set our latch, for whoever did not wait for it; it is reset.
pub fn woken() -> bool {
    // SAFETY: our own latch. Whoever resets it looks at everything again that
    // it may have been set for (storage/ipc/latch.c), which the caller does.
    unsafe {
        let latch = pg_sys::MyLatch;
        let set = (&raw const (*latch).is_set).read_volatile() != 0;
        if set {
            pg_sys::ResetLatch(latch);
        }
        set
    }
}

/// The worker leaves, for whatever reason: plugins write what they have.
pub fn leave() {
    // SAFETY: a flag of the server.
    unsafe { (&raw mut pg_sys::ShutdownRequestPending).write_volatile(1) }
}

/// Have the next CHECK_FOR_INTERRUPTS of the plugin that is running end the
/// process. May be called in a signal handler.
pub fn end_plugin() {
    // SAFETY: made for signal handlers (die in tcop/postgres.c).
    #[allow(ffi_unwind_calls, reason = "die only sets flags and the latch")]
    unsafe {
        raw::die(SIGTERM);
    }
}

/// Whether the configuration changed; clears the request.
pub fn reload_requested() -> bool {
    // SAFETY: a flag of the server.
    unsafe {
        let flag = &raw mut pg_sys::ConfigReloadPending;
        let was = flag.read_volatile() != 0;
        // Only then: one that comes in between must not be lost.
        if was {
            flag.write_volatile(0);
        }
        was
    }
}

/// A plugin's call came back, of which `die` may have been asked for: that is to
/// end neither the next one's nor, with a message on the way out, the worker,
/// which still leaves by its own way.
#[inline]
pub fn came_back() {
    if shutdown_requested() {
        // SAFETY: a flag of the server.
        unsafe { (&raw mut pg_sys::ProcDiePending).write_volatile(0) }
    }
}

/// Serve interrupts: barriers, memory context logging, and the like.
pub fn serve() {
    // SAFETY: between two records nothing is held. After SIGTERM the timer may
    // have asked for `die` while a plugin was running; we leave by our own way.
    unsafe {
        came_back();
        if (&raw const pg_sys::InterruptPending).read_volatile() != 0 {
            pg_sys::ProcessInterrupts();
        }
    }
}
