//! Where the bytes come from: a window over the WAL, filled in large chunks.
//!
//! One read a page would cost more than decoding it. The window never goes
//! beyond the limit and never crosses a segment boundary, so what is in it is
//! final and of one file.

use super::window::{CHUNK, Window};
use super::{Limit, NoRecord, WAL_DIRECTORY, file_name, history, segment_size};
use crate::compat;
use core::ffi::c_int;
use core::mem::MaybeUninit;
use pgrx::prelude::*;
use std::ffi::CString;
use std::io;
use walker_plugin::state::is_shortage;
use walker_plugin::wal::{BLCKSZ, Lsn};

/// The segment file that is open in the XLogReader.
#[derive(Clone, Copy, PartialEq, Eq)]
struct OpenSegment {
    segno: u64,
    tli: u32,
}

/// The private data of our XLogReader.
pub struct WalSource {
    window: Window,
    limit: Limit,
    tli: u32,
    open: Option<OpenSegment>,
    refusal: Option<NoRecord>,
}

impl WalSource {
    /// Nothing read, nothing allowed.
    pub fn new() -> WalSource {
        WalSource {
            window: Window::new(),
            limit: Limit {
                lsn: Lsn(0),
                tli: 0,
                in_recovery: false,
            },
            tli: 0,
            open: None,
            refusal: None,
        }
    }

    pub(super) fn set_limit(&mut self, limit: Limit) {
        self.limit = limit;
    }

    pub(super) fn timeline(&self) -> u32 {
        self.tli
    }

    /// Why the last call of [`WalSource::page`] gave nothing.
    pub(super) fn take_refusal(&mut self) -> Option<NoRecord> {
        self.refusal.take()
    }

    /// Where a page is, with at least `need` bytes of it, and how many bytes.
    /// The bytes stay until another page is asked for.
    #[inline]
    pub(super) fn page(
        &mut self,
        state: *mut pg_sys::XLogReaderState,
        page: Lsn,
        need: usize,
    ) -> Option<(*mut u8, usize)> {
        self.refusal = None;
        if self.window.have(page) < need {
            self.fill(state, page, need)?;
        }
        Some((self.window.at(page), self.window.have(page).min(BLCKSZ)))
    }

    /// Read on from what the window has of `page`, if it has anything of it:
    /// what was handed out is not touched. Else read it anew from there.
    #[cold]
    fn fill(&mut self, state: *mut pg_sys::XLogReaderState, page: Lsn, need: usize) -> Option<()> {
        let wanted = Lsn(page.0 + need as u64);
        if self.limit.lsn < wanted {
            self.refusal = Some(NoRecord::Incomplete(wanted));
            return None;
        }
        let from = self.window.keep_only(page);
        let to = Lsn(self.limit.lsn.0.min((page.0 / CHUNK + 1) * CHUNK));
        self.determine_timeline(state, page, need);
        let from = Lsn(from.0 + self.read_buffers(from, to) as u64);
        if from < to && !self.read_file(state, from, to) {
            return None;
        }
        self.window.filled(to);
        Some(())
    }

    /// Which timeline's file holds the page: after a switch, WAL from before
    /// it may be found in the new timeline's copy of the segment only.
    fn determine_timeline(&mut self, state: *mut pg_sys::XLogReaderState, page: Lsn, need: usize) {
        // SAFETY: XLogReadDetermineTimeline (access/transam/xlogutils.c) only
        // looks at the state and at history files; `need` is within a page.
        unsafe {
            pg_sys::XLogReadDetermineTimeline(state, page.0, need as u32, self.limit.tli);
            self.tli = (*state).currTLI;
        }
    }

    /// Take what the WAL buffers still have, where reading is close behind
    /// writing; the number of bytes taken.
    fn read_buffers(&mut self, from: Lsn, to: Lsn) -> usize {
        if self.limit.in_recovery || self.tli != self.limit.tli {
            return 0;
        }
        let buffer = self.window.free(from, to);
        compat::read_from_wal_buffers(buffer, from.0, self.tli).min(buffer.len())
    }

    /// Read the rest of the window through the server's WALRead, so that WAL
    /// encryption inside the server works for us too.
    fn read_file(&mut self, state: *mut pg_sys::XLogReaderState, from: Lsn, to: Lsn) -> bool {
        let segno = from.0 / segment_size();
        if !self.open_segment(
            state,
            OpenSegment {
                segno,
                tli: self.tli,
            },
        ) {
            return false;
        }
        let buffer = self.window.free(from, to);
        let mut error = MaybeUninit::<pg_sys::WALReadError>::zeroed();
        // SAFETY: WALRead (access/transam/xlogreader.c) fills exactly the
        // buffer it is given and uses the segment that is open; on failure it
        // fills `error`.
        unsafe {
            let done = pg_sys::WALRead(
                state,
                buffer.as_mut_ptr().cast(),
                from.0,
                buffer.len(),
                self.tli,
                error.as_mut_ptr(),
            );
            // An open file that was recycled meanwhile holds other WAL: only
            // now is it known whether what was read is what was asked for.
            if segno <= pg_sys::XLogGetLastRemovedSegno() {
                self.refusal = Some(NoRecord::Removed(segno));
                return false;
            }
            if !done {
                // WALReadRaiseError would end the worker, again and again.
                self.refusal = Some(NoRecord::Invalid(read_failure(error.assume_init_ref())));
            }
            done
        }
    }

