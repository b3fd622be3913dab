//! `xl_heap_multi_insert`: COPY, and everything else that fills pages in bulk.

use crate::bytes::{OffsetList, Reader};
use crate::heap::{Infomask, LoggedTuple, XLOG_HEAP_INIT_PAGE, XlHeapHeader};
use crate::record::need_block;
use crate::{Block, OffsetNumber, Record, WalError};
use serde::Serialize;

/// `SizeOfMultiInsertTuple`.
const SIZE_OF_MULTI_INSERT_TUPLE: usize = 7;

/// `xl_heap_multi_insert`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapMultiInsert<'a> {
    /// The page (block reference 0).
    pub block: Block<'a>,
    /// Whether the page was empty before.
    pub init_page: bool,
    /// `XLH_INSERT_*`.
    pub flags: u8,
    /// Number of tuples.
    pub ntuples: u16,
    /// Their line pointers; `None` stands for 1 to `ntuples`.
    pub listed_offsets: Option<OffsetList<'a>>,
}

impl<'a> XlHeapMultiInsert<'a> {
    /// Reads the record and makes sure that every tuple of it is whole, so
    /// that no reader finds an error after it has acted on half of them.
    #[inline]
    pub(super) fn read<R: Record + ?Sized>(rec: &'a R) -> Result<XlHeapMultiInsert<'a>, WalError> {
        let block = need_block(rec, 0)?;
        let init_page = rec.info() & XLOG_HEAP_INIT_PAGE != 0;
        let mut r = Reader::new("xl_heap_multi_insert", rec.main_data());
        let flags = r.u8()?;
        r.skip(1)?;
        let ntuples = r.u16()?;
        let listed_offsets = if init_page {
            None
        } else {
            Some(r.list(ntuples.into())?)
        };
        r.finish()?;
        if let Some(data) = block.data {
            let mut walk = TupleWalk::new(data);
            for _ in 0..ntuples {
                walk.next()?;
            }
            walk.r.finish()?;
        }
        Ok(XlHeapMultiInsert {
            block,
            init_page,
            flags,
            ntuples,
            listed_offsets,
        })
    }

    /// The line pointer of the tuple with this index, counted from 0.
    #[inline]
    pub fn offset(&self, index: u16) -> Option<OffsetNumber> {
        match self.listed_offsets {
            Some(list) => list.get(index.into()),
            None => (index < self.ntuples).then_some(index.wrapping_add(1)),
        }
    }

    /// The tuples in order.
    #[inline]
    pub fn tuples(&self) -> MultiInsertTuples<'a> {
        MultiInsertTuples {
            record: *self,
            index: 0,
            walk: self.block.data.map(TupleWalk::new),
        }
    }
}

/// One tuple of a multi-insert.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MultiInsertTuple<'a> {
    /// Its line pointer.
    pub offnum: OffsetNumber,
    /// The tuple (`xl_multi_insert_tuple`); absent if a page image took its
    /// place.
    pub tuple: Option<LoggedTuple<'a>>,
}

/// Iterator over the tuples of a multi-insert.
#[derive(Clone, Debug)]
pub struct MultiInsertTuples<'a> {
    record: XlHeapMultiInsert<'a>,
    index: u16,
    walk: Option<TupleWalk<'a>>,
}

impl<'a> Iterator for MultiInsertTuples<'a> {
    type Item = MultiInsertTuple<'a>;

    #[inline]
    fn next(&mut self) -> Option<MultiInsertTuple<'a>> {
        if self.index >= self.record.ntuples {
            return None;
        }
        let offnum = self.record.offset(self.index)?;
        let tuple = match &mut self.walk {
            // Cannot fail: the whole record was walked when it was read.
            Some(walk) => Some(walk.next().ok()?),
            None => None,
        };
        self.index = self.index.saturating_add(1);
        Some(MultiInsertTuple { offnum, tuple })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.record.ntuples.saturating_sub(self.index));
        (left, Some(left))
    }
}

/// A walk along the `xl_multi_insert_tuple`s of the block data, each of which
/// begins at an even offset (`SHORTALIGN`).
#[derive(Clone, Debug)]
struct TupleWalk<'a> {
    r: Reader<'a>,
    odd: bool,
}

impl<'a> TupleWalk<'a> {
    #[inline]
    fn new(data: &'a [u8]) -> TupleWalk<'a> {
        TupleWalk {
            r: Reader::new("xl_multi_insert_tuple", data),
            odd: false,
        }
    }

    #[inline]
    fn next(&mut self) -> Result<LoggedTuple<'a>, WalError> {
        if self.odd {
            self.r.skip(1)?;
        }
        let datalen = usize::from(self.r.u16()?);
        let header = XlHeapHeader {
            infomask2: self.r.u16()?,
            infomask: Infomask(self.r.u16()?),
            hoff: self.r.u8()?,
        };
        let data = self.r.bytes(datalen)?;
        self.odd = (SIZE_OF_MULTI_INSERT_TUPLE + datalen) % 2 == 1;
        Ok(LoggedTuple { header, data })
    }
}
