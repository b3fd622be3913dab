//! Pruning and freeing of line pointers: `xl_heap_prune` of every version, and
//! `xl_heap_vacuum`, which 15 and 16 had beside it.

use super::freeze::FreezePlans;
use super::{
    XLOG_HEAP2_PRUNE, XLOG_HEAP2_PRUNE_ON_ACCESS, XLOG_HEAP2_PRUNE_VACUUM_CLEANUP,
    XLOG_HEAP2_PRUNE_VACUUM_SCAN,
};
use crate::bytes::{List, OffsetList, Reader};
use crate::heap::XLOG_HEAP_OPMASK;
use crate::record::need_block;
use crate::{Block, Major, OffsetNumber, Record, TransactionId, WalError};
use serde::Serialize;

/// The relation is a catalog.
pub const XLHP_IS_CATALOG_REL: u8 = 1 << 1;
/// Redo needs a cleanup lock.
pub const XLHP_CLEANUP_LOCK: u8 = 1 << 2;
/// A conflict horizon follows in the main data.
pub const XLHP_HAS_CONFLICT_HORIZON: u8 = 1 << 3;
/// Freeze plans are among the block data.
pub const XLHP_HAS_FREEZE_PLANS: u8 = 1 << 4;
/// Redirections are among the block data.
pub const XLHP_HAS_REDIRECTIONS: u8 = 1 << 5;
/// Items that become `LP_DEAD` are among the block data.
pub const XLHP_HAS_DEAD_ITEMS: u8 = 1 << 6;
/// Items that become `LP_UNUSED` are among the block data.
pub const XLHP_HAS_NOW_UNUSED_ITEMS: u8 = 1 << 7;

/// Who wrote a pruning record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum PruneReason {
    /// A query or a vacuum's first pass: `XLOG_HEAP2_PRUNE` of 15 and 16.
    Any,
    /// `XLOG_HEAP2_PRUNE_ON_ACCESS`
    OnAccess,
    /// `XLOG_HEAP2_PRUNE_VACUUM_SCAN`
    VacuumScan,
    /// `XLOG_HEAP2_PRUNE_VACUUM_CLEANUP`
    VacuumCleanup,
}

impl PruneReason {
    #[inline]
    pub(crate) fn of_op(op: u8) -> Option<PruneReason> {
        match op {
            XLOG_HEAP2_PRUNE_ON_ACCESS => Some(PruneReason::OnAccess),
            XLOG_HEAP2_PRUNE_VACUUM_SCAN => Some(PruneReason::VacuumScan),
            XLOG_HEAP2_PRUNE_VACUUM_CLEANUP => Some(PruneReason::VacuumCleanup),
            _ => None,
        }
    }
}

/// `xl_heap_prune` of every version.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapPrune<'a> {
    /// The page (block reference 0).
    pub block: Block<'a>,
    /// Who wrote it.
    pub reason: PruneReason,
    /// `XLHP_*` from 17 on; 15 and 16 have the catalog bit at most, and
    /// always the conflict horizon and the need of a cleanup lock.
    pub flags: u8,
    /// Horizon for conflicts with queries on a standby, 0 if there is none
    /// (`latestRemovedXid` in 15).
    pub snapshot_conflict_horizon: TransactionId,
    /// `nredirected` and `ndead` of the main data (15, 16), which stand there
    /// even if a page image took the place of `items`.
    pub counts: Option<(u16, u16)>,
    /// What was done to the page; absent if a page image took its place.
    pub items: Option<PruneItems<'a>>,
}

/// What pruning did to the line pointers and tuples of a page.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PruneItems<'a> {
    /// Line pointers that now redirect, and where to. The first of a pair
    /// loses its tuple, if it still had one.
    pub redirected: List<'a, (OffsetNumber, OffsetNumber)>,
    /// Line pointers that now are `LP_DEAD`.
    pub nowdead: OffsetList<'a>,
    /// Line pointers that now are `LP_UNUSED`.
    pub nowunused: OffsetList<'a>,
    /// Tuples that now are frozen (from 17).
    pub frozen: FreezePlans<'a>,
}

