//! Putting records together from the pages of WAL segments.
//!
//! For tests, benches and tools: it reads bytes that are there already. It
//! does what `XLogDecodeNextRecord` does: records that cross pages, pages
//! that begin with the rest of a record, the jump behind a segment switch,
//! records that were given up and overwritten.

use super::*;
use crate::Major;
use crate::lsn::XLOG_BLCKSZ;

/// The page begins with the rest of a record (`XLP_FIRST_IS_CONTRECORD`).
const XLP_FIRST_IS_CONTRECORD: u16 = 0x0001;
/// The page has the long header (`XLP_LONG_HEADER`).
const XLP_LONG_HEADER: u16 = 0x0002;
/// The record begun before was given up (`XLP_FIRST_IS_OVERWRITE_CONTRECORD`).
const XLP_FIRST_IS_OVERWRITE_CONTRECORD: u16 = 0x0008;
/// `XLOG_SWITCH` of resource manager XLOG.
const XLOG_SWITCH: u8 = 0x40;

/// What is wrong with the WAL, and with which record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid WAL at {lsn}: {error}")]
pub struct ReadError {
    /// Where the record or page begins.
    pub lsn: Lsn,
    /// What is wrong.
    pub error: WalError,
}

/// Reads the records of consecutive WAL segments.
#[derive(Debug)]
pub struct WalReader<'a> {
    bytes: &'a [u8],
    start: Lsn,
    segment_size: u32,
    magic: u16,
    check_crc: bool,
    next: Option<Lsn>,
    prev: Lsn,
    assembled: Vec<u8>,
    decoder: Decoder,
}

impl Major {
    /// `XLOG_PAGE_MAGIC`.
    pub fn page_magic(self) -> u16 {
        match self {
            Major::V15 => 0xD110,
            Major::V16 => 0xD113,
            Major::V17 => 0xD116,
            Major::V18 => 0xD118,
        }
    }
}

/// `XLogPageHeaderData`, as far as it is needed.
struct PageHead {
    info: u16,
    rem_len: u32,
    size: usize,
}

enum Assembled {
    /// The whole record is on this page, at this range of the bytes.
    InPlace(usize, usize),
    /// The record was copied together.
    Copied,
    /// The record was given up; go on with this page.
    GivenUp(Lsn),
    /// The bytes end within the record.
    End,
}

impl<'a> WalReader<'a> {
    /// Reads from `start`, the beginning of a page and of `bytes`. If the page
    /// begins with the rest of a record, reading begins behind it.
    pub fn new(major: Major, bytes: &'a [u8], start: Lsn, segment_size: u32) -> WalReader<'a> {
        WalReader {
            bytes,
            start,
            segment_size,
            magic: major.page_magic(),
            check_crc: true,
            next: None,
            prev: Lsn::INVALID,
            assembled: Vec::new(),
            decoder: Decoder::new(),
        }
    }

    /// Whether checksums are verified; they are by default.
    pub fn check_crc(mut self, check: bool) -> WalReader<'a> {
        self.check_crc = check;
        self
    }

    /// The next record; `None` at the end of the bytes or of the WAL in them.
    /// After an error, reading cannot go on.
    pub fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, ReadError> {
        let mut at = match self.next {
            Some(at) => at,
            None => match self.first_record(self.start)? {
                Some(at) => at,
                None => return Ok(None),
            },
        };
        let (assembled, end) = loop {
            if at.page_offset() == 0 {
                // The record before filled its page; this one begins behind
                // the header.
                at.0 =
                    at.0.saturating_add(at.page_header_size(self.segment_size) as u64);
            }
            match self.assemble(at)? {
                (Assembled::GivenUp(page), _) => {
                    self.prev = Lsn::INVALID;
                    match self.first_record(page)? {
                        Some(next) => at = next,
                        None => return Ok(None),
                    }
                }
                (Assembled::End, _) => {
                    self.next = Some(at);
                    return Ok(None);
                }
                (found, end) => break (found, end),
            }
        };
        let bytes = match assembled {
            Assembled::InPlace(at, len) => slice(self.bytes, at, len),
            _ => &self.assembled,
        };
        let fail = |error| ReadError { lsn: at, error };
        if self.check_crc {
            check_crc(bytes).map_err(fail)?;
        }
        let mut record = self.decoder.decode(bytes, at, end).map_err(fail)?;
        if self.prev.is_valid() && record.header.prev != self.prev {
            return Err(fail(bad("xl_prev", record.header.prev.0)));
        }
        if record.header.rmid == RmgrId::XLOG && record.header.info & 0xF0 == XLOG_SWITCH {
            let rest = match end.segment_offset(self.segment_size) {
                0 => 0,
                used => u64::from(self.segment_size) - used,
            };
            record.end_lsn = Lsn(end.0.saturating_add(rest));
        }
        self.prev = at;
        self.next = Some(record.end_lsn);
        Ok(Some(record))
    }

