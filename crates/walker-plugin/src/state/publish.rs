//! Putting a complete state in its place, durably, while WAL is read on.
//!
//! A disk may take seconds for one fsync, and a plugin's callbacks must not
//! wait for it: WAL would not be read meanwhile, and barriers not be answered.
//! So a thread of its own waits. It touches nothing of the server's: it calls
//! none of its functions, and takes no signal, for the server's handlers
//! belong to the main thread.

use super::polite::serve_barrier;
use super::{DIRECTORY, StateError};
use pgrx::pg_sys;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};
use walker_wal::Lsn;

/// The temporary files somebody is still at work on.
static AT_WORK: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Whether somebody is still at work on a temporary file. A process may leave
/// nevertheless: the thread goes with it, and so does the file.
pub(super) fn is_at_work(temp: &Path) -> bool {
    let list = AT_WORK.lock().unwrap_or_else(|e| e.into_inner());
    list.iter().any(|path| path == temp)
}

/// What is left to do for a state that is complete.
struct Job {
    file: File,
    temp: PathBuf,
    path: PathBuf,
    /// Whether to wait for the disk at all: as the server itself does.
    sync: bool,
}

impl Job {
    fn run(self) -> io::Result<()> {
        let result = self.make_durable();
        if result.is_err() {
            let _ = fs::remove_file(&self.temp);
        }
        let mut list = AT_WORK.lock().unwrap_or_else(|e| e.into_inner());
        list.retain(|path| *path != self.temp);
        result
    }

    fn make_durable(&self) -> io::Result<()> {
        if self.sync {
            self.file.sync_all()?;
        }
        fs::rename(&self.temp, &self.path)?;
        if self.sync {
            // The name is as durable as the directory it is in.
            File::open(DIRECTORY)?.sync_all()?;
        }
        Ok(())
    }
}

/// A state that is complete, and on its way into the place of the old one.
/// Records may be taken meanwhile; it stays the state of its position.
pub struct SealedState {
    lsn: Lsn,
    at_work: Option<JoinHandle<io::Result<()>>>,
    /// Nobody could be found to do it.
    done: Option<io::Result<()>>,
}

impl SealedState {
    pub(super) fn new(file: File, temp: PathBuf, path: PathBuf, lsn: Lsn) -> SealedState {
        let job = Job {
            file,
            temp,
            path,
            // SAFETY: a setting of the server (access/transam/xlog.c).
            sync: unsafe { pg_sys::enableFsync },
        };
        let mut list = AT_WORK.lock().unwrap_or_else(|e| e.into_inner());
        list.push(job.temp.clone());
        drop(list);
        let (at_work, done) = match start_thread(thread::current()) {
            Some((send, handle)) => match send.send(job) {
                Ok(()) => (Some(handle), None),
                Err(mpsc::SendError(job)) => (None, Some(job.run())),
            },
            None => (None, Some(job.run())),
        };
        SealedState { lsn, at_work, done }
    }

    /// The position, once it is durable and in its place; `None` as long as it
    /// is not.
    pub fn published(&mut self) -> Option<Result<Lsn, StateError>> {
        if self.at_work.as_ref().is_some_and(|t| !t.is_finished()) {
            return None;
        }
        let done = match self.at_work.take() {
            Some(thread) => joined(thread),
            None => self.done.take()?,
        };
        Some(done.map(|()| self.lsn).map_err(StateError::Io))
    }

    /// Wait until it is durable and in its place, but no longer than
    /// `patience`; barriers are answered.
    pub fn wait(&mut self, patience: Duration) -> Option<Result<Lsn, StateError>> {
        let started = Instant::now();
        loop {
            let done = self.published();
            if done.is_some() || started.elapsed() >= patience {
                return done;
            }
            serve_barrier();
            // The thread wakes us when it is done.
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

fn joined(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    let lost = || {
        Err(io::Error::other(
            "the thread that waits for the disk was lost",
        ))
    };
    thread.join().unwrap_or_else(|_| lost())
}

type Worker = (mpsc::SyncSender<Job>, JoinHandle<io::Result<()>>);

/// A thread that does one job and ends. `None` if the system has none left.
fn start_thread(waiting: Thread) -> Option<Worker> {
    const STACK: usize = 128 << 10;
    let (send, receive) = mpsc::sync_channel::<Job>(1);
    let work = move || {
        let done = receive.recv().map_or(Ok(()), Job::run);
        waiting.unpark();
        done
    };
    let spawned = without_signals(|| {
        let builder = thread::Builder::new().name("walker sync".into());
        builder.stack_size(STACK).spawn(work)
    });
    Some((send, spawned.ok()?))
}

/// Block all signals meanwhile: a thread inherits the mask of who starts it.
fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: both sets are filled before they are read; pthread_sigmask(3)
    // changes this thread's mask only, and puts back what it found. A signal
    // that comes in between is delivered then.
    unsafe {
        let mut all: libc::sigset_t = core::mem::zeroed();
        let mut before: libc::sigset_t = core::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, core::ptr::null_mut());
        result
    }
}
