//! A short text in shared memory.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// At most `N` bytes of text. The bytes are atomics, so a race can garble a
/// text but is never undefined; writers and readers hold the control block's
/// lock, so it is not even garbled.
#[repr(C)]
pub struct Text<const N: usize> {
    len: AtomicU32,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Text<N> {
    pub(super) fn set(&self, text: &str) {
        // Cut at a character boundary.
        let mut len = text.len().min(N);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        for (to, from) in self.bytes.iter().zip(text.as_bytes()) {
            to.store(*from, Ordering::Relaxed);
        }
        self.len.store(len as u32, Ordering::Relaxed);
    }

    /// Whether the text is `other`; allocates nothing.
    pub(super) fn is(&self, other: &str) -> bool {
        self.len.load(Ordering::Relaxed) as usize == other.len()
            && self
                .bytes
                .iter()
                .zip(other.as_bytes())
                .all(|(a, b)| a.load(Ordering::Relaxed) == *b)
    }

    /// Its bytes and how many of them count; allocates nothing.
    pub(super) fn copy(&self) -> ([u8; N], usize) {
        let bytes = self.bytes.each_ref().map(|b| b.load(Ordering::Relaxed));
        (bytes, (self.len.load(Ordering::Relaxed) as usize).min(N))
    }
}
