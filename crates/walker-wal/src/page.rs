//! A page seen through its image in a record, or whole, and the tuples of a
//! heap page (`storage/bufpage.h`, `storage/itemid.h`).
//!
//! A page image lacks the hole between `pd_lower` and `pd_upper`; the view
//! reads around it and copies nothing.

use crate::heap::{
    HEAP_MOVED, HEAP_XMAX_INVALID, HEAP_XMIN_COMMITTED, HEAP_XMIN_FROZEN, MAX_HEAP_TUPLES_PER_PAGE,
    SIZE_OF_HEAP_TUPLE_HEADER, TupleHeader,
};
use crate::{BLCKSZ, Compression, Image, Lsn, OffsetNumber, TransactionId, WalError};
use serde::Serialize;

/// `SizeOfPageHeaderData`.
pub const SIZE_OF_PAGE_HEADER: usize = 24;
/// `PG_PAGE_LAYOUT_VERSION`, with the page size as the header has them.
const PAGE_SIZE_AND_VERSION: u16 = BLCKSZ as u16 | 4;
/// `PD_VALID_FLAG_BITS`.
const PD_VALID_FLAG_BITS: u16 = 0x0007;
/// All tuples on the page are visible to everyone.
pub const PD_ALL_VISIBLE: u16 = 0x0004;

/// `PageHeaderData`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PageHeader {
    /// Position up to which changes are in the page. An image in the WAL has
    /// the one from before its own record.
    pub lsn: Lsn,
    /// Checksum, if the cluster has them; not set in an image.
    pub checksum: u16,
    /// `PD_*`.
    pub flags: u16,
    /// End of the line pointers.
    pub lower: u16,
    /// Beginning of the tuples.
    pub upper: u16,
    /// Beginning of the special space; `BLCKSZ` on heap pages.
    pub special: u16,
    /// Page size and layout version.
    pub pagesize_version: u16,
    /// Oldest transaction that left something to prune, 0 if none.
    pub prune_xid: TransactionId,
}

/// A page whose header was checked.
#[derive(Clone, Copy, Debug)]
pub struct HeapPage<'a> {
    /// Bytes before the hole.
    head: &'a [u8],
    /// Bytes behind the hole.
    tail: &'a [u8],
    /// The bytes up to the end of the page that all tuples are in, and where
    /// they begin; none where a hole is not before `pd_upper`.
    tuples: &'a [u8],
    tuples_at: usize,
    header: PageHeader,
}

/// What a line pointer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum LinePointer {
    /// `LP_UNUSED`
    Unused,
    /// `LP_NORMAL`: a tuple.
    Normal(TupleHeader),
    /// `LP_REDIRECT`: see that line pointer.
    Redirect(OffsetNumber),
    /// `LP_DEAD`: the tuple is gone, index entries are not.
    Dead,
}

#[cold]
fn bad(what: &'static str, value: impl Into<u64>) -> WalError {
    WalError::Invalid {
        what,
        value: value.into(),
    }
}