    /// Bytes of the page at `page`, and its header; `None` if there is no such
    /// page, or one that was never written.
    fn page(&self, page: Lsn) -> Result<Option<(usize, PageHead)>, ReadError> {
        let fail = |error| ReadError { lsn: page, error };
        let Some(at) = page
            .0
            .checked_sub(self.start.0)
            .and_then(|n| usize::try_from(n).ok())
        else {
            return Ok(None);
        };
        let Some(bytes) = at
            .checked_add(XLOG_BLCKSZ)
            .and_then(|end| self.bytes.get(at..end))
        else {
            return Ok(None);
        };
        let mut r = Reader::new("XLogPageHeaderData", bytes);
        let mut read = || Ok::<_, WalError>((r.u16()?, r.u16()?, r.u32()?, r.lsn()?, r.u32()?));
        let (magic, info, _tli, pageaddr, rem_len) = read().map_err(fail)?;
        // Zeroes, or what is left of the segment's former life.
        if magic == 0 || pageaddr < page {
            return Ok(None);
        }
        if magic != self.magic {
            return Err(fail(bad("xlp_magic", magic)));
        }
        if pageaddr != page {
            return Err(fail(bad("xlp_pageaddr", pageaddr.0)));
        }
        let size = page.page_header_size(self.segment_size);
        let long = size == crate::lsn::SIZE_OF_XLOG_LONG_PHD;
        if long != (info & XLP_LONG_HEADER != 0) {
            return Err(fail(bad("xlp_info", info)));
        }
        Ok(Some((
            at,
            PageHead {
                info,
                rem_len,
                size,
            },
        )))
    }

    /// Where the first record begins on or after the page (`XLogFindNextRecord`).
    fn first_record(&self, mut page: Lsn) -> Result<Option<Lsn>, ReadError> {
        loop {
            let Some((_, head)) = self.page(page)? else {
                return Ok(None);
            };
            let rest = if head.info & XLP_FIRST_IS_CONTRECORD != 0 {
                head.rem_len
            } else {
                0
            };
            let begin = (head.size as u64).saturating_add(rest.into());
            let begin = Lsn(begin).align().0;
            if begin < XLOG_BLCKSZ as u64 {
                return Ok(Some(Lsn(page.0.saturating_add(begin))));
            }
            page = Lsn(page.0.saturating_add(XLOG_BLCKSZ as u64));
        }
    }

    /// Finds the bytes of the record at `at`, and where it ends.
    fn assemble(&mut self, at: Lsn) -> Result<(Assembled, Lsn), ReadError> {
        let fail = |lsn: Lsn, error| ReadError { lsn, error };
        let mut page = at.page_start();
        let Some((page_at, head)) = self.page(page)? else {
            return Ok((Assembled::End, at));
        };
        let offset = match at.page_offset() {
            n if n >= head.size => n,
            n => return Err(fail(at, bad("record pointer", n as u64))),
        };
        // Records are aligned, so that the length is never split by a page.
        let here = slice(
            self.bytes,
            page_at + offset,
            XLOG_BLCKSZ.saturating_sub(offset),
        );
        let tot_len = Reader::new("xl_tot_len", here)
            .u32()
            .map_err(|e| fail(at, e))? as usize;
        if tot_len == 0 {
            return Ok((Assembled::End, at));
        }
        if tot_len < SIZE_OF_XLOG_RECORD {
            return Err(fail(at, bad("xl_tot_len", tot_len as u64)));
        }
        if tot_len <= here.len() {
            let end = Lsn(page.0.saturating_add((offset + tot_len) as u64)).align();
            return Ok((Assembled::InPlace(page_at + offset, tot_len), end));
        }
        self.assembled.clear();
        self.assembled.extend_from_slice(here);
        loop {
            page = Lsn(page.0.saturating_add(XLOG_BLCKSZ as u64));
            let Some((page_at, head)) = self.page(page)? else {
                return Ok((Assembled::End, at));
            };
            if head.info & XLP_FIRST_IS_OVERWRITE_CONTRECORD != 0 {
                return Ok((Assembled::GivenUp(page), page));
            }
            let missing = tot_len - self.assembled.len();
            if head.info & XLP_FIRST_IS_CONTRECORD == 0 || head.rem_len as usize != missing {
                return Err(fail(page, bad("xlp_rem_len", head.rem_len)));
            }
            let take = missing.min(XLOG_BLCKSZ - head.size);
            self.assembled
                .extend_from_slice(slice(self.bytes, page_at + head.size, take));
            if take == missing {
                let end = Lsn(page.0.saturating_add((head.size + take) as u64)).align();
                return Ok((Assembled::Copied, end));
            }
        }
    }
}
