//! Records of resource manager Heap2: the overflow of Heap
//! (`access/heapam_xlog.h`).
//!
//! Opcodes 0x10 to 0x30 were PRUNE, VACUUM and FREEZE_PAGE up to 16. From 17
//! all three are the one pruning record, and tell only who wrote it.

mod freeze;
mod multi_insert;
mod plain;
mod prune;

pub use freeze::*;
pub use multi_insert::{MultiInsertTuple, MultiInsertTuples, XlHeapMultiInsert};
pub use plain::{PlainPrune, plain_prune};
pub use prune::*;

use crate::bytes::Reader;
use crate::heap::{ItemPointer, XLOG_HEAP_OPMASK, XlHeapLock};
use crate::record::need_block;
use crate::{Block, Lsn, Major, Record, RelFileLocator, TransactionId, WalError};
use serde::Serialize;

/// Mappings of a rewritten catalog; for logical decoding only.
pub const XLOG_HEAP2_REWRITE: u8 = 0x00;
/// A page was pruned (15, 16).
pub const XLOG_HEAP2_PRUNE: u8 = 0x10;
/// Dead line pointers became unused (15, 16).
pub const XLOG_HEAP2_VACUUM: u8 = 0x20;
/// Tuples were frozen (15, 16).
pub const XLOG_HEAP2_FREEZE_PAGE: u8 = 0x30;
/// Pruned by a query (from 17).
pub const XLOG_HEAP2_PRUNE_ON_ACCESS: u8 = 0x10;
/// Pruned or frozen by a vacuum's first pass (from 17).
pub const XLOG_HEAP2_PRUNE_VACUUM_SCAN: u8 = 0x20;
/// Dead line pointers freed by a vacuum's second pass (from 17).
pub const XLOG_HEAP2_PRUNE_VACUUM_CLEANUP: u8 = 0x30;
/// Bits of the visibility map were set.
pub const XLOG_HEAP2_VISIBLE: u8 = 0x40;
/// Several rows were inserted into one page.
pub const XLOG_HEAP2_MULTI_INSERT: u8 = 0x50;
/// A newer version of a locked row was locked.
pub const XLOG_HEAP2_LOCK_UPDATED: u8 = 0x60;
/// Command IDs of a catalog row; for logical decoding only.
pub const XLOG_HEAP2_NEW_CID: u8 = 0x70;

/// The page is all-visible (`visibilitymapdefs.h`).
pub const VISIBILITYMAP_ALL_VISIBLE: u8 = 0x01;
/// The page is all-frozen.
pub const VISIBILITYMAP_ALL_FROZEN: u8 = 0x02;
/// Not a bit of the map: the relation is a catalog (from 16).
pub const VISIBILITYMAP_XLOG_CATALOG_REL: u8 = 0x04;

