//! A failed allocation ends the process in order.
//!
//! Where memory cannot be had, palloc raises an ERROR and `try_reserve` returns
//! one. All other Rust code calls `handle_alloc_error`, and that ends in
//! `abort()`: a SIGABRT, for which the postmaster restarts every session. So
//! `abort()` is replaced, in this library alone: if the last thing this process
//! asked for was memory, and it got none, the process leaves by FATAL, as the
//! server's own code does where an ERROR cannot be caught. The worker is then
//! started anew; of a session, only that session ends.
//!
//! What makes that right:
//!
//! * The linker does it (`--wrap=abort` in build.rs), for calls from this
//!   library only. The server's abort, for a failed assertion or a PANIC, is
//!   not concerned, nor is any other library's, and no signal handler changes.
//! * It is an ordinary call on an ordinary stack. malloc has returned, so
//!   nothing of it is locked; glibc's abort has not been entered.
//! * It cannot be a panic: the allocator must not unwind, and abort's callers
//!   do not expect it. FATAL never jumps: errfinish calls proc_exit, and while
//!   a FATAL is being reported every further ERROR is one, too (errstart).
//! * In a critical section errstart makes PANIC of it, as must be.
//! * A failure while the process exits goes on with the exit callbacks that
//!   are left: proc_exit takes each off its list before it is called.
//! * Whoever asked for memory that he can do without (`try_reserve`) goes on
//!   and allocates again, which wipes out the note. A panic allocates too, so
//!   an abort for any other reason is an abort still.
//! * Between the failure and abort the standard library allocates only to print
//!   a backtrace (`default_alloc_error_hook` in std/src/alloc.rs), which is
//!   therefore switched off.
//! * Threads of our own must not touch the server: for them, too, abort it is.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::alloc::{GlobalAlloc, Layout, System};

unsafe extern "C" {
    // utils/error/elog.c. Declared here because pgrx's own are wrapped for
    // errors that jump, and allocate.
    fn errstart(elevel: c_int, domain: *const c_char) -> bool;
    fn errcode(sqlerrcode: c_int) -> c_int;
    fn errmsg(format: *const c_char, ...) -> c_int;
    fn errdetail(format: *const c_char, ...) -> c_int;
    fn errhint(format: *const c_char, ...) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    /// `storage/ipc/ipc.c`
    fn proc_exit(code: c_int) -> !;
}

/// Size of the allocation that failed last on the main thread, if it has had
/// none since; else 0.
static FAILED: AtomicUsize = AtomicUsize::new(0);
/// How often the process has begun to leave.
static LEAVING: AtomicU32 = AtomicU32::new(0);
/// More often than this it cannot be: each time one of at most sixty exit
/// callbacks (MAX_ON_EXITS, of three kinds) is done with.
const MOST: u32 = 64;

/// The allocator of every library that is linked with this crate: the
/// system's, and it remembers a failure.
struct Noting;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

// SAFETY: everything is passed on to `System` as it came.
unsafe impl GlobalAlloc for Noting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        note(unsafe { System.alloc(layout) }, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        note(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    #[inline]
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        note(unsafe { System.realloc(old, layout, size) }, size)
    }

    #[inline]
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(old, layout) }
    }
}

#[inline]
fn note(got: *mut u8, size: usize) -> *mut u8 {
    if got.is_null() {
        remember(size.max(1));
    } else if FAILED.load(Relaxed) != 0 {
        remember(0);
    }
    got
}

#[cold]
fn remember(size: usize) {
    if !on_main_thread() {
        return;
    }
    FAILED.store(size, Relaxed);
    if size != 0 {
        // SAFETY: a C string; takes no memory. Not by std::env, whose lock is
        // held while it allocates. No thread of ours looks at the environment.
        unsafe { libc::unsetenv(c"RUST_BACKTRACE".as_ptr()) };
    }
}

fn on_main_thread() -> bool {
    // SAFETY: two system calls that cannot fail.
    unsafe { libc::getpid() == libc::gettid() }
}

thread_local! {
    static TOUCHED: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
}

