//! A plugin's part of walker's shared memory.

use core::sync::atomic::AtomicU64;

/// A named piece of shared memory, seen as 64-bit atomics so that no process
/// can read a torn value and no safe code can make a data race.
#[derive(Clone, Copy)]
pub struct SharedArea {
    words: &'static [AtomicU64],
}

impl SharedArea {
    /// # Safety
    /// `ptr` must be a part of the server's main shared memory segment, 8-byte
    /// aligned, `bytes` long, never unmapped while the process lives, and only
    /// ever accessed atomically.
    pub(crate) unsafe fn new(ptr: *mut core::ffi::c_void, bytes: usize) -> Self {
        // SAFETY: the caller's promise; AtomicU64 has the layout of u64 and
        // any bit pattern is valid.
        let words = unsafe { core::slice::from_raw_parts(ptr.cast::<AtomicU64>(), bytes / 8) };
        SharedArea { words }
    }

    /// The area's words.
    pub fn words(&self) -> &'static [AtomicU64] {
        self.words
    }
}