impl<'a> XlHeapPrune<'a> {
    /// Reads a pruning record: for who looks at many, without the copy into a
    /// [`Heap2Record`](super::Heap2Record). `None` if it is another one.
    #[inline(always)]
    pub fn read<R: Record + ?Sized>(
        major: Major,
        rec: &'a R,
    ) -> Option<Result<XlHeapPrune<'a>, WalError>> {
        let op = rec.info() & XLOG_HEAP_OPMASK;
        if major >= Major::V17 {
            return PruneReason::of_op(op).map(|reason| XlHeapPrune::read_v17(rec, reason));
        }
        (op == XLOG_HEAP2_PRUNE).then(|| XlHeapPrune::read_v15(major, rec))
    }

    pub(super) fn read_v15<R: Record + ?Sized>(
        major: Major,
        rec: &'a R,
    ) -> Result<XlHeapPrune<'a>, WalError> {
        let block = need_block(rec, 0)?;
        let mut r = Reader::new("xl_heap_prune", rec.main_data());
        let (snapshot_conflict_horizon, nredirected, ndead) = (r.u32()?, r.u16()?, r.u16()?);
        let is_catalog_rel = major >= Major::V16 && r.bool()?;
        r.finish()?;
        let items = match block.data {
            Some(data) => {
                let mut r = Reader::new("offsets of xl_heap_prune", data);
                Some(PruneItems {
                    redirected: r.list(nredirected.into())?,
                    nowdead: r.list(ndead.into())?,
                    nowunused: r.list_to_end()?,
                    frozen: FreezePlans::default(),
                })
            }
            None => None,
        };
        Ok(XlHeapPrune {
            block,
            reason: PruneReason::Any,
            flags: if is_catalog_rel {
                XLHP_IS_CATALOG_REL
            } else {
                0
            },
            snapshot_conflict_horizon,
            counts: Some((nredirected, ndead)),
            items,
        })
    }

    #[inline]
    pub(super) fn read_v17<R: Record + ?Sized>(
        rec: &'a R,
        reason: PruneReason,
    ) -> Result<XlHeapPrune<'a>, WalError> {
        let block = need_block(rec, 0)?;
        let mut r = Reader::new("xl_heap_prune", rec.main_data());
        // The reason byte says what the opcode says.
        let (_reason, flags) = (r.u8()?, r.u8()?);
        let snapshot_conflict_horizon = if flags & XLHP_HAS_CONFLICT_HORIZON != 0 {
            r.u32()?
        } else {
            0
        };
        r.finish()?;
        let items = match block.data {
            Some(data) => Some(PruneItems::read_v17(flags, data)?),
            None => None,
        };
        Ok(XlHeapPrune {
            block,
            reason,
            flags,
            snapshot_conflict_horizon,
            counts: None,
            items,
        })
    }
}

impl<'a> PruneItems<'a> {
    #[inline]
    fn read_v17(flags: u8, data: &'a [u8]) -> Result<PruneItems<'a>, WalError> {
        let mut r = Reader::new("sub-records of xl_heap_prune", data);
        let mut items = PruneItems::default();
        if flags & XLHP_HAS_FREEZE_PLANS != 0 {
            let nplans = r.u16()?;
            r.skip(2)?;
            items.frozen.plans = r.list(nplans.into())?;
        }
        if flags & XLHP_HAS_REDIRECTIONS != 0 {
            let n = r.u16()?;
            items.redirected = r.list(n.into())?;
        }
        if flags & XLHP_HAS_DEAD_ITEMS != 0 {
            let n = r.u16()?;
            items.nowdead = r.list(n.into())?;
        }
        if flags & XLHP_HAS_NOW_UNUSED_ITEMS != 0 {
            let n = r.u16()?;
            items.nowunused = r.list(n.into())?;
        }
        items.frozen.offsets = r.list(items.frozen.ntuples())?;
        r.finish()?;
        Ok(items)
    }
}

/// `xl_heap_vacuum` (15, 16).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapVacuum<'a> {
    /// The page (block reference 0).
    pub block: Block<'a>,
    /// How many line pointers the main data says were freed.
    pub nunused: u16,
    /// Line pointers that were `LP_DEAD` and now are `LP_UNUSED`; absent if a
    /// page image took their place.
    pub nowunused: Option<OffsetList<'a>>,
}

impl<'a> XlHeapVacuum<'a> {
    pub(super) fn read<R: Record + ?Sized>(rec: &'a R) -> Result<XlHeapVacuum<'a>, WalError> {
        let block = need_block(rec, 0)?;
        let mut r = Reader::new("xl_heap_vacuum", rec.main_data());
        let nunused = r.u16()?;
        r.finish()?;
        let nowunused = match block.data {
            Some(data) => {
                let mut r = Reader::new("offsets of xl_heap_vacuum", data);
                let list = r.list(nunused.into())?;
                r.finish()?;
                Some(list)
            }
            None => None,
        };
        Ok(XlHeapVacuum {
            block,
            nunused,
            nowunused,
        })
    }
}
