//! Pruning as nearly all is: without an image, and nothing frozen.

use super::{
    PruneReason, XLHP_HAS_CONFLICT_HORIZON, XLHP_HAS_DEAD_ITEMS, XLHP_HAS_FREEZE_PLANS,
    XLHP_HAS_NOW_UNUSED_ITEMS, XLHP_HAS_REDIRECTIONS, XLOG_HEAP2_PRUNE,
};
use crate::bytes::{List, OffsetList};
use crate::heap::XLOG_HEAP_OPMASK;
use crate::{BlockNumber, ForkNumber, Major, OffsetNumber, Record, RelFileLocator};

/// What pruning did to the line pointers of a page; see
/// [`PruneItems`](super::PruneItems).
#[derive(Clone, Copy, Debug)]
pub struct PlainPrune<'a> {
    /// The relation, whose main fork it is.
    pub locator: RelFileLocator,
    /// The block.
    pub blkno: BlockNumber,
    /// Who wrote the record.
    pub reason: PruneReason,
    /// Line pointers that now redirect, and where to.
    pub redirected: List<'a, (OffsetNumber, OffsetNumber)>,
    /// Line pointers that now are `LP_DEAD`.
    pub nowdead: OffsetList<'a>,
    /// Line pointers that now are `LP_UNUSED`.
    pub nowunused: OffsetList<'a>,
}

/// A record of resource manager Heap2, if it prunes a page of a main fork, has
/// no image of it and freezes nothing. `None` if it is another one, or
/// malformed: then [`decode`](super::decode) has the answer.
#[inline(always)]
pub fn plain_prune<R: Record + ?Sized>(major: Major, rec: &R) -> Option<PlainPrune<'_>> {
    let op = rec.info() & XLOG_HEAP_OPMASK;
    let reason = match major >= Major::V17 {
        true => PruneReason::of_op(op)?,
        false if op == XLOG_HEAP2_PRUNE => PruneReason::Any,
        false => return None,
    };
    let block = rec.tag(0)?;
    if block.fork != ForkNumber::MAIN || block.has_image {
        return None;
    }
    let [redirected, nowdead, nowunused] = match major >= Major::V17 {
        true => lists_v17(rec.main_data(), block.data?)?,
        false => lists_v15(major, rec.main_data(), block.data?)?,
    };
    Some(PlainPrune {
        locator: block.locator,
        blkno: block.blkno,
        reason,
        redirected: List::from_bytes(redirected),
        nowdead: List::from_bytes(nowdead),
        nowunused: List::from_bytes(nowunused),
    })
}

/// Redirections, `LP_DEAD` and `LP_UNUSED` items (15, 16).
#[inline(always)]
fn lists_v15<'a>(major: Major, main: &[u8], data: &'a [u8]) -> Option<[&'a [u8]; 3]> {
    let (counts, rest) = main.split_first_chunk::<8>()?;
    match (rest, major >= Major::V16) {
        ([], false) | ([_], true) => {}
        _ => return None,
    }
    let &[_, _, _, _, r0, r1, d0, d1] = counts;
    let (nredirected, ndead) = (u16::from_le_bytes([r0, r1]), u16::from_le_bytes([d0, d1]));
    let (redirected, rest) = data.split_at_checked(usize::from(nredirected) * 4)?;
    let (nowdead, nowunused) = rest.split_at_checked(usize::from(ndead) * 2)?;
    (nowunused.len() % 2 == 0).then_some([redirected, nowdead, nowunused])
}

/// The same (from 17).
#[inline(always)]
fn lists_v17<'a>(main: &[u8], data: &'a [u8]) -> Option<[&'a [u8]; 3]> {
    let (&[_reason, flags], rest) = main.split_first_chunk::<2>()?;
    let horizon = match flags & XLHP_HAS_CONFLICT_HORIZON {
        0 => 0,
        _ => 4,
    };
    if rest.len() != horizon || flags & XLHP_HAS_FREEZE_PLANS != 0 {
        return None;
    }
    let mut left = data;
    let mut list = |flag: u8, size: usize| {
        if flags & flag == 0 {
            return Some(&[][..]);
        }
        let (&[n0, n1], rest) = left.split_first_chunk::<2>()?;
        let n = usize::from(u16::from_le_bytes([n0, n1]));
        let (items, rest) = rest.split_at_checked(n * size)?;
        left = rest;
        Some(items)
    };
    let lists = [
        list(XLHP_HAS_REDIRECTIONS, 4)?,
        list(XLHP_HAS_DEAD_ITEMS, 2)?,
        list(XLHP_HAS_NOW_UNUSED_ITEMS, 2)?,
    ];
    left.is_empty().then_some(lists)
}
