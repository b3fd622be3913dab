//! The memory that WAL is read into, and that the XLogReader looks at.
//!
//! The reader is not given copies of pages but their places in here. It asks
//! for a page more than once, for more of it each time, and keeps pointers to
//! what it had before; it looks at no page any more once it has asked for
//! another. So a page has one place, which follows from its address, and what
//! was handed out of it is not written again before another page is asked for.

use walker_plugin::wal::{BLCKSZ, Lsn};

/// Size of the window. Divides every allowed segment size (1 MB and up). Less
/// costs system calls (with 32 kB an eighth of a walk that nobody takes records
/// of), more is not faster.
pub(super) const CHUNK: u64 = 256 * 1024;
const PAGES: usize = CHUNK as usize / BLCKSZ;

/// A WAL page, aligned as the reader's own buffer at least (MAXALIGN).
#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; BLCKSZ]);

/// A stretch of WAL within one aligned chunk.
pub(super) struct Window {
    pages: Vec<Page>,
    /// Begin of a page,
    start: Lsn,
    /// and where the stretch ends, in the same chunk.
    end: Lsn,
}

impl Window {
    /// Empty.
    pub(super) fn new() -> Window {
        Window {
            pages: vec![Page([0; BLCKSZ]); PAGES],
            start: Lsn(0),
            end: Lsn(0),
        }
    }

    /// Bytes there are from `page` on.
    #[inline]
    pub(super) fn have(&self, page: Lsn) -> usize {
        if page < self.start || page >= self.end {
            return 0;
        }
        bytes_between(self.end, page)
    }

    /// The place of a page, whether or not it is there.
    #[inline]
    pub(super) fn at(&mut self, page: Lsn) -> *mut u8 {
        let place = (page.0 % CHUNK) as usize;
        self.pages.as_mut_ptr().cast::<u8>().wrapping_add(place)
    }

    /// Keep what there is of `page` and behind it, and let all else go; the
    /// position from where it can be filled.
    pub(super) fn keep_only(&mut self, page: Lsn) -> Lsn {
        if self.have(page) == 0 {
            self.end = page;
        }
        self.start = page;
        self.end
    }

    /// Memory for what is missing between two positions of the chunk.
    pub(super) fn free(&mut self, from: Lsn, to: Lsn) -> &mut [u8] {
        let place = (from.0 % CHUNK) as usize;
        let len = bytes_between(to, from).min(CHUNK as usize - place);
        debug_assert!(from >= self.end, "what was handed out must stay");
        // SAFETY: within `pages`, which are plain bytes; the reader has no
        // pointer behind `end`.
        unsafe { core::slice::from_raw_parts_mut(self.at(from), len) }
    }

    /// There is WAL up to here now.
    pub(super) fn filled(&mut self, to: Lsn) {
        self.end = to;
    }
}

/// Bytes between two positions of a chunk.
#[inline]
fn bytes_between(end: Lsn, start: Lsn) -> usize {
    end.bytes_since(start) as usize
}
