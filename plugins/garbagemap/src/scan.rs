//! Reading a table itself: the truth that the map is compared with.
//!
//! What is dead is decided exactly as pgstattuple does it: a tuple with
//! storage that `SnapshotDirty` does not see, asked under a share lock on the
//! buffer; see pgstat_heap in contrib/pgstattuple/pgstattuple.c. Asking sets
//! hint bits, as any read does.

use crate::relation::OpenTable;
use garbagemap_core::BaseItem;
use pgrx::pg_sys;
use std::rc::Rc;
use walker_wal::Lsn;

/// What is on a page, or on several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageCounts {
    /// Tuples with storage, dead or alive.
    pub tuples: u64,
    /// Those of them that are dead.
    pub dead: u64,
    /// `LP_DEAD` line pointers.
    pub items: u64,
    /// Bytes that an insert could use.
    pub freespace: u64,
}

impl std::ops::AddAssign for PageCounts {
    fn add_assign(&mut self, other: PageCounts) {
        self.tuples += other.tuples;
        self.dead += other.dead;
        self.items += other.items;
        self.freespace += other.freespace;
    }
}

/// The few buffers that a scan of a large table, or its pruning, uses again and again,
/// so that it does not empty the buffer pool. One for all of it: each begins with
/// buffers that it takes from the others.
pub struct Ring(pg_sys::BufferAccessStrategy);

impl Ring {
    /// To read.
    pub fn bulk_read() -> Rc<Ring> {
        Ring::new(pg_sys::BufferAccessStrategyType::BAS_BULKREAD)
    }

    /// To read and change, as VACUUM does.
    pub fn vacuum() -> Rc<Ring> {
        Ring::new(pg_sys::BufferAccessStrategyType::BAS_VACUUM)
    }

    fn new(kind: pg_sys::BufferAccessStrategyType::Type) -> Rc<Ring> {
        // SAFETY: palloc'd (storage/buffer/freelist.c); freed below, or with the memory
        // context.
        Rc::new(Ring(unsafe { pg_sys::GetAccessStrategy(kind) }))
    }

    /// For ReadBufferExtended, as long as this lives.
    pub fn strategy(&self) -> pg_sys::BufferAccessStrategy {
        self.0
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // On an error it goes with its memory context.
        if !std::thread::panicking() {
            // SAFETY: ours, and no buffer read is under way.
            unsafe { pg_sys::FreeAccessStrategy(self.0) };
        }
    }
}

/// A pinned, share-locked buffer.
pub struct Buffer(pg_sys::Buffer);

impl Buffer {
    fn read(
        table: &OpenTable,
        fork: pg_sys::ForkNumber::Type,
        blkno: u32,
        mode: pg_sys::ReadBufferMode::Type,
        strategy: pg_sys::BufferAccessStrategy,
    ) -> Buffer {
        // SAFETY: the relation is open. Should LockBuffer fail, the pin is
        // released by the resource owner, as every pin on an error.
        unsafe {
            let buffer = pg_sys::ReadBufferExtended(table.rel(), fork, blkno, mode, strategy);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            Buffer(buffer)
        }
    }

    /// Read a page of the visibility map or the free space map. These are
    /// hints to the server: a damaged page reads as empty, as in vm_readbuf
    /// and fsm_readbuf.
    pub fn read_map_page(table: &OpenTable, fork: pg_sys::ForkNumber::Type, blkno: u32) -> Buffer {
        let mode = pg_sys::ReadBufferMode::RBM_ZERO_ON_ERROR;
        Buffer::read(table, fork, blkno, mode, std::ptr::null_mut())
    }

    fn page(&self) -> pg_sys::Page {
        // SAFETY: pinned as long as `self` lives.
        unsafe { pg_sys::BufferGetPage(self.0) }
    }

    /// Copy the page.
    pub fn copy_to(&self, to: &mut [u8; pg_sys::BLCKSZ as usize]) {
        // SAFETY: a page is BLCKSZ long, pinned, and locked against changes.
        // Hints that may change under a share lock are copied with tears, as
        // they are when the server writes a page out.
        unsafe {
            self.page()
                .cast::<u8>()
                .copy_to_nonoverlapping(to.as_mut_ptr(), to.len())
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // On an error the server has released lock and pin, or will.
        if !std::thread::panicking() {
            // SAFETY: pinned and locked by us.
            unsafe { pg_sys::UnlockReleaseBuffer(self.0) };
        }
    }
}

/// Reads the pages of a table from its first block on or in any other order.
pub struct TableScan<'t> {
    table: &'t OpenTable,
    ring: Rc<Ring>,
    dirty: Box<pg_sys::SnapshotData>,
    blocks: u32,
}

impl<'t> TableScan<'t> {
    pub fn new(table: &'t OpenTable) -> Self {
        TableScan::with(table, Ring::bulk_read())
    }

