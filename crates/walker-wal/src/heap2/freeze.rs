//! Freezing: `xl_heap_freeze_page` of 15 and 16, and the freeze plans that 17
//! made a part of pruning.

use crate::bytes::{Fixed, List, OffsetList, Reader};
use crate::heap::Infomask;
use crate::record::need_block;
use crate::{Block, Major, OffsetNumber, Record, TransactionId, WalError};
use serde::Serialize;

/// Freeze `t_xvac`.
pub const XLH_FREEZE_XVAC: u8 = 0x02;
/// Clear `t_xvac`.
pub const XLH_INVALID_XVAC: u8 = 0x04;

/// `xl_heap_freeze_page` (15, 16).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct XlHeapFreezePage<'a> {
    /// The page (block reference 0).
    pub block: Block<'a>,
    /// Horizon for conflicts with queries on a standby (`cutoff_xid` in 15).
    pub snapshot_conflict_horizon: TransactionId,
    /// `ntuples` (15) or `nplans` (16) of the main data.
    pub count: u16,
    /// Whether the relation is a catalog (16).
    pub is_catalog_rel: bool,
    /// What was frozen; absent if a page image took its place.
    pub frozen: Option<Frozen<'a>>,
}

/// Frozen tuples: one by one, or by plan.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Frozen<'a> {
    /// 15
    Tuples(List<'a, XlHeapFreezeTuple>),
    /// 16
    Plans(FreezePlans<'a>),
}

impl<'a> XlHeapFreezePage<'a> {
    pub(super) fn read<R: Record + ?Sized>(
        major: Major,
        rec: &'a R,
    ) -> Result<XlHeapFreezePage<'a>, WalError> {
        let block = need_block(rec, 0)?;
        let mut r = Reader::new("xl_heap_freeze_page", rec.main_data());
        let (snapshot_conflict_horizon, count) = (r.u32()?, r.u16()?);
        let by_plan = major >= Major::V16;
        let is_catalog_rel = by_plan && r.bool()?;
        r.finish()?;
        let frozen = match block.data {
            Some(data) => {
                let mut r = Reader::new("tuples of xl_heap_freeze_page", data);
                let frozen = if by_plan {
                    let mut plans = FreezePlans {
                        plans: r.list(count.into())?,
                        offsets: List::EMPTY,
                    };
                    plans.offsets = r.list(plans.ntuples())?;
                    Frozen::Plans(plans)
                } else {
                    Frozen::Tuples(r.list(count.into())?)
                };
                r.finish()?;
                Some(frozen)
            }
            None => None,
        };
        Ok(XlHeapFreezePage {
            block,
            snapshot_conflict_horizon,
            count,
            is_catalog_rel,
            frozen,
        })
    }
}

/// `xl_heap_freeze_tuple` (15).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct XlHeapFreezeTuple {
    /// The new raw xmax.
    pub xmax: TransactionId,
    /// The tuple's line pointer.
    pub offnum: OffsetNumber,
    /// The new infomask2.
    pub infomask2: u16,
    /// The new infomask.
    pub infomask: Infomask,
    /// `XLH_FREEZE_XVAC`, `XLH_INVALID_XVAC`.
    pub frzflags: u8,
}

impl Fixed for XlHeapFreezeTuple {
    const SIZE: usize = 12;

    fn read(bytes: &[u8]) -> Option<XlHeapFreezeTuple> {
        let [x0, x1, x2, x3, o0, o1, m0, m1, n0, n1, frzflags, _] = *bytes.first_chunk()?;
        Some(XlHeapFreezeTuple {
            xmax: u32::from_le_bytes([x0, x1, x2, x3]),
            offnum: u16::from_le_bytes([o0, o1]),
            infomask2: u16::from_le_bytes([m0, m1]),
            infomask: Infomask(u16::from_le_bytes([n0, n1])),
            frzflags,
        })
    }
}

/// `xlhp_freeze_plan` (`xl_heap_freeze_plan` in 16): how a group of tuples is
/// frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct FreezePlan {
    /// The new raw xmax.
    pub xmax: TransactionId,
    /// The new infomask2.
    pub infomask2: u16,
    /// The new infomask.
    pub infomask: Infomask,
    /// `XLH_FREEZE_XVAC`, `XLH_INVALID_XVAC`.
    pub frzflags: u8,
    /// How many tuples.
    pub ntuples: u16,
}

impl Fixed for FreezePlan {
    const SIZE: usize = 12;

    #[inline]
    fn read(bytes: &[u8]) -> Option<FreezePlan> {
        let [x0, x1, x2, x3, m0, m1, n0, n1, frzflags, _, t0, t1] = *bytes.first_chunk()?;
        Some(FreezePlan {
            xmax: u32::from_le_bytes([x0, x1, x2, x3]),
            infomask2: u16::from_le_bytes([m0, m1]),
            infomask: Infomask(u16::from_le_bytes([n0, n1])),
            frzflags,
            ntuples: u16::from_le_bytes([t0, t1]),
        })
    }
}

/// Freeze plans, and the line pointers they are for in the same order.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct FreezePlans<'a> {
    /// The plans.
    pub plans: List<'a, FreezePlan>,
    /// The line pointers of the first plan, then of the second, and so on.
    pub offsets: OffsetList<'a>,
}

impl<'a> FreezePlans<'a> {
    pub(super) fn ntuples(&self) -> usize {
        self.plans.iter().map(|p| usize::from(p.ntuples)).sum()
    }

    /// Each line pointer with its plan.
    pub fn tuples(self) -> impl Iterator<Item = (OffsetNumber, FreezePlan)> + 'a {
        let mut left = self.offsets;
        self.plans.iter().flat_map(move |plan| {
            let (group, others) = left.split_at(plan.ntuples.into());
            left = others;
            group.iter().map(move |offnum| (offnum, plan))
        })
    }
}
