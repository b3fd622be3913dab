//! Reading on without `XLogReadRecord`, where nothing is out of the ordinary.
//!
//! The server's reader decodes every record into memory of its own, whether or
//! not anybody wants it. Here a record is found, put together if it crosses
//! pages, and its checksum verified; the server decodes it
//! (`DecodeXLogRecord`) only for a callback that wants that.
//!
//! The state is the XLogReader's own and is kept as `XLogDecodeNextRecord` and
//! `ReadPageInternal` (access/transam/xlogreader.c) would keep it: the page at
//! hand, the last record and the next. So each of the two can go on where the
//! other stopped, and whatever is not plain sailing (the first record, the way
//! into a new segment, a switch, a record given up, anything invalid, the end
//! of WAL) is left to the server, which has the right answer and the right
//! words. Not kept is what the server sets anew whenever it reads: `currRecPtr`,
//! `abortedRecPtr`, `missingContrecPtr`, and the message.
#![allow(
    ffi_unwind_calls,
    reason = "in batch, inside pg_guard_ffi_boundary: page_read may raise an ERROR"
)]

use super::checksum::Checksum;
use super::page_read::page_read;
use crate::compat::raw;
use core::ffi::c_char;
use pgrx::pg_sys;
use walker_plugin::WalkerRecordBytes;
use walker_plugin::wal::lsn::{SIZE_OF_XLOG_LONG_PHD, SIZE_OF_XLOG_SHORT_PHD};
use walker_plugin::wal::raw::{RecordHeader, SIZE_OF_XLOG_RECORD};
use walker_plugin::wal::{BLCKSZ, RmgrId};

/// Longer records that cross pages are left to the server.
const MOST: usize = 64 * 1024;
/// Flags of a page's header, and the info of a switch: as wide as they stand.
const IS_CONTRECORD: u16 = pg_sys::XLP_FIRST_IS_CONTRECORD as u16;
const HAS_LONG_HEADER: u16 = pg_sys::XLP_LONG_HEADER as u16;
const IS_OVERWRITE: u16 = pg_sys::XLP_FIRST_IS_OVERWRITE_CONTRECORD as u16;
const SWITCH: u8 = pg_sys::XLOG_SWITCH as u8;

/// A record that was read.
///
/// Filled in where it lies: a value that is handed on is copied in other pieces
/// than it was written in, and the processor waits for each of them.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Where it is: all of it, whole and with the right checksum, not decoded.
    /// NULL if the server has read it.
    place: WalkerRecordBytes,
    /// `xl_tot_len`
    pub len: u32,
    pub crc: u32,
    pub rmid: u8,
}

impl Found {
    /// None yet, behind this position.
    pub(crate) fn none(end: u64) -> Found {
        Found {
            place: WalkerRecordBytes {
                lsn: 0,
                end_lsn: end,
                record: core::ptr::null(),
            },
            len: 0,
            crc: 0,
            rmid: 0,
        }
    }

    /// The server has read it.
    ///
    /// # Safety
    /// The record at hand of a reader.
    pub(crate) unsafe fn by_server(&mut self, record: *const pg_sys::DecodedXLogRecord) {
        // SAFETY: the caller's promise.
        let record = unsafe { &*record };
        *self = Found {
            place: WalkerRecordBytes {
                lsn: record.lsn,
                end_lsn: record.next_lsn,
                record: core::ptr::null(),
            },
            len: record.header.xl_tot_len,
            crc: record.header.xl_crc,
            rmid: record.header.xl_rmid,
        };
    }

    /// Where it begins.
    #[inline]
    pub(crate) fn lsn(&self) -> u64 {
        self.place.lsn
    }

    /// Where it ends.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.place.end_lsn
    }

    /// Where all of it is, unless the server has read it.
    #[inline]
    pub(crate) fn in_place(&self) -> Option<&WalkerRecordBytes> {
        (!self.place.record.is_null()).then_some(&self.place)
    }

    /// All bytes of the record; `None` if the server has read it.
    ///
    /// # Safety
    /// Before the reader is moved on.
    #[inline]
    pub(crate) unsafe fn bytes<'a>(&self) -> Option<&'a [u8]> {
        let place = self.in_place()?;
        // SAFETY: in the window or the buffer, neither of which is written
        // before another record is asked for; `next` has looked at all of it.
        Some(unsafe { core::slice::from_raw_parts(place.record.cast(), self.len as usize) })
    }
}

/// Memory for records that cross pages, and for one decoded record.
pub(crate) struct Direct {
    checksum: Checksum,
    assembled: Vec<u64>,
    decoded: Vec<u64>,
}

impl Direct {
    /// Without the memory, which many readers do not need.
    pub(super) fn new() -> Direct {
        Direct {
            checksum: Checksum::new(),
            assembled: Vec::new(),
            decoded: Vec::new(),
        }
    }