impl<'a> HeapPage<'a> {
    /// The page of an image. Only the server can expand a compressed one.
    #[inline]
    pub fn from_image(image: &Image<'a>) -> Result<HeapPage<'a>, WalError> {
        if image.compression != Compression::None {
            return Err(WalError::CompressedImage);
        }
        let hole = usize::from(image.hole_length);
        if image.bytes.len() + hole != BLCKSZ {
            return Err(bad("page image length", image.bytes.len() as u64));
        }
        // Without a hole all is head; hole_offset then has no meaning.
        let at = if hole == 0 {
            BLCKSZ
        } else {
            usize::from(image.hole_offset)
        };
        let (head, tail) = image
            .bytes
            .split_at_checked(at)
            .ok_or_else(|| bad("hole_offset", image.hole_offset))?;
        HeapPage::new(head, tail)
    }

    /// The page that these bytes are, without a hole.
    pub fn from_bytes(page: &'a [u8]) -> Result<HeapPage<'a>, WalError> {
        if page.len() != BLCKSZ {
            return Err(bad("page length", page.len() as u64));
        }
        HeapPage::new(page, &[])
    }

    /// `PageIsVerifiedExtended` without the checksum, plus what
    /// `compactify_tuples` insists on before it trusts a page.
    #[inline]
    fn new(head: &'a [u8], tail: &'a [u8]) -> Result<HeapPage<'a>, WalError> {
        let header = PageHeader::read(head).ok_or(WalError::Truncated {
            what: "PageHeaderData",
            need: SIZE_OF_PAGE_HEADER,
            have: head.len(),
        })?;
        let (tuples, tuples_at) = if head.len() == BLCKSZ {
            (head, 0)
        } else if head.len() <= usize::from(header.upper) {
            (tail, BLCKSZ - tail.len())
        } else {
            (&[][..], BLCKSZ)
        };
        let page = HeapPage {
            head,
            tail,
            tuples,
            tuples_at,
            header,
        };
        if header.upper == 0 {
            // A new page is all zeroes, and is never stored with a hole.
            if head.iter().chain(tail).any(|b| *b != 0) {
                return Err(bad("pd_upper", header.upper));
            }
            return Ok(page);
        }
        if header.pagesize_version != PAGE_SIZE_AND_VERSION {
            return Err(bad("pd_pagesize_version", header.pagesize_version));
        }
        if header.flags & !PD_VALID_FLAG_BITS != 0 {
            return Err(bad("pd_flags", header.flags));
        }
        if usize::from(header.special) > BLCKSZ || !header.special.is_multiple_of(8) {
            return Err(bad("pd_special", header.special));
        }
        if header.upper > header.special {
            return Err(bad("pd_upper", header.upper));
        }
        if usize::from(header.lower) < SIZE_OF_PAGE_HEADER || header.lower > header.upper {
            return Err(bad("pd_lower", header.lower));
        }
        Ok(page)
    }

    /// The header.
    #[inline]
    pub fn header(&self) -> &PageHeader {
        &self.header
    }

    /// The page's LSN.
    #[inline]
    pub fn lsn(&self) -> Lsn {
        self.header.lsn
    }

    /// `PageIsNew`: never initialised, all zeroes.
    #[inline]
    pub fn is_new(&self) -> bool {
        self.header.upper == 0
    }

    /// Whether it can be a page of a heap: pages of sequences and of all
    /// built-in index methods have special space.
    #[inline]
    pub fn is_heap(&self) -> bool {
        usize::from(self.header.special) == BLCKSZ
    }

    /// `PageIsAllVisible`.
    #[inline]
    pub fn is_all_visible(&self) -> bool {
        self.header.flags & PD_ALL_VISIBLE != 0
    }

    /// `PageGetMaxOffsetNumber`: the number of line pointers.
    #[inline]
    pub fn max_offset_number(&self) -> OffsetNumber {
        self.header.lower.saturating_sub(SIZE_OF_PAGE_HEADER as u16) / 4
    }

    /// `PageGetHeapFreeSpace` without its deduction for a new line pointer:
    /// bytes between line pointers and tuples.
    #[inline]
    pub fn free_space(&self) -> u16 {
        self.header.upper.saturating_sub(self.header.lower)
    }

    /// Bytes of the page at `at`; they must not touch the hole.
    #[inline]
    fn at(&self, at: usize, len: usize) -> Option<&'a [u8]> {
        if at < self.head.len() {
            return self.head.get(at..at.checked_add(len)?);
        }
        // The tail ends where the page ends.
        let at = at.checked_sub(BLCKSZ - self.tail.len())?;
        self.tail.get(at..at.checked_add(len)?)
    }

    /// The line pointers in order. An error does not end the iteration: it is
    /// about that line pointer alone.
    #[inline]
    pub fn items(&self) -> Items<'a> {
        let len = usize::from(self.max_offset_number()) * 4;
        // new() made sure that pd_lower is not below the header; a hole that
        // begins below pd_lower leaves no line pointer to read.
        let pointers = self.at(SIZE_OF_PAGE_HEADER, len);
        Items {
            page: *self,
            pointers: pointers.unwrap_or_default(),
            broken: pointers.is_none() && len > 0,
            offnum: 0,
        }
    }

    /// A tuple's header, wherever the hole is.
    #[cold]
    fn tuple_at(&self, off: u16, len: u16) -> Result<TupleHeader, WalError> {
        let bytes = self
            .at(off.into(), len.into())
            .ok_or_else(|| bad("lp_off", off))?;
        let header = bytes.first_chunk().ok_or_else(|| bad("lp_len", len))?;
        Ok(TupleHeader::from_bytes(header))
    }

    #[inline(always)]
    fn tuple(&self, off: u16, len: u16) -> Result<TupleHeader, WalError> {
        let end = u32::from(off) + u32::from(len);
        if off < self.header.upper || !off.is_multiple_of(8) {
            return Err(bad("lp_off", off));
        }
        if end > self.header.special.into() || usize::from(len) < SIZE_OF_HEAP_TUPLE_HEADER {
            return Err(bad("lp_len", len));
        }
        // The tuple ends within the page, and so do those bytes.
        let at = usize::from(off).wrapping_sub(self.tuples_at);
        let tuple = match self.tuples.get(at..).and_then(|bytes| bytes.first_chunk()) {
            Some(header) => TupleHeader::from_bytes(header),
            None => self.tuple_at(off, len)?,
        };
        if usize::from(tuple.hoff) < SIZE_OF_HEAP_TUPLE_HEADER || u16::from(tuple.hoff) > len {
            return Err(bad("t_hoff", tuple.hoff));
        }
        Ok(tuple)
    }
}

