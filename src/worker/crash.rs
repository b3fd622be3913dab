//! Plugins that crash: their process ends by a signal, and nothing is cleaned up.
//!
//! The postmaster ends all sessions then and makes shared memory anew, and with it
//! all that was counted of failures; the worker is back at once, at the same record.
//! So whose callback it was is noted in a file, by a handler of the signal: what a
//! process has written, a crash of it does not harm. One that crashes twice is left
//! out, until `walker_restart()`; if it gets over what it crashed at, and a worker has
//! run for a minute, that is forgotten.

use super::failure;
use crate::guc::{self, MAX_PLUGINS};
use crate::plugin::current::{self, Callback, Running};
use crate::shared::Control;
use core::ffi::{c_int, c_void};
use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Mutex;
use std::time::UNIX_EPOCH;
use walker_plugin::state::{DIRECTORY, is_shortage, make_directory, new_file};
use walker_plugin::wal::Lsn;

/// In the data directory, where every process of the server works.
const NOTES: &core::ffi::CStr = c"pg_walker/crashes";
/// Until it takes the place of the other.
const NEW_NOTES: &str = "crashes.tmp";
/// As many bytes of notes are read, which is more than a hundred.
const MOST: u64 = 16 * 1024;
/// For the handler, which may have been called because there is no stack left.
const STACK: usize = 64 * 1024;
/// So often, and a plugin is left out. The second time the first was no chance.
pub(super) const MAX_CRASHES: usize = 2;

/// Which data directory this is: notes are copied with it, and say nothing of what
/// happens in the copy.
static PLACE: AtomicU64 = AtomicU64::new(0);
/// The mode the server gives its files.
static MODE: AtomicU32 = AtomicU32::new(0o600);
/// Plugins, a bit for each, whose `flush_cb` came back in this process.
static FLUSHED: AtomicU32 = AtomicU32::new(0);
const _: () = assert!(MAX_PLUGINS <= u32::BITS as usize);
/// What this process knows to be noted.
static KNOWN: Mutex<Vec<Crash>> = Mutex::new(Vec::new());

unsafe extern "C" {
    /// common/file_perm.c
    static pg_file_create_mode: c_int;
}

/// Whose callback it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Crash {
    /// The plugin.
    pub name: String,
    /// The callback.
    pub callback: Callback,
    /// The record, or the position.
    pub lsn: Lsn,
    /// The signal.
    pub signal: u32,
}

/// A crash as its line in the file says it: see `parse`.
struct Note<'a> {
    signal: u32,
    callback: Callback,
    lsn: Lsn,
    name: &'a str,
}

impl Note<'_> {
    /// In a signal handler: takes no memory.
    fn of(signal: c_int, running: &Running) -> Note<'static> {
        Note {
            signal: signal.unsigned_abs(),
            callback: running.callback,
            lsn: running.lsn,
            name: current::name(running.plugin),
        }
    }
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, callback) = (PLACE.load(Relaxed), self.callback as u32);
        let (signal, lsn, name) = (self.signal, self.lsn.0, self.name);
        write!(f, "{place:X} {signal} {callback} {lsn:X} {name}")
    }
}

impl Crash {
    fn note(&self) -> Note<'_> {
        Note {
            signal: self.signal,
            callback: self.callback,
            lsn: self.lsn,
            name: &self.name,
        }
    }

    /// "signal 11 in callback record at 0/1234"
    pub(super) fn describe(&self) -> String {
        let (signal, callback) = (self.signal, self.callback.name());
        format!("signal {signal} in callback {callback} at {}", self.lsn)
    }
}