    /// A part of a longer scan, with its ring.
    pub fn with(table: &'t OpenTable, ring: Rc<Ring>) -> Self {
        // InitDirtySnapshot of snapmgr.h.
        let dirty = Box::new(pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        });
        let blocks = table.blocks(pg_sys::ForkNumber::MAIN_FORKNUM);
        TableScan {
            table,
            ring,
            dirty,
            blocks,
        }
    }

    /// Blocks the table had when the scan began.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// What is on the blocks in `start..end`.
    pub fn range(&mut self, start: u32, end: u32) -> PageCounts {
        let mut sum = PageCounts::default();
        for blkno in start..end {
            pgrx::check_for_interrupts!();
            sum += self.page(blkno);
        }
        sum
    }

    /// What the map needs to know of a page: its LSN, taken together with its
    /// line pointers and tuple headers under a share lock.
    pub fn headers(&mut self, blkno: u32, items: &mut Vec<BaseItem>) -> Lsn {
        pgrx::check_for_interrupts!();
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let mode = pg_sys::ReadBufferMode::RBM_NORMAL;
        let buffer = Buffer::read(self.table, fork, blkno, mode, self.ring.strategy());
        let page = buffer.page();
        items.clear();
        // SAFETY: as in `page`; BufferGetLSNAtomic (storage/buffer/bufmgr.c)
        // because a hint may set the LSN under a share lock. Tuples with
        // storage have a whole header.
        unsafe {
            let header = page.cast::<pg_sys::PageHeaderData>();
            let line = (&raw const (*header).pd_linp).cast::<pg_sys::ItemIdData>();
            for offnum in 1..=max_offset(header) {
                let lp = *line.add(usize::from(offnum) - 1);
                let mut item = BaseItem {
                    offnum,
                    lp_flags: lp.lp_flags() as u8,
                    xmin: 0,
                    xmax: 0,
                    infomask: 0,
                };
                if lp.lp_flags() == pg_sys::LP_NORMAL {
                    let tuple = page
                        .add(lp.lp_off() as usize)
                        .cast::<pg_sys::HeapTupleHeaderData>();
                    item.xmin = (*tuple).t_choice.t_heap.t_xmin.into_inner();
                    item.xmax = (*tuple).t_choice.t_heap.t_xmax.into_inner();
                    item.infomask = (*tuple).t_infomask;
                }
                items.push(item);
            }
            Lsn(pg_sys::BufferGetLSNAtomic(buffer.0))
        }
    }

    fn page(&mut self, blkno: u32) -> PageCounts {
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let mode = pg_sys::ReadBufferMode::RBM_NORMAL;
        let buffer = Buffer::read(self.table, fork, blkno, mode, self.ring.strategy());
        let page = buffer.page();
        let mut counts = PageCounts::default();
        // SAFETY: the page is pinned and share-locked to the end of the block,
        // and ReadBufferExtended has checked its header (PageIsVerified), so
        // line pointers up to the maximum offset are on it, and tuples with
        // storage lie where they point. HeapTupleSatisfiesVisibility needs
        // t_self, t_tableOid and t_data, and the share lock. A new page has
        // no line pointer and, like in pgstattuple, no free space.
        unsafe {
            counts.freespace = pg_sys::PageGetFreeSpace(page) as u64;
            let header = page.cast::<pg_sys::PageHeaderData>();
            let line = (&raw const (*header).pd_linp).cast::<pg_sys::ItemIdData>();
            for offnum in 1..=max_offset(header) {
                let item = *line.add(usize::from(offnum) - 1);
                match item.lp_flags() {
                    pg_sys::LP_NORMAL => counts.tuples += 1,
                    pg_sys::LP_DEAD => {
                        counts.items += 1;
                        continue;
                    }
                    _ => continue,
                }
                let mut tuple = pg_sys::HeapTupleData {
                    t_len: item.lp_len(),
                    t_self: pg_sys::ItemPointerData {
                        ip_blkid: pg_sys::BlockIdData {
                            bi_hi: (blkno >> 16) as u16,
                            bi_lo: blkno as u16,
                        },
                        ip_posid: offnum,
                    },
                    t_tableOid: (*self.table.rel()).rd_id,
                    t_data: page.add(item.lp_off() as usize).cast(),
                };
                let seen =
                    pg_sys::HeapTupleSatisfiesVisibility(&mut tuple, &mut *self.dirty, buffer.0);
                if !seen {
                    counts.dead += 1;
                }
            }
        }
        counts
    }
}

/// `PageGetMaxOffsetNumber`, a macro or an inline function of the server.
///
/// # Safety
/// `header` must be that of a page that may be read.
pub unsafe fn max_offset(header: *const pg_sys::PageHeaderData) -> u16 {
    let line_at = core::mem::offset_of!(pg_sys::PageHeaderData, pd_linp) as u16;
    // SAFETY: the caller's promise.
    let lower = unsafe { (*header).pd_lower };
    lower.saturating_sub(line_at) / size_of::<pg_sys::ItemIdData>() as u16
}