/// Have the memory that this library's thread-local variables take, before
/// anything else is done with it. The dynamic loader takes it at their first
/// use, and ends the process by its own means, for which the postmaster
/// restarts every session, if there is none.
pub fn prepare() {
    /// Far more than the variables, and what the loader notes about them, take.
    const ROOM: usize = 64 * 1024;
    if TOUCHED_ONCE.swap(true, Relaxed) {
        return;
    }
    let Ok(layout) = Layout::from_size_align(ROOM, 16) else {
        return;
    };
    // SAFETY: a layout that is not empty, and its own allocation. What is
    // freed here is there for the loader: nothing else runs between.
    unsafe {
        let room = core::hint::black_box(System.alloc(layout));
        if room.is_null() {
            fatal(ROOM);
        }
        System.dealloc(room, layout);
    }
    TOUCHED.with(|touched| core::hint::black_box(touched).set(true));
}

static TOUCHED_ONCE: AtomicBool = AtomicBool::new(false);

/// What this library calls instead of `abort`.
#[unsafe(no_mangle)]
extern "C" fn __wrap_abort() -> ! {
    let size = FAILED.swap(0, Relaxed);
    if size != 0 && on_main_thread() {
        let times = LEAVING.fetch_add(1, Relaxed);
        if times == 0 {
            fatal(size);
        }
        if times < MOST {
            say(b"FATAL:  out of memory while the process was leaving for lack of it\n");
            // SAFETY: goes on where the first call stood, see above.
            unsafe { proc_exit(1) };
        }
    }
    abort()
}

/// `ereport(FATAL)`, without an allocation of ours. What the report itself
/// needs comes from ErrorContext, which keeps memory for that.
fn fatal(size: usize) -> ! {
    const FATAL: c_int = pgrx::PgLogLevel::FATAL as c_int;
    const FILE: &core::ffi::CStr = c"walker-plugin/src/memory.rs";
    let code = pgrx::PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY as c_int;
    // SAFETY: the calls ereport makes (utils/elog.h), on the main thread;
    // constant formats, with the one argument they ask for. None of them jumps
    // past us, see above.
    unsafe {
        if errstart(FATAL, core::ptr::null()) {
            errcode(code);
            errmsg(c"out of memory".as_ptr());
            errdetail(
                c"Failed on request of size %zu outside of memory contexts.".as_ptr(),
                size,
            );
            errhint(c"Only this process ends; the others go on.".as_ptr());
            errfinish(FILE.as_ptr(), line!() as c_int, c"abort".as_ptr());
        }
        // Not reached.
        proc_exit(1)
    }
}

/// The real end, as abort(3) brings it about; that name leads here.
fn abort() -> ! {
    // SAFETY: the server never blocks SIGABRT (pqinitmask in libpq/pqsignal.c)
    // nor handles it. Whoever does has returned from it: then it is a status
    // that the postmaster takes for a crash, too.
    unsafe {
        libc::raise(libc::SIGABRT);
        libc::_exit(127)
    }
}

fn say(line: &[u8]) {
    // SAFETY: the bytes are ours; the log is where stderr goes.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}

/// What this library calls instead of `__cxa_thread_atexit_impl`, by which the
/// standard library asks for a thread-local variable to be dropped with its
/// thread. glibc calls abort itself if it has no memory for the request. The
/// main thread's variables end with the process, and need no request.
///
/// # Safety
/// As for the original.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap___cxa_thread_atexit_impl(
    drop: unsafe extern "C" fn(*mut c_void),
    object: *mut c_void,
    library: *mut c_void,
) -> c_int {
    type Original =
        unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, *mut c_void) -> c_int;
    if on_main_thread() {
        return 0;
    }
    // SAFETY: the C library has it, with this type; the caller's promise.
    unsafe {
        let found = libc::dlsym(core::ptr::null_mut(), c"__cxa_thread_atexit_impl".as_ptr());
        match core::mem::transmute::<*mut c_void, Option<Original>>(found) {
            Some(original) => original(drop, object, library),
            None => 0,
        }
    }
}