/// A record of resource manager Heap2.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Heap2Record<'a> {
    /// `XLOG_HEAP2_REWRITE`
    Rewrite(XlHeapRewriteMapping<'a>),
    /// `XLOG_HEAP2_PRUNE`, and from 17 the three `XLOG_HEAP2_PRUNE_*`
    Prune(XlHeapPrune<'a>),
    /// `XLOG_HEAP2_VACUUM` (15, 16)
    Vacuum(XlHeapVacuum<'a>),
    /// `XLOG_HEAP2_FREEZE_PAGE` (15, 16)
    FreezePage(XlHeapFreezePage<'a>),
    /// `XLOG_HEAP2_VISIBLE`
    Visible(XlHeapVisible<'a>),
    /// `XLOG_HEAP2_MULTI_INSERT`
    MultiInsert(XlHeapMultiInsert<'a>),
    /// `XLOG_HEAP2_LOCK_UPDATED`
    LockUpdated(XlHeapLock<'a>),
    /// `XLOG_HEAP2_NEW_CID`
    NewCid(XlHeapNewCid),
    /// An opcode this code does not know.
    Other {
        /// The masked info byte.
        op: u8,
    },
}

/// `xl_heap_visible`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapVisible<'a> {
    /// The page of the visibility map (block reference 0).
    pub vm_block: Block<'a>,
    /// The heap page (block reference 1).
    pub block: Block<'a>,
    /// Horizon for conflicts with queries on a standby (`cutoff_xid` in 15).
    pub snapshot_conflict_horizon: TransactionId,
    /// `VISIBILITYMAP_*`.
    pub flags: u8,
}

/// `xl_heap_new_cid`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapNewCid {
    /// The top-level transaction.
    pub top_xid: TransactionId,
    /// Inserting command.
    pub cmin: u32,
    /// Deleting command.
    pub cmax: u32,
    /// Combo command ID.
    pub combocid: u32,
    /// The catalog.
    pub target_locator: RelFileLocator,
    /// The row.
    pub target_tid: ItemPointer,
}

/// `xl_heap_rewrite_mapping`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapRewriteMapping<'a> {
    /// The transaction that might need to see the rows.
    pub mapped_xid: TransactionId,
    /// The database, 0 for shared relations.
    pub mapped_db: u32,
    /// The relation's OID.
    pub mapped_rel: u32,
    /// Where in the mapping file these go.
    pub offset: i64,
    /// Number of mappings.
    pub num_mappings: u32,
    /// Insert position when the rewrite began.
    pub start_lsn: Lsn,
    /// The mappings (`LogicalRewriteMappingData`, 36 bytes each).
    #[serde(serialize_with = "crate::ser::hex")]
    pub mappings: &'a [u8],
}

/// `sizeof(LogicalRewriteMappingData)`.
const SIZE_OF_MAPPING: u64 = 36;

/// Decodes a record of resource manager Heap2.
#[inline]
pub fn decode<R: Record + ?Sized>(major: Major, rec: &R) -> Result<Heap2Record<'_>, WalError> {
    use Heap2Record::*;
    let op = rec.info() & XLOG_HEAP_OPMASK;
    if major >= Major::V17
        && let Some(reason) = PruneReason::of_op(op)
    {
        return XlHeapPrune::read_v17(rec, reason).map(Prune);
    }
    match op {
        XLOG_HEAP2_REWRITE => rewrite(rec).map(Rewrite),
        XLOG_HEAP2_PRUNE => XlHeapPrune::read_v15(major, rec).map(Prune),
        XLOG_HEAP2_VACUUM => XlHeapVacuum::read(rec).map(Vacuum),
        XLOG_HEAP2_FREEZE_PAGE => XlHeapFreezePage::read(major, rec).map(FreezePage),
        XLOG_HEAP2_VISIBLE => visible(rec).map(Visible),
        XLOG_HEAP2_MULTI_INSERT => XlHeapMultiInsert::read(rec).map(MultiInsert),
        XLOG_HEAP2_LOCK_UPDATED => XlHeapLock::read(rec).map(LockUpdated),
        XLOG_HEAP2_NEW_CID => new_cid(rec).map(NewCid),
        op => Ok(Other { op }),
    }
}

fn visible<R: Record + ?Sized>(rec: &R) -> Result<XlHeapVisible<'_>, WalError> {
    let mut r = Reader::new("xl_heap_visible", rec.main_data());
    let visible = XlHeapVisible {
        vm_block: need_block(rec, 0)?,
        block: need_block(rec, 1)?,
        snapshot_conflict_horizon: r.u32()?,
        flags: r.u8()?,
    };
    r.finish()?;
    Ok(visible)
}

fn new_cid<R: Record + ?Sized>(rec: &R) -> Result<XlHeapNewCid, WalError> {
    let mut r = Reader::new("xl_heap_new_cid", rec.main_data());
    let new_cid = XlHeapNewCid {
        top_xid: r.u32()?,
        cmin: r.u32()?,
        cmax: r.u32()?,
        combocid: r.u32()?,
        target_locator: r.locator()?,
        target_tid: ItemPointer::read(&mut r)?,
    };
    r.finish()?;
    Ok(new_cid)
}

fn rewrite<R: Record + ?Sized>(rec: &R) -> Result<XlHeapRewriteMapping<'_>, WalError> {
    let mut r = Reader::new("xl_heap_rewrite_mapping", rec.main_data());
    let (mapped_xid, mapped_db, mapped_rel) = (r.u32()?, r.u32()?, r.u32()?);
    r.skip(4)?;
    let (offset, num_mappings) = (r.i64()?, r.u32()?);
    r.skip(4)?;
    let start_lsn = r.lsn()?;
    let mappings = r.take_rest();
    if u64::from(num_mappings) * SIZE_OF_MAPPING != mappings.len() as u64 {
        return Err(WalError::Invalid {
            what: "num_mappings",
            value: num_mappings.into(),
        });
    }
    Ok(XlHeapRewriteMapping {
        mapped_xid,
        mapped_db,
        mapped_rel,
        offset,
        num_mappings,
        start_lsn,
        mappings,
    })
}
