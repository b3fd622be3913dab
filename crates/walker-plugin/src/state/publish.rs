//! Putting a complete state in its place, durably, while WAL is read on.
//!
//! A disk may take seconds for one fsync, and a plugin's callbacks must not
//! wait for it: WAL would not be read meanwhile, and barriers not be answered.
//! So a thread of its own waits. It touches nothing of the server's: it calls
//! none of its functions, and takes no signal, for the server's handlers
//! belong to the main thread. Nor does it allocate, or use anything that may,
//! the standard library included: with no memory a thread can end neither
//! itself nor the process in order. What it needs is made before it starts.

use super::polite::serve_barrier;
use super::{DIRECTORY, StateError};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicI32, Ordering};
use pgrx::pg_sys;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use walker_wal::Lsn;

/// The jobs that are not done. Only the main thread looks here.
static AT_WORK: Mutex<Vec<Arc<Job>>> = Mutex::new(Vec::new());

/// Whether somebody is still at work on a temporary file. A process may leave
/// nevertheless: the thread goes with it, and so does the file.
pub(super) fn is_at_work(temp: &Path) -> bool {
    let mut jobs = AT_WORK.lock().unwrap_or_else(|e| e.into_inner());
    jobs.retain(|job| job.result().is_none());
    jobs.iter().any(|job| job.temp_path == temp)
}

/// [`Job::done`] before it is. `errno` is positive, and 0 is success.
const NOT_YET: i32 = -1;

/// What is left to do for a state that is complete.
struct Job {
    file: File,
    /// Where it is; a name is as durable as the directory it is in.
    directory: File,
    temp_path: PathBuf,
    temp: CString,
    path: CString,
    /// Whether to wait for the disk at all: as the server itself does.
    sync: bool,
    done: AtomicI32,
}

impl Job {
    /// Runs in the thread: system calls, and nothing else.
    fn run(&self) {
        // SAFETY: the descriptors are open and the strings live as long as the
        // job, which the caller keeps until it is done.
        let errno = unsafe {
            let done = (!self.sync || libc::fsync(self.file.as_raw_fd()) == 0)
                && libc::rename(self.temp.as_ptr(), self.path.as_ptr()) == 0
                && (!self.sync || libc::fsync(self.directory.as_raw_fd()) == 0);
            match done {
                true => 0,
                false => {
                    let errno = *libc::__errno_location();
                    // Without a name already if it was the directory.
                    libc::unlink(self.temp.as_ptr());
                    errno.max(1)
                }
            }
        };
        self.done.store(errno, Ordering::Release);
    }

    fn result(&self) -> Option<io::Result<()>> {
        match self.done.load(Ordering::Acquire) {
            NOT_YET => None,
            0 => Some(Ok(())),
            errno => Some(Err(io::Error::from_raw_os_error(errno))),
        }
    }
}

/// A state that is complete, and on its way into the place of the old one.
/// Records may be taken meanwhile; it stays the state of its position.
pub struct SealedState {
    lsn: Lsn,
    job: Arc<Job>,
}

impl SealedState {
    pub(super) fn new(
        file: File,
        temp: &Path,
        path: &Path,
        lsn: Lsn,
    ) -> Result<SealedState, StateError> {
        let name = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes());
        let job = Arc::new(Job {
            file,
            directory: File::open(DIRECTORY)?,
            temp_path: temp.to_owned(),
            temp: name(temp).map_err(io::Error::from)?,
            path: name(path).map_err(io::Error::from)?,
            // SAFETY: a setting of the server (access/transam/xlog.c).
            sync: unsafe { pg_sys::enableFsync },
            done: AtomicI32::new(NOT_YET),
        });
        let mut jobs = AT_WORK.lock().unwrap_or_else(|e| e.into_inner());
        jobs.retain(|job| job.result().is_none());
        jobs.push(Arc::clone(&job));
        drop(jobs);
        if !start_thread(&job) {
            job.run();
        }
        Ok(SealedState { lsn, job })
    }

    /// The position, once it is durable and in its place; `None` as long as it
    /// is not.
    pub fn published(&self) -> Option<Result<Lsn, StateError>> {
        let done = self.job.result()?;
        Some(done.map(|()| self.lsn).map_err(StateError::Io))
    }

    /// Wait until it is durable and in its place, but no longer than
    /// `patience`; barriers are answered.
    pub fn wait(&self, patience: Duration) -> Option<Result<Lsn, StateError>> {
        let started = Instant::now();
        let mut pause = Duration::from_micros(50);
        loop {
            let done = self.published();
            if done.is_some() || started.elapsed() >= patience {
                return done;
            }
            serve_barrier();
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

/// Have a job done by a thread that ends with it. False if there is none to be
/// had.
fn start_thread(job: &Arc<Job>) -> bool {
    extern "C" fn work(job: *mut c_void) -> *mut c_void {
        // SAFETY: AT_WORK has the job until it is done; it is not touched
        // after that.
        unsafe { &*job.cast::<Job>() }.run();
        core::ptr::null_mut()
    }
    /// Room for the thread-local variables of all libraries, too.
    const STACK: usize = 512 << 10;
    let job = Arc::as_ptr(job).cast_mut().cast::<c_void>();
    without_signals(|| {
        // SAFETY: the attributes are made before they are used
        // (pthread_create(3)); `work` is as it must be, and the job lives.
        unsafe {
            let mut attributes: libc::pthread_attr_t = core::mem::zeroed();
            let mut thread: libc::pthread_t = core::mem::zeroed();
            let made: c_int = libc::pthread_attr_init(&mut attributes);
            if made != 0 {
                return false;
            }
            libc::pthread_attr_setstacksize(&mut attributes, STACK);
            libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
            let started = libc::pthread_create(&mut thread, &attributes, work, job) == 0;
            libc::pthread_attr_destroy(&mut attributes);
            started
        }
    })
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
