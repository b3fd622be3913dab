//! Records of resource manager Heap (`access/heapam_xlog.h`).
//!
//! The layouts are those of 15; INPLACE alone grew, in 18. From 17.11 and
//! 18.6 on, block references to the visibility map may stand beside those of
//! the heap, so that a block's meaning follows from its ID and fork, never
//! from its being the last.

mod consts;
mod plain;
mod tuple;

pub use consts::*;
pub use plain::{PlainChange, PlainLock, plain_change, plain_lock};
pub use tuple::*;

use crate::bytes::{Reader, U32List};
use crate::inval::InvalMessages;
use crate::record::need_block;
use crate::{Block, ForkNumber, Major, OffsetNumber, Record, TransactionId, WalError};
use serde::Serialize;

/// A record of resource manager Heap.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum HeapRecord<'a> {
    /// `XLOG_HEAP_INSERT`
    Insert(XlHeapInsert<'a>),
    /// `XLOG_HEAP_DELETE`
    Delete(XlHeapDelete<'a>),
    /// `XLOG_HEAP_UPDATE` and `XLOG_HEAP_HOT_UPDATE`
    Update(XlHeapUpdate<'a>),
    /// `XLOG_HEAP_TRUNCATE`
    Truncate(XlHeapTruncate<'a>),
    /// `XLOG_HEAP_CONFIRM`
    Confirm(XlHeapConfirm<'a>),
    /// `XLOG_HEAP_LOCK`
    Lock(XlHeapLock<'a>),
    /// `XLOG_HEAP_INPLACE`
    Inplace(XlHeapInplace<'a>),
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// A tuple in a record, without the fields that redo knows anyhow.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LoggedTuple<'a> {
    /// The fields that are logged.
    pub header: XlHeapHeader,
    /// Null bitmap, padding and user data; without the prefix and suffix an
    /// update shares with the old tuple.
    #[serde(serialize_with = "crate::ser::hex")]
    pub data: &'a [u8],
}

impl<'a> LoggedTuple<'a> {
    #[inline]
    fn read(r: &mut Reader<'a>) -> Result<LoggedTuple<'a>, WalError> {
        Ok(LoggedTuple {
            header: XlHeapHeader::read(r)?,
            data: r.take_rest(),
        })
    }
}

/// `xl_heap_insert`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapInsert<'a> {
    /// The page (block reference 0).
    pub block: Block<'a>,
    /// Whether the page was empty before.
    pub init_page: bool,
    /// The new tuple's line pointer.
    pub offnum: OffsetNumber,
    /// `XLH_INSERT_*`.
    pub flags: u8,
    /// The new tuple; absent if a page image took its place.
    pub tuple: Option<LoggedTuple<'a>>,
}

impl<'a> XlHeapInsert<'a> {
    /// Reads a record with this opcode: for who looks at few, without the
    /// copy into a [`HeapRecord`].
    #[inline(always)]
    pub fn read<R: Record + ?Sized>(rec: &'a R) -> Result<XlHeapInsert<'a>, WalError> {
        let init_page = rec.info() & XLOG_HEAP_INIT_PAGE != 0;
        let block = need_block(rec, 0)?;
        let mut r = Reader::new("xl_heap_insert", rec.main_data());
        let [o0, o1, flags] = r.array()?;
        let offnum = u16::from_le_bytes([o0, o1]);
        r.finish()?;
        let tuple = match block.data {
            Some(data) => Some(LoggedTuple::read(&mut Reader::new("xl_heap_header", data))?),
            None => None,
        };
        Ok(XlHeapInsert {
            block,
            init_page,
            offnum,
            flags,
            tuple,
        })
    }
}

/// `xl_heap_delete`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapDelete<'a> {
    /// The page (block reference 0).
    pub block: Block<'a>,
    /// The tuple's new xmax. It may be a multixact: who deletes is the
    /// record's xid.
    pub xmax: TransactionId,
    /// The deleted tuple's line pointer.
    pub offnum: OffsetNumber,
    /// `XLHL_*`.
    pub infobits_set: u8,
    /// `XLH_DELETE_*`.
    pub flags: u8,
    /// The old tuple or its key, for logical decoding.
    pub old_tuple: Option<LoggedTuple<'a>>,
}

impl<'a> XlHeapDelete<'a> {
    /// Reads a record with this opcode, as [`XlHeapInsert::read`] does.
    #[inline(always)]
    pub fn read<R: Record + ?Sized>(rec: &'a R) -> Result<XlHeapDelete<'a>, WalError> {
        let block = need_block(rec, 0)?;
        let mut r = Reader::new("xl_heap_delete", rec.main_data());
        let [x0, x1, x2, x3, o0, o1, infobits_set, flags] = r.array()?;
        let xmax = u32::from_le_bytes([x0, x1, x2, x3]);
        let offnum = u16::from_le_bytes([o0, o1]);
        let old_tuple = old_tuple(r, flags & XLH_DELETE_CONTAINS_OLD != 0)?;
        Ok(XlHeapDelete {
            block,
            xmax,
            offnum,
            infobits_set,
            flags,
            old_tuple,
        })
    }
}

/// `xl_heap_update`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapUpdate<'a> {
    /// The page of the new tuple (block reference 0).
    pub new_block: Block<'a>,
    /// The page of the old tuple; `None` if it is the same page.
    pub other_old_block: Option<Block<'a>>,
    /// Whether it is a HOT update.
    pub hot: bool,
    /// Whether the **new** page was empty before.
    pub init_page: bool,
    /// The old tuple's new xmax; may be a multixact.
    pub old_xmax: TransactionId,
    /// The old tuple's line pointer.
    pub old_offnum: OffsetNumber,
    /// `XLHL_*` for the old tuple.
    pub old_infobits_set: u8,
    /// `XLH_UPDATE_*`.
    pub flags: u8,
    /// The new tuple's xmax: surviving lockers.
    pub new_xmax: TransactionId,
    /// The new tuple's line pointer.
    pub new_offnum: OffsetNumber,
    /// Bytes the new tuple shares with the old one at the front.
    pub prefix_len: u16,
    /// Bytes the new tuple shares with the old one at the end.
    pub suffix_len: u16,
    /// The new tuple; absent if a page image took its place.
    pub new_tuple: Option<LoggedTuple<'a>>,
    /// The old tuple or its key, for logical decoding.
    pub old_tuple: Option<LoggedTuple<'a>>,
}

impl<'a> XlHeapUpdate<'a> {
    /// Reads a record with one of its two opcodes, as [`XlHeapInsert::read`]
    /// does.
    #[inline(always)]
    pub fn read<R: Record + ?Sized>(rec: &'a R) -> Result<XlHeapUpdate<'a>, WalError> {
        let hot = rec.info() & XLOG_HEAP_OPMASK == XLOG_HEAP_HOT_UPDATE;
        let init_page = rec.info() & XLOG_HEAP_INIT_PAGE != 0;
        let new_block = need_block(rec, 0)?;
        let other_old_block = rec.block(1).filter(|b| b.fork == ForkNumber::MAIN);
        let mut r = Reader::new("xl_heap_update", rec.main_data());
        let [x0, x1, x2, x3, o0, o1, old_infobits_set, flags, new @ ..]: [u8; 14] = r.array()?;
        let [n0, n1, n2, n3, f0, f1] = new;
        let old_xmax = u32::from_le_bytes([x0, x1, x2, x3]);
        let old_offnum = u16::from_le_bytes([o0, o1]);
        let new_xmax = u32::from_le_bytes([n0, n1, n2, n3]);
        let new_offnum = u16::from_le_bytes([f0, f1]);
        let old_tuple = old_tuple(r, flags & XLH_UPDATE_CONTAINS_OLD != 0)?;

        let (mut prefix_len, mut suffix_len, mut new_tuple) = (0, 0, None);
        if let Some(data) = new_block.data {
            let mut r = Reader::new("new tuple of xl_heap_update", data);
            if flags & XLH_UPDATE_PREFIX_FROM_OLD != 0 {
                prefix_len = r.u16()?;
            }
            if flags & XLH_UPDATE_SUFFIX_FROM_OLD != 0 {
                suffix_len = r.u16()?;
            }
            new_tuple = Some(LoggedTuple::read(&mut r)?);
        }
        Ok(XlHeapUpdate {
            new_block,
            other_old_block,
            hot,
            init_page,
            old_xmax,
            old_offnum,
            old_infobits_set,
            flags,
            new_xmax,
            new_offnum,
            prefix_len,
            suffix_len,
            new_tuple,
            old_tuple,
        })
    }

    /// The page of the old tuple.
    #[inline]
    pub fn old_block(&self) -> &Block<'a> {
        self.other_old_block.as_ref().unwrap_or(&self.new_block)
    }
}

/// `xl_heap_truncate`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapTruncate<'a> {
    /// The database of all the relations.
    pub db_oid: u32,
    /// `XLH_TRUNCATE_*`.
    pub flags: u8,
    /// OIDs of the relations, then of sequences to be restarted.
    pub relids: U32List<'a>,
}

/// `xl_heap_confirm`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapConfirm<'a> {
    /// The page (block reference 0).
    pub block: Block<'a>,
    /// The confirmed tuple's line pointer.
    pub offnum: OffsetNumber,
}

/// `xl_heap_lock`, and `xl_heap_lock_updated` of Heap2, which is the same.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapLock<'a> {
    /// The page (block reference 0).
    pub block: Block<'a>,
    /// The new xmax (`locking_xid` in 15); may be a multixact.
    pub xmax: TransactionId,
    /// The locked tuple's line pointer.
    pub offnum: OffsetNumber,
    /// `XLHL_*`.
    pub infobits_set: u8,
    /// `XLH_LOCK_*`.
    pub flags: u8,
}

impl<'a> XlHeapLock<'a> {
    pub(crate) fn read<R: Record + ?Sized>(rec: &'a R) -> Result<XlHeapLock<'a>, WalError> {
        let mut r = Reader::new("xl_heap_lock", rec.main_data());
        let lock = XlHeapLock {
            block: need_block(rec, 0)?,
            xmax: r.u32()?,
            offnum: r.u16()?,
            infobits_set: r.u8()?,
            flags: r.u8()?,
        };
        r.finish()?;
        Ok(lock)
    }
}

/// `xl_heap_inplace`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapInplace<'a> {
    /// The page (block reference 0); its data are the tuple's new body.
    pub block: Block<'a>,
    /// The tuple's line pointer.
    pub offnum: OffsetNumber,
    /// Cache invalidations that go with it, from 18.
    pub inval: Option<InplaceInval<'a>>,
}

/// What 18 appended to `xl_heap_inplace`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InplaceInval<'a> {
    /// `MyDatabaseId`.
    pub db_oid: u32,
    /// `MyDatabaseTableSpace`.
    pub ts_oid: u32,
    /// Whether relcache init files are invalidated.
    pub relcache_init_file_inval: bool,
    /// The messages.
    pub msgs: InvalMessages<'a>,
}

/// Decodes a record of resource manager Heap.
#[inline]
pub fn decode<R: Record + ?Sized>(major: Major, rec: &R) -> Result<HeapRecord<'_>, WalError> {
    match rec.info() & XLOG_HEAP_OPMASK {
        XLOG_HEAP_INSERT => XlHeapInsert::read(rec).map(HeapRecord::Insert),
        XLOG_HEAP_DELETE => XlHeapDelete::read(rec).map(HeapRecord::Delete),
        XLOG_HEAP_UPDATE | XLOG_HEAP_HOT_UPDATE => XlHeapUpdate::read(rec).map(HeapRecord::Update),
        XLOG_HEAP_TRUNCATE => truncate(rec).map(HeapRecord::Truncate),
        XLOG_HEAP_CONFIRM => confirm(rec).map(HeapRecord::Confirm),
        XLOG_HEAP_LOCK => XlHeapLock::read(rec).map(HeapRecord::Lock),
        XLOG_HEAP_INPLACE => inplace(major, rec).map(HeapRecord::Inplace),
        op => Ok(HeapRecord::Other { op }),
    }
}

#[inline]
fn old_tuple(mut r: Reader<'_>, present: bool) -> Result<Option<LoggedTuple<'_>>, WalError> {
    if present {
        return LoggedTuple::read(&mut r).map(Some);
    }
    r.finish()?;
    Ok(None)
}

fn truncate<R: Record + ?Sized>(rec: &R) -> Result<XlHeapTruncate<'_>, WalError> {
    let mut r = Reader::new("xl_heap_truncate", rec.main_data());
    let (db_oid, nrelids, flags) = (r.u32()?, r.u32()?, r.u8()?);
    r.skip(3)?;
    let relids = r.list(nrelids as usize)?;
    r.finish()?;
    Ok(XlHeapTruncate {
        db_oid,
        flags,
        relids,
    })
}

fn confirm<R: Record + ?Sized>(rec: &R) -> Result<XlHeapConfirm<'_>, WalError> {
    let mut r = Reader::new("xl_heap_confirm", rec.main_data());
    let confirm = XlHeapConfirm {
        block: need_block(rec, 0)?,
        offnum: r.u16()?,
    };
    r.finish()?;
    Ok(confirm)
}

fn inplace<R: Record + ?Sized>(major: Major, rec: &R) -> Result<XlHeapInplace<'_>, WalError> {
    let mut r = Reader::new("xl_heap_inplace", rec.main_data());
    let (block, offnum) = (need_block(rec, 0)?, r.u16()?);
    let inval = if major >= Major::V18 {
        r.skip(2)?;
        let (db_oid, ts_oid, relcache_init_file_inval) = (r.u32()?, r.u32()?, r.bool()?);
        r.skip(3)?;
        let msgs = InvalMessages::read(&mut r)?;
        Some(InplaceInval {
            db_oid,
            ts_oid,
            relcache_init_file_inval,
            msgs,
        })
    } else {
        None
    };
    r.finish()?;
    Ok(XlHeapInplace {
        block,
        offnum,
        inval,
    })
}
