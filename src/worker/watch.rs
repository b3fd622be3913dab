//! A timer that notices callbacks that do not come back.
//!
//! The worker cannot look after itself while a plugin's code is running, so a
//! timer's signal handler does: once a second it compares what runs with what
//! ran before, shows a call that is still the same in `walker_plugins`, and
//! writes a line to the log every ten seconds. The line goes straight to
//! standard error, which is the log or its collector: a signal handler may
//! neither allocate nor take locks, so it cannot use ereport.
//!
//! After SIGTERM the worker leaves and lets plugins write what they have. One that
//! does not come back must not keep the server from stopping: after a while the
//! next CHECK_FOR_INTERRUPTS ends it. Not at once, for that would take the last
//! state from plugins that were just at work.

use crate::compat::{USER_TIMEOUT, raw};
use crate::plugin::current::{self, Callback, Running};
use crate::shared::{self, Control};
use crate::worker::signals;
use core::cell::Cell;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use walker_plugin::wal::Lsn;

const TICK_MS: i32 = 1000;
const SECOND: i64 = 1_000_000;
/// Time between two lines in the log.
const WARN_SECONDS: i64 = 10;
/// How long one call may take from the tick on that first sees that SIGTERM has
/// come: one that writes state, and any other, to the next tick.
const WRITE_PATIENCE: i64 = 10 * SECOND;
const CALL_PATIENCE: i64 = SECOND / 2;

static ID: AtomicI32 = AtomicI32::new(-1);
static ON: AtomicBool = AtomicBool::new(false);
static LAST: Last = Last(Cell::new(None));

/// What ran at the last tick, since when, when that was last logged, and when it
/// was first seen that it should end.
#[derive(Clone, Copy)]
struct Seen {
    running: Running,
    since: i64,
    warned: i64,
    should_end: Option<i64>,
}

struct Last(Cell<Option<Seen>>);

// SAFETY: used by the timer's handler, which does not interrupt itself, and by
// `off`, when the timer cannot fire any more.
unsafe impl Sync for Last {}

/// Register the timer. Once, in the worker.
pub fn init() {
    // SAFETY: a free ID is asked for (utils/misc/timeout.c); the handler is
    // safe to run in a signal handler.
    #[allow(ffi_unwind_calls, reason = "raises FATAL only if no ID is free")]
    let id = unsafe { raw::RegisterTimeout(USER_TIMEOUT, tick) };
    ID.store(id, Relaxed);
}

/// Let the timer run.
#[inline]
pub fn on() {
    if ON.load(Relaxed) || ID.load(Relaxed) < 0 {
        return;
    }
    ON.store(true, Relaxed);
    // SAFETY: our own timeout. If the timer's last signal is still to come,
    // no system call is made (schedule_alarm).
    #[allow(ffi_unwind_calls, reason = "raises FATAL only if setitimer fails")]
    unsafe {
        let first = raw::GetCurrentTimestamp() + i64::from(TICK_MS) * 1000;
        raw::enable_timeout_every(ID.load(Relaxed), first, TICK_MS);
    }
}

/// Stop it; no plugin code is running.
#[inline]
pub fn off() {
    if !ON.swap(false, Relaxed) {
        return;
    }
    // SAFETY: our own timeout, which is enabled.
    #[allow(ffi_unwind_calls, reason = "raises nothing")]
    unsafe {
        raw::disable_timeout(ID.load(Relaxed), false);
    }
    LAST.0.set(None);
    if let Some(control) = shared::control() {
        clear(control);
    }
}

/// Code of a plugin begins to run, and is watched.
pub fn enter(plugin: u32, callback: Callback, lsn: Lsn) {
    on();
    current::enter(plugin, callback, lsn);
}

/// It came back.
pub fn leave() {
    current::leave();
    signals::came_back();
}

/// Nothing has been running for long.
pub fn clear(control: &Control) {
    control.running_since.store(0, Relaxed);
}

/// Runs in a signal handler: nothing here allocates, locks or panics.
unsafe extern "C-unwind" fn tick() {
    let Some(control) = shared::control() else {
        return;
    };
    // SAFETY: reads the clock.
    #[allow(ffi_unwind_calls, reason = "raises nothing")]
    let now = unsafe { raw::GetCurrentTimestamp() };
    let Some(running) = current::running() else {
        LAST.0.set(None);
        clear(control);
        return;
    };
    let mut seen = match LAST.0.get() {
        Some(seen) if seen.running == running => {
            show(control, &running, seen.since);
            seen
        }
        _ => {
            clear(control);
            Seen {
                running,
                since: now,
                warned: now,
                should_end: None,
            }
        }
    };
    if now - seen.warned >= WARN_SECONDS * SECOND {
        warn(&running, (now - seen.since) / SECOND);
        seen.warned = now;
    }
    if signals::terminated() {
        let first = *seen.should_end.get_or_insert(now);
        if now - first >= patience(running.callback) {
            signals::end_plugin();
        }
    }
    LAST.0.set(Some(seen));
}

/// How long a call may take when the worker has to leave.
fn patience(callback: Callback) -> i64 {
    match callback {
        Callback::Flush | Callback::Poll | Callback::Shutdown => WRITE_PATIENCE,
        _ => CALL_PATIENCE,
    }
}

fn show(control: &Control, running: &Running, since: i64) {
    control.running_plugin.store(running.plugin, Relaxed);
    control
        .running_callback
        .store(running.callback as u32, Relaxed);
    control.running_lsn.store(running.lsn.0, Relaxed);
    control.running_since.store(since, Relaxed);
}

/// A line in the log, made without allocating.
fn warn(running: &Running, seconds: i64) {
    unsafe extern "C" {
        fn write(fd: i32, from: *const u8, n: usize) -> isize;
    }
    let mut line = Line {
        bytes: [0; 256],
        len: 0,
    };
    let _ = write!(
        line,
        "WARNING:  walker plugin \"{}\" has been busy for {seconds} s: callback {}",
        current::name(running.plugin),
        running.callback.name(),
    );
    if let Some(rmid) = running.rmid {
        let _ = write!(line, ", resource manager {rmid}");
    }
    let _ = writeln!(line, ", LSN {}", running.lsn);
    // SAFETY: write(2) is async-signal-safe; the bytes are ours.
    unsafe { write(2, line.bytes.as_ptr(), line.len) };
}

/// Text of limited length; what is too long is cut.
struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(text.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}