/// Note from here on who crashes. SIGFPE is the server's: an ERROR.
pub(super) fn install() {
    // Without it there would be no place for notes, and plugins may not make it.
    if let Err(e) = make_directory() {
        ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_IO_ERROR,
            format!("walker could not make directory \"{DIRECTORY}\": {e}")
        );
    }
    let place = fs::metadata(DIRECTORY).map(|meta| {
        let born = meta.created().ok();
        let born = born.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        meta.ino()
            ^ born
                .map_or(0, |born| born.as_nanos() as u64)
                .rotate_left(32)
    });
    PLACE.store(place.unwrap_or(0), Relaxed);
    // SAFETY: the mode was set when the data directory was opened
    // (common/file_perm.c). Memory for the life of the process, of the size that is
    // said; the handler is one for sigaction(2) with SA_SIGINFO, and what it does is
    // allowed in one.
    unsafe {
        MODE.store(pg_file_create_mode as u32, Relaxed);
        let stack = libc::mmap(
            core::ptr::null_mut(),
            STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if stack != libc::MAP_FAILED {
            let stack = libc::stack_t {
                ss_sp: stack,
                ss_flags: 0,
                ss_size: STACK,
            };
            libc::sigaltstack(&raw const stack, core::ptr::null_mut());
        }
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = note as *const () as usize;
        // The second time, which is at once, it is what it would have been.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        libc::sigemptyset(&raw mut action.sa_mask);
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGABRT] {
            libc::sigaction(signal, &raw const action, core::ptr::null_mut());
        }
    }
}

/// Write who is running behind what was noted before, and end by the same signal.
unsafe extern "C" fn note(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    let mut line = Line::default();
    // SAFETY: sigaction(2) passes what it knows of the signal. getpid, gettid, open,
    // write, close and raise are async-signal-safe (signal-safety(7)).
    unsafe {
        // What the processor found, not what somebody sent, as the postmaster may
        // for another process's crash (send_abort_for_crash).
        let by_kernel = (*info).si_code > 0;
        let by_us = by_kernel || (*info).si_pid() == libc::getpid();
        // Another thread runs no plugin.
        if by_us
            && libc::getpid() == libc::gettid()
            && let Some(running) = current::running()
            && writeln!(line, "{}", Note::of(signal, &running)).is_ok()
        {
            let flags = libc::O_WRONLY
                | libc::O_APPEND
                | libc::O_CREAT
                | libc::O_CLOEXEC
                | libc::O_NOFOLLOW
                | libc::O_NONBLOCK;
            let file = libc::open(NOTES.as_ptr(), flags, MODE.load(Relaxed));
            if file >= 0 {
                libc::write(file, line.bytes.as_ptr().cast(), line.len);
                libc::close(file);
            }
        }
        // Else the same instruction ends the process, and the core has where it was.
        if !by_kernel {
            libc::raise(signal);
        }
    }
}

/// Text without memory of its own.
struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            bytes: [0; 256],
            len: 0,
        }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len.checked_add(text.len()).ok_or(fmt::Error)?;
        let to = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        to.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

fn path() -> &'static str {
    NOTES.to_str().unwrap_or_default()
}

/// The crashes that are noted, in their order. What is no note, or of another data
/// directory, is passed over.
pub(super) fn noted() -> Vec<Crash> {
    let mut text = Vec::new();
    // What is no plain file must neither be followed nor waited for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path());
    match file.and_then(|file| file.take(MOST).read_to_end(&mut text)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => complain(&e),
        _ => {}
    }
    let text = String::from_utf8_lossy(&text);
    let crashes: Vec<Crash> = text.lines().filter_map(parse).collect();
    if let Ok(mut known) = KNOWN.lock() {
        known.clone_from(&crashes);
    }
    crashes
}

/// The notes cannot be read. For want of a descriptor, or memory, that is no reason to
/// go on without.
fn complain(e: &io::Error) {
    let short = is_shortage(e);
    let report = ErrorReport::new(
        match short {
            true => PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            false => PgSqlErrorCode::ERRCODE_IO_ERROR,
        },
        format!("walker could not read file \"{}\": {e}", path()),
        "walker",
    );
    report.report(match short {
        true => PgLogLevel::ERROR,
        false => PgLogLevel::WARNING,
    });
}