    /// Have the right file open in the reader. Opened here and not in the
    /// `segment_open` callback, which could only raise an ERROR.
    fn open_segment(&mut self, state: *mut pg_sys::XLogReaderState, want: OpenSegment) -> bool {
        if self.open == Some(want) {
            // SAFETY: the reader forgets the number when it meets an error
            // (XLogReaderInvalReadState) but keeps the file open.
            unsafe { (*state).seg.ws_segno = want.segno };
            return true;
        }
        // SAFETY: the state is ours.
        unsafe { self.forget_segment(state) };
        let own = open_file(want);
        let is_own = own.is_ok();
        let fd = match own.or_else(|errno| self.open_descendant(want, errno)) {
            Ok(fd) => fd,
            Err(errno) => {
                self.refusal = Some(cannot_open(want, &errno));
                return false;
            }
        };
        // SAFETY: the fields WALRead looks at (WALOpenSegment).
        unsafe {
            (*state).seg.ws_file = fd;
            (*state).seg.ws_segno = want.segno;
            (*state).seg.ws_tli = want.tli;
        }
        // What another timeline's file holds is right up to the present limit only.
        self.open = is_own.then_some(want);
        true
    }

    /// A server that recovers from an archive finds the end of a timeline where the
    /// next one begins, in that one's file and in no other, and does not say that it
    /// is on the next one before it has replayed the switch.
    #[cold]
    fn open_descendant(&self, want: OpenSegment, errno: io::Error) -> io::Result<c_int> {
        if errno.kind() != io::ErrorKind::NotFound || !self.limit.in_recovery {
            return Err(errno);
        }
        match history::descendant_with(want.tli, want.segno, self.limit.lsn)? {
            Some(tli) => open_file(OpenSegment { tli, ..want }),
            None => Err(errno),
        }
    }

    /// Close the open segment, if any.
    ///
    /// # Safety
    /// `state` must be the reader this source belongs to.
    pub(super) unsafe fn forget_segment(&mut self, state: *mut pg_sys::XLogReaderState) {
        self.open = None;
        // SAFETY: wal_segment_close closes the descriptor and marks it closed.
        unsafe {
            if (*state).seg.ws_file >= 0 {
                pg_sys::wal_segment_close(state);
            }
        }
    }
}

fn path_of(segment: OpenSegment) -> String {
    format!("{WAL_DIRECTORY}/{}", file_name(segment.tli, segment.segno))
}

fn open_file(segment: OpenSegment) -> io::Result<c_int> {
    let path = CString::new(path_of(segment))?;
    // SAFETY: BasicOpenFile (storage/file/fd.c) takes a C string and returns a
    // descriptor or -1 with errno.
    match unsafe { pg_sys::BasicOpenFile(path.as_ptr(), libc_o_rdonly()) } {
        fd if fd < 0 => Err(io::Error::last_os_error()),
        fd => Ok(fd),
    }
}

/// Why there is no descriptor of a segment.
#[cold]
fn cannot_open(segment: OpenSegment, errno: &io::Error) -> NoRecord {
    let path = path_of(segment);
    // SAFETY: reads shared memory under its spinlock.
    let removed = unsafe { pg_sys::XLogGetLastRemovedSegno() };
    if is_shortage(errno) {
        NoRecord::Short(format!("{path}: {errno}"))
    } else if errno.kind() != io::ErrorKind::NotFound {
        NoRecord::Invalid(format!("could not open file \"{path}\": {errno}"))
    } else if segment.segno <= removed {
        NoRecord::Removed(segment.segno)
    } else {
        NoRecord::Missing(segment.segno, segment.tli)
    }
}

/// What WALReadRaiseError would say.
#[cold]
fn read_failure(error: &pg_sys::WALReadError) -> String {
    if error.wre_read < 0 {
        format!(
            "could not read WAL segment {}, offset {}: {}",
            error.wre_seg.ws_segno,
            error.wre_off,
            std::io::Error::from_raw_os_error(error.wre_errno)
        )
    } else {
        format!(
            "could not read WAL segment {}, offset {}: read {} of {}",
            error.wre_seg.ws_segno, error.wre_off, error.wre_read, error.wre_req
        )
    }
}

/// `O_RDONLY`, which is 0 everywhere.
const fn libc_o_rdonly() -> i32 {
    0
}