    /// To be called before [`Direct::next`].
    pub(super) fn prepare(&mut self) {
        if self.assembled.is_empty() {
            // SAFETY: the guarded binding of what only adds up sizes.
            let space = unsafe { pg_sys::DecodeXLogRecordRequiredSpace(MOST) };
            self.decoded = vec![0; space.div_ceil(8)];
            self.assembled = vec![0; MOST / 8];
        }
    }

    /// The next record. False if the server is to read it: before it is asked
    /// to, [`Direct::hand_over`].
    ///
    /// # Safety
    /// `state` is the reader that this belongs to, between two records. An
    /// ERROR may leave this by longjmp: no frame here has a destructor.
    #[inline]
    pub(crate) unsafe fn next(
        &mut self,
        state: *mut pg_sys::XLogReaderState,
        found: &mut Found,
    ) -> bool {
        // SAFETY: the caller's promise; the record returned last is released as
        // XLogReadRecord would, the page at hand has `readLen` bytes.
        unsafe {
            self.hand_over(state);
            let (at, before) = ((*state).NextRecPtr, (*state).DecodeRecPtr);
            let offset = at as usize % BLCKSZ;
            let page = at - offset as u64;
            let have = (*state).readLen as usize;
            if before == 0 || !is_at_hand(state, page) || have < offset + SIZE_OF_XLOG_RECORD {
                return false;
            }
            // A page's header was read by whoever came to the page; offset 0
            // would be in front of it.
            if offset < SIZE_OF_XLOG_SHORT_PHD {
                return false;
            }
            let front = (*state).readBuf.cast::<u8>().cast_const();
            let bytes = front.add(offset);
            let header = RecordHeader::of(&*bytes.cast::<[u8; SIZE_OF_XLOG_RECORD]>());
            if !is_plain(&header, before) {
                return false;
            }
            let len = header.tot_len as usize;
            // With what is in front of it, for the checksum.
            let (front, start, end) = if len <= have - offset {
                (front, offset, at + aligned(len))
            } else if len > BLCKSZ - offset && have == BLCKSZ {
                match self.assemble(state, bytes, BLCKSZ - offset, page, len) {
                    Some((assembled, end)) => (assembled, 0, end),
                    None => return false,
                }
            } else {
                return false; // there may be more of the page
            };
            let all = core::slice::from_raw_parts(front, start + len);
            if !self.checksum.is_right(all, start, header.crc) {
                return false;
            }
            found.place.lsn = at;
            found.place.end_lsn = end;
            found.place.record = front.add(start).cast();
            found.len = header.tot_len;
            found.crc = header.crc;
            found.rmid = header.rmid.0;
            (*state).ReadRecPtr = at;
            (*state).DecodeRecPtr = at;
            (*state).EndRecPtr = end;
            (*state).NextRecPtr = end;
            true
        }
    }

    /// Put a record together that goes on on other pages: where it is then,
    /// and its end.
    #[inline(never)]
    unsafe fn assemble(
        &mut self,
        state: *mut pg_sys::XLogReaderState,
        first: *const u8,
        first_len: usize,
        mut page: u64,
        len: usize,
    ) -> Option<(*const u8, u64)> {
        if len > MOST.min(self.assembled.len() * 8) {
            return None;
        }
        let to = self.assembled.as_mut_ptr().cast::<u8>();
        // SAFETY: the buffer has room for `len` bytes, of which what was had so
        // far and what is added are within; the first part is on the page at
        // hand, before another is asked for.
        unsafe {
            core::ptr::copy_nonoverlapping(first, to, first_len);
            let mut had = first_len;
            loop {
                page += BLCKSZ as u64;
                let missing = len - had;
                let want = (missing + SIZE_OF_XLOG_SHORT_PHD).min(BLCKSZ);
                let mut have = enter(state, page, want)?;
                let head = page_head(state);
                let goes_on = head.info & (IS_CONTRECORD | IS_OVERWRITE) == IS_CONTRECORD;
                if !goes_on || head.rem_len as usize != missing {
                    return None;
                }
                let here = missing.min(BLCKSZ - head.size);
                if have < head.size + here {
                    have = enter(state, page, head.size + here)?;
                }
                if have < head.size + here {
                    return None;
                }
                let from = (*state).readBuf.add(head.size).cast::<u8>();
                core::ptr::copy_nonoverlapping(from.cast_const(), to.add(had), here);
                had += here;
                if had == len {
                    return Some((to.cast_const(), page + head.size as u64 + aligned(here)));
                }
            }
        }
    }

