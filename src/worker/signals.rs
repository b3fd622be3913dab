//! Signals of the worker.
//!
//! SIGTERM is a request that the loop serves between two records, because the
//! plugins' state should be written before the process ends. Only if plugin
//! code is running does the server's own `die` come in as well: it makes the
//! next CHECK_FOR_INTERRUPTS of a plugin that loops end the process.

use crate::compat::{self, raw};
use crate::plugin::current;
use core::ffi::c_int;
use pgrx::prelude::*;

const SIGHUP: i32 = 1;
const SIGTERM: i32 = 15;

/// Install the handlers and let signals in.
pub fn install() {
    // SAFETY: both handlers only set flags and latches. SIGUSR1 stays what
    // the postmaster made it, procsignal_sigusr1_handler: barriers need it.
    unsafe {
        compat::pqsignal(SIGHUP, raw::SignalHandlerForConfigReload);
        compat::pqsignal(SIGTERM, terminate);
        compat::pqsignal(10, raw::procsignal_sigusr1_handler);
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Runs in a signal handler: nothing here allocates, locks or panics.
unsafe extern "C-unwind" fn terminate(signo: c_int) {
    // SAFETY: a flag, and functions that are made for signal handlers
    // (SignalHandlerForShutdownRequest, die).
    #[allow(ffi_unwind_calls, reason = "die only sets flags and the latch")]
    unsafe {
        (&raw mut pg_sys::ShutdownRequestPending).write_volatile(1);
        if current::in_plugin() {
            raw::die(signo);
        } else {
            set_latch();
        }
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

/// Whether the worker was asked to end.
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

/// Whether the configuration changed; clears the request.
pub fn reload_requested() -> bool {
    // SAFETY: a flag of the server.
    unsafe {
        let flag = &raw mut pg_sys::ConfigReloadPending;
        let was = flag.read_volatile() != 0;
        flag.write_volatile(0);
        was
    }
}

/// Forget that `die` was asked for: the process is leaving anyway, and a
/// message on the way out would otherwise end it as an error.
pub fn forgive() {
    // SAFETY: a flag of the server.
    unsafe { (&raw mut pg_sys::ProcDiePending).write_volatile(0) }
}

/// Serve interrupts: barriers, memory context logging, and the like.
pub fn serve() {
    // SAFETY: between two records nothing is held. A SIGTERM that came while
    // a plugin was running also asked for `die`; we leave by our own way.
    unsafe {
        if shutdown_requested() {
            (&raw mut pg_sys::ProcDiePending).write_volatile(0);
        }
        if (&raw const pg_sys::InterruptPending).read_volatile() != 0 {
            pg_sys::ProcessInterrupts();
        }
    }
}