fn parse(line: &str) -> Option<Crash> {
    let mut parts = line.splitn(5, ' ');
    let hex = |part: &str| u64::from_str_radix(part, 16).ok();
    if hex(parts.next()?)? != PLACE.load(Relaxed) {
        return None;
    }
    let signal = parts.next()?.parse().ok()?;
    let callback = Callback::from_u32(parts.next()?.parse().ok()?);
    let lsn = Lsn(hex(parts.next()?)?);
    Some(Crash {
        name: parts.next()?.to_owned(),
        callback,
        lsn,
        signal,
    })
}

/// A callback came back.
#[inline]
pub(super) fn came_back(plugin: u32, callback: Callback) {
    if callback == Callback::Flush {
        let flushed = FLUSHED.load(Relaxed) | 1u32.checked_shl(plugin).unwrap_or(0);
        FLUSHED.store(flushed, Relaxed);
    }
}

/// Whether a plugin that is not left out is over what it crashed at, in a worker that
/// has run for a minute. Neither a record nor a checkpoint need have come by then;
/// what else there is has, or would have.
fn is_over(control: &Control, crash: &Crash) -> bool {
    let mut rows = control.configured().iter();
    let Some(index) = rows.position(|row| control.text(&row.name) == crash.name) else {
        return true;
    };
    match crash.callback {
        Callback::Record => Lsn(control.plugins[index].applied_lsn.load(Relaxed)) > crash.lsn,
        Callback::Flush => FLUSHED.load(Relaxed) >> index & 1 != 0,
        _ => true,
    }
}

/// Forget what a plugin is over, if a worker has run for a minute since. Who is left
/// out for his crashes stays so.
pub(super) fn forget_if_calm(control: &Control) {
    let Ok(mut known) = KNOWN.lock() else { return };
    if known.is_empty() || !failure::is_calm() {
        return;
    }
    let kept: Vec<Crash> = known
        .iter()
        .filter(|crash| is_left_out(&crash.name, &known) || !is_over(control, crash))
        .cloned()
        .collect();
    if kept.len() == known.len() {
        return;
    }
    if let Err(e) = replace(&kept) {
        ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_IO_ERROR,
            format!("walker could not write file \"{}\": {e}", path())
        );
    }
    // Not each second, should that not work.
    *known = kept;
}

/// Whether the plugin crashed too often.
pub(super) fn is_left_out(name: &str, crashes: &[Crash]) -> bool {
    crashes.iter().filter(|crash| crash.name == name).count() >= MAX_CRASHES
}

/// Have these be all that is noted.
fn replace(crashes: &[Crash]) -> io::Result<()> {
    if crashes.is_empty() {
        return fs::remove_file(path());
    }
    let (mut file, new) = new_file(NEW_NOTES)?;
    for crash in crashes {
        writeln!(file, "{}", crash.note())?;
    }
    fs::rename(new, path())
}

/// Forget all crashes.
pub(super) fn forget() {
    match fs::remove_file(path()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_IO_ERROR,
            format!("walker could not remove file \"{}\": {e}", path())
        ),
        _ => {}
    }
}

/// Show crashes of before in the views of shared memory that was made anew, and say
/// so in the log.
pub(super) fn show(control: &Control, crashes: &[Crash]) {
    for (row, name) in control.plugins.iter().zip(guc::plugins()) {
        let of_it = || crashes.iter().filter(|crash| crash.name == name);
        let Some(last) = of_it().next_back() else {
            continue;
        };
        let message = format!("it crashed the server: {}", last.describe());
        row.errors.store(of_it().count() as u64, Relaxed);
        row.last_error_lsn.store(last.lsn.0, Relaxed);
        control.set_text(&row.last_error, &message);
        ereport!(
            WARNING,
            PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
            format!("walker plugin \"{name}\" crashed the server"),
            format!("The last time it was {}.", last.describe())
        );
    }
}