impl PageHeader {
    #[inline]
    fn read(bytes: &[u8]) -> Option<PageHeader> {
        let [
            h0,
            h1,
            h2,
            h3,
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            f0,
            f1, //
            lo0,
            lo1,
            up0,
            up1,
            sp0,
            sp1,
            v0,
            v1,
            x0,
            x1,
            x2,
            x3,
        ] = *bytes.first_chunk::<SIZE_OF_PAGE_HEADER>()?;
        // PageXLogRecPtr keeps the upper half first.
        let hi = u32::from_le_bytes([h0, h1, h2, h3]);
        let lo = u32::from_le_bytes([l0, l1, l2, l3]);
        Some(PageHeader {
            lsn: Lsn(u64::from(hi) << 32 | u64::from(lo)),
            checksum: u16::from_le_bytes([c0, c1]),
            flags: u16::from_le_bytes([f0, f1]),
            lower: u16::from_le_bytes([lo0, lo1]),
            upper: u16::from_le_bytes([up0, up1]),
            special: u16::from_le_bytes([sp0, sp1]),
            pagesize_version: u16::from_le_bytes([v0, v1]),
            prune_xid: u32::from_le_bytes([x0, x1, x2, x3]),
        })
    }
}

/// Iterator over the line pointers of a page.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    page: HeapPage<'a>,
    pointers: &'a [u8],
    broken: bool,
    offnum: OffsetNumber,
}

impl Items<'_> {
    /// Pass over the tuples that come next, as long as each is in order and all
    /// see it. Its header says so: xmin committed, xmax invalid. Or it says only
    /// the latter, for nobody has read it since it was written, and its xmin is
    /// the transaction of which the caller knows that it has `committed` (0 if of
    /// none). How many that were; it may stop earlier, and does at the last offset
    /// a heap page can have. So are most tuples of most pages, and nothing else of
    /// them is of interest to who asks what is dead.
    #[inline]
    pub fn pass_live(&mut self, committed: TransactionId) -> u16 {
        const LIVE: u16 = HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID;
        const UNSAID: u16 = HEAP_XMIN_FROZEN | HEAP_MOVED | HEAP_XMAX_INVALID;
        let HeapPage {
            tuples,
            tuples_at,
            header,
            ..
        } = self.page;
        let (upper, special) = (u32::from(header.upper), u32::from(header.special));
        let most = MAX_HEAP_TUPLES_PER_PAGE.saturating_sub(self.offnum);
        let is_live = |word: &[u8; 4]| {
            let word = u32::from_le_bytes(*word);
            let (off, len) = (word & 0x7FFF, word >> 17);
            let tuple = tuples.get((off as usize).wrapping_sub(tuples_at)..);
            let Some(&[x0, x1, x2, x3, .., i0, i1, hoff]) =
                tuple.and_then(<[u8]>::first_chunk::<SIZE_OF_HEAP_TUPLE_HEADER>)
            else {
                return false;
            };
            // LP_NORMAL, an offset that is aligned, and what `tuple` checks: the
            // header is within the length, and so the length is not too short.
            word & 0x1_8007 == 0x8000
                && off >= upper
                && off + len <= special
                && usize::from(hoff) >= SIZE_OF_HEAP_TUPLE_HEADER
                && u32::from(hoff) <= len
                && {
                    let infomask = u16::from_le_bytes([i0, i1]);
                    infomask & LIVE == LIVE
                        || infomask & UNSAID == HEAP_XMAX_INVALID
                            && u32::from_le_bytes([x0, x1, x2, x3]) == committed
                            && committed != 0
                }
        };
        let (words, _) = self.pointers.as_chunks();
        let live = words
            .iter()
            .take(most.into())
            .take_while(|word| is_live(word));
        let passed = live.count() as u16;
        self.pointers = self
            .pointers
            .get(usize::from(passed) * 4..)
            .unwrap_or_default();
        self.offnum += passed;
        passed
    }
}

impl Iterator for Items<'_> {
    type Item = Result<(OffsetNumber, LinePointer), WalError>;

    // Into every loop over a page: what the loop does not look at is not read
    // from the page, and no item is put together to be taken apart.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if std::mem::take(&mut self.broken) {
            return Some(Err(bad("pd_lower", self.page.header.lower)));
        }
        let (word, rest) = self.pointers.split_first_chunk()?;
        let word = u32::from_le_bytes(*word);
        self.pointers = rest;
        self.offnum += 1;
        // ItemIdData: lp_off 15 bits, lp_flags 2 bits, lp_len 15 bits.
        let (off, len) = ((word & 0x7FFF) as u16, (word >> 17) as u16);
        let item = match word >> 15 & 3 {
            0 => LinePointer::Unused,
            1 => match self.page.tuple(off, len) {
                Ok(tuple) => LinePointer::Normal(tuple),
                Err(e) => return Some(Err(e)),
            },
            2 => LinePointer::Redirect(off),
            _ => LinePointer::Dead,
        };
        Some(Ok((self.offnum, item)))
    }
}