    /// Have the server decode a record, as it would have been by
    /// `XLogReadRecord`. False if it cannot.
    ///
    /// # Safety
    /// `found` is what [`Direct::next`] gave last.
    pub(crate) unsafe fn decode(
        &mut self,
        state: *mut pg_sys::XLogReaderState,
        found: &Found,
    ) -> bool {
        let decoded = self
            .decoded
            .as_mut_ptr()
            .cast::<pg_sys::DecodedXLogRecord>();
        let mut message: *mut c_char = core::ptr::null_mut();
        // SAFETY: DecodeXLogRecord (access/transam/xlogreader.c) needs the
        // space that DecodeXLogRecordRequiredSpace told for a record of this
        // length, which is aligned, and fills in all but these two members.
        unsafe {
            let record = found.place.record.cast_mut();
            (*decoded).oversized = false;
            if !raw::DecodeXLogRecord(state, decoded, record, found.lsn(), &mut message) {
                return false;
            }
            (*decoded).next_lsn = found.end();
            (*state).record = decoded;
        }
        true
    }

    /// Release the record that was handed out last, if any, whoever decoded it:
    /// the server's reader may be used next.
    ///
    /// # Safety
    /// As for [`Direct::next`].
    #[inline]
    pub(crate) unsafe fn hand_over(&mut self, state: *mut pg_sys::XLogReaderState) {
        // SAFETY: the caller's promise. The server's queue knows nothing of
        // our record.
        unsafe {
            let record = (*state).record.cast_const();
            if record.cast() == self.decoded.as_ptr() {
                (*state).record = core::ptr::null_mut();
            } else if !record.is_null() {
                raw::XLogReleasePreviousRecord(state);
            }
        }
    }
}

/// What `ValidXLogRecordHeader` asks of a header when reading on, and that the
/// record is no switch, which goes on to the end of the segment.
#[inline]
fn is_plain(header: &RecordHeader, before: u64) -> bool {
    // `RmgrIdIsValid`: built-in up to RM_MAX_BUILTIN_ID, or custom.
    let valid = u32::from(header.rmid.0) < pg_sys::RmgrIds::RM_NEXT_ID
        || u32::from(header.rmid.0) >= pg_sys::RM_MIN_CUSTOM_ID;
    header.tot_len as usize >= SIZE_OF_XLOG_RECORD
        && valid
        && header.prev.0 == before
        && !(header.rmid == RmgrId::XLOG && header.info & 0xF0 == SWITCH)
}

/// `MAXALIGN`
#[inline]
fn aligned(len: usize) -> u64 {
    (len as u64).next_multiple_of(8)
}

/// Whether a page is the one that the reader has read and validated.
#[inline]
unsafe fn is_at_hand(state: *mut pg_sys::XLogReaderState, page: u64) -> bool {
    // SAFETY: the caller's state.
    unsafe {
        let size = (*state).segcxt.ws_segsize as u64;
        (*state).seg.ws_segno * size + u64::from((*state).segoff) == page && (*state).readLen > 0
    }
}

/// Come to a page, with at least `want` bytes of it, as `ReadPageInternal`
/// would; how many there are.
unsafe fn enter(state: *mut pg_sys::XLogReaderState, page: u64, want: usize) -> Option<usize> {
    // SAFETY: the caller's state; page_read is what the reader itself would
    // call, and XLogReaderValidatePageHeader only looks at the page.
    unsafe {
        let size = (*state).segcxt.ws_segsize as u64;
        let (segno, segoff) = (page / size, page % size);
        let have = (*state).readLen as usize;
        if is_at_hand(state, page) && want <= have {
            return Some(have);
        }
        // The server knows how to come into a segment. And should the record be
        // left to it after all, it begins where the record begins: it could not
        // go back to the segment before, which may be on another timeline.
        if segno != (*state).seg.ws_segno {
            return None;
        }
        (*state).readLen = 0;
        let (target, buffer) = ((*state).NextRecPtr, (*state).readBuf);
        // What may be allocated for the page is not of the record at hand.
        let context = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let len = page_read(state, page, want as i32, target, buffer);
        pg_sys::MemoryContextSwitchTo(context);
        let have = usize::try_from(len).ok()?;
        if have <= SIZE_OF_XLOG_SHORT_PHD || have < page_head(state).size {
            return None;
        }
        if !raw::XLogReaderValidatePageHeader(state, page, (*state).readBuf) {
            // The server will find the same, and say it.
            (*state).errormsg_deferred = false;
            *(*state).errormsg_buf = 0;
            return None;
        }
        (*state).segoff = segoff as u32;
        (*state).readLen = have as u32;
        Some(have)
    }
}

/// A page's header, as far as it is needed.
struct PageHead {
    info: u16,
    rem_len: u32,
    size: usize,
}

/// Of the page in `readBuf`, which has at least a short header.
unsafe fn page_head(state: *mut pg_sys::XLogReaderState) -> PageHead {
    // SAFETY: the caller's promise; pages are aligned.
    let header = unsafe { &*(*state).readBuf.cast::<pg_sys::XLogPageHeaderData>() };
    PageHead {
        info: header.xlp_info,
        rem_len: header.xlp_rem_len,
        size: match header.xlp_info & HAS_LONG_HEADER {
            0 => SIZE_OF_XLOG_SHORT_PHD,
            _ => SIZE_OF_XLOG_LONG_PHD,
        },
    }
}
