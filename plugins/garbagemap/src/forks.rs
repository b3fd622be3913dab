//! Visibility map and free space map, read page by page.
//!
//! The server's own functions look up one heap block per call; for a range of
//! a large table that is thousands of buffer look-ups where one will do.

use crate::relation::OpenTable;
use crate::scan::Buffer;
use pgrx::pg_sys::{self, ForkNumber::*};

const PAGE: usize = pg_sys::BLCKSZ as usize;
/// `MAXALIGN(SizeOfPageHeaderData)`
const HEADER: usize = 24;

/// `HEAPBLOCKS_PER_PAGE` of visibilitymap.c: two bits per heap block.
const VM_BLOCKS: u64 = (PAGE - HEADER) as u64 * 4;
/// `VISIBILITYMAP_ALL_VISIBLE` of four blocks in each byte.
const ALL_VISIBLE: u64 = 0x5555_5555_5555_5555;

/// `offsetof(FSMPageData, fp_nodes)`, `NonLeafNodesPerPage` and
/// `SlotsPerFSMPage` of fsm_internals.h.
const FSM_NODES: usize = HEADER + 4;
const FSM_INNER: usize = PAGE / 2 - 1;
const FSM_SLOTS: u64 = (PAGE - FSM_NODES - FSM_INNER) as u64;
/// `FSM_CAT_STEP` of freespace.c.
const FSM_STEP: u64 = PAGE as u64 / 256;

// The highest category means `MaxFSMRequestSize`, which is `MaxHeapTupleSize`
// (see fsm_space_cat_to_avail). With pages of this size that is no exception.
const _: () = assert!(PAGE == 8192 && 255 * FSM_STEP == (PAGE - HEADER - 8) as u64);
const _: () = assert!(FSM_SLOTS == 4069);

/// One fork, with its last page at hand.
struct ForkPages<'t> {
    table: &'t OpenTable,
    fork: pg_sys::ForkNumber::Type,
    blocks: u32,
    at: Option<u32>,
    page: Box<[u8; PAGE]>,
}

impl<'t> ForkPages<'t> {
    fn new(table: &'t OpenTable, fork: pg_sys::ForkNumber::Type) -> Self {
        let blocks = table.blocks(fork);
        ForkPages {
            table,
            fork,
            blocks,
            at: None,
            page: Box::new([0; PAGE]),
        }
    }

    /// A page of the fork, `None` if there is none or it is empty.
    fn page(&mut self, blkno: u64) -> Option<&[u8; PAGE]> {
        let blkno = u32::try_from(blkno).ok().filter(|b| *b < self.blocks)?;
        if self.at != Some(blkno) {
            // A map of many pages that are not in memory takes its time.
            pgrx::check_for_interrupts!();
            let buffer = Buffer::read_map_page(self.table, self.fork, blkno);
            buffer.copy_to(&mut self.page);
            self.at = Some(blkno);
        }
        // pd_upper of a page that was never written is 0: PageIsNew.
        (self.page[14..16] != [0, 0]).then_some(&*self.page)
    }
}

/// Counts all-visible blocks.
pub struct AllVisible<'t>(ForkPages<'t>);

impl<'t> AllVisible<'t> {
    pub fn new(table: &'t OpenTable) -> Self {
        AllVisible(ForkPages::new(table, VISIBILITYMAP_FORKNUM))
    }

    /// How many of the blocks in `start..end` are marked all-visible.
    pub fn count(&mut self, start: u64, end: u64) -> u64 {
        let mut sum = 0;
        for (page, from, to) in pieces(start, end, VM_BLOCKS) {
            let Some(page) = self.0.page(page) else {
                continue;
            };
            let bytes = &page[HEADER + from / 4..HEADER + to.div_ceil(4)];
            sum += bytes.chunks(8).map(count_visible).sum::<u64>();
            // The first and the last byte may belong to other blocks in part.
            sum -= count_visible(&[bytes[0] & !(0xFF << (from % 4 * 2))]);
            if to % 4 != 0 {
                sum -= count_visible(&[bytes[bytes.len() - 1] & (0xFF << (to % 4 * 2))]);
            }
        }
        sum
    }
}

/// The all-visible bits in up to 8 bytes of the map.
fn count_visible(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from((u64::from_le_bytes(word) & ALL_VISIBLE).count_ones())
}

/// Adds up recorded free space.
pub struct FreeSpace<'t>(ForkPages<'t>);

impl<'t> FreeSpace<'t> {
    pub fn new(table: &'t OpenTable) -> Self {
        FreeSpace(ForkPages::new(table, FSM_FORKNUM))
    }

    /// The free bytes recorded for the blocks in `start..end`.
    pub fn sum(&mut self, start: u64, end: u64) -> u64 {
        let mut sum = 0;
        for (leaf, from, to) in pieces(start, end, FSM_SLOTS) {
            let Some(page) = self.0.page(leaf_block(leaf)) else {
                continue;
            };
            let slots = &page[FSM_NODES + FSM_INNER..][from..to];
            sum += slots.iter().map(|cat| u64::from(*cat)).sum::<u64>() * FSM_STEP;
        }
        sum
    }
}

/// The block that holds the n-th bottom page of the free space map's tree of
/// three levels; see `fsm_logical_to_physical`.
fn leaf_block(leaf: u64) -> u64 {
    (leaf + 1) + (leaf / FSM_SLOTS + 1) + (leaf / FSM_SLOTS / FSM_SLOTS + 1) - 1
}

/// Split the heap blocks `start..end` by the map page they are on: the page
/// and the part of it.
fn pieces(start: u64, end: u64, per_page: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    (start / per_page..end.div_ceil(per_page)).filter_map(move |page| {
        let first = page * per_page;
        let from = start.max(first) - first;
        let to = end.min(first + per_page) - first;
        (from < to).then_some((page, from as usize, to as usize))
    })
}
