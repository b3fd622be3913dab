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
/// `VISIBILITYMAP_ALL_VISIBLE` of four blocks in a byte.
const ALL_VISIBLE: u8 = 0b0101_0101;

/// `offsetof(FSMPageData, fp_nodes)`, `NonLeafNodesPerPage` and
/// `SlotsPerFSMPage` of fsm_internals.h.
const FSM_NODES: usize = HEADER + 4;
const FSM_INNER: usize = PAGE / 2 - 1;
const FSM_SLOTS: u64 = (PAGE - FSM_NODES - FSM_INNER) as u64;
/// `FSM_CAT_STEP` of freespace.c.
const FSM_STEP: u64 = PAGE as u64 / 256;
/// `MaxFSMRequestSize`, which is `MaxHeapTupleSize`.
const FSM_MAX: u64 = (PAGE - HEADER - 8) as u64;

const _: () = assert!(FSM_SLOTS == 4069 || PAGE != 8192);

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
            for byte in from / 4..=(to - 1) / 4 {
                let mut bits = page[HEADER + byte] & ALL_VISIBLE;
                if byte * 4 < from {
                    bits &= 0xFF << (from % 4 * 2);
                }
                if byte * 4 + 4 > to {
                    bits &= 0xFF >> (8 - to % 4 * 2);
                }
                sum += u64::from(bits.count_ones());
            }
        }
        sum
    }
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
            // fsm_space_cat_to_avail
            sum += slots.iter().fold(0, |sum, cat| {
                sum + if *cat == 255 {
                    FSM_MAX
                } else {
                    u64::from(*cat) * FSM_STEP
                }
            });
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
