//! Base scans: learning what predates the WAL, while writers go on.
//!
//! A backend copies a page's items together with its LSN and hands both over.
//! The page was read after the scan began, so it holds every change up to
//! where the ledger was then. What the ledger has applied since, it remembers
//! as the last record per block:
//!
//! * page LSN < last record: the page was read before that record. Stale; it
//!   is to be read again.
//! * page LSN <= what is applied: the page is the block's state, now.
//! * page LSN > what is applied: the page is ahead. Its state is taken, the
//!   records up to its LSN are passed over for this block, and the block is
//!   shown as known when they all have gone by.
//!
//! A status that the server tells is final or in progress, and the end of what
//! is in progress is still to come by; so it does not matter that it is asked
//! later than the page was read.

pub(crate) mod counted;
mod held;

use walker_wal::heap::Infomask;
use walker_wal::{BlockNumber, Lsn, OffsetNumber, RelFileLocator, TransactionId};

use crate::Sink;
use crate::image::{Item, Undecided};
use crate::ledger::{At, Ledger};
use crate::mem::{Map, Mem};
use crate::xact::Oracle;

/// An item of a page, as a backend copied it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BaseItem {
    /// Its line pointer.
    pub offnum: OffsetNumber,
    /// `lp_flags`: 0 unused, 1 normal, 2 redirect, 3 dead.
    pub lp_flags: u8,
    /// Raw `t_xmin`.
    pub xmin: TransactionId,
    /// Raw `t_xmax`.
    pub xmax: TransactionId,
    /// `t_infomask`.
    pub infomask: u16,
}

impl From<BaseItem> for Item {
    fn from(item: BaseItem) -> Item {
        let BaseItem {
            lp_flags,
            xmin,
            xmax,
            infomask,
            ..
        } = item;
        match lp_flags {
            1 => Item::Tuple {
                xmin,
                xmax,
                infomask: Infomask(infomask),
            },
            3 => Item::Dead,
            _ => Item::Other,
        }
    }
}

/// What became of a page that was handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BaseOutcome {
    /// The block was known already; nothing was changed.
    Known,
    /// The block was known already, but not how many tuples it has.
    Counted,
    /// The block is known now.
    Applied,
    /// The block will be known when the WAL up to the page's LSN is applied.
    Ahead,
    /// The page was read too early: read it again.
    Stale,
    /// The block is known, but to count its tuples the page was read too soon: read
    /// it again when the WAL up to its LSN is applied.
    Soon,
    /// The page does not tell its state: a transaction's status is not kept.
    Undecided,
    /// No scan of this relation is open; it was dropped, or memory was short.
    NoScan,
}

/// An open scan, or one that still holds blocks back.
#[derive(Default)]
pub(crate) struct Scan {
    /// See [`Ledger::base_scan`].
    number: u64,
    open: u32,
    /// Whether tuples are to be counted where blocks are known without.
    count: bool,
    /// End of the last record that set the block's page LSN.
    touched: Map<BlockNumber, u64>,
    /// Page LSN of the blocks that are ahead.
    ahead: Map<BlockNumber, u64>,
    /// When this much is applied, blocks from here on are known to be empty.
    end: Option<(BlockNumber, u64)>,
}

/// All scans, by the relation's slot.
pub(crate) struct Scans {
    by_rel: Map<u32, Scan>,
    /// Something is to be done when this much is applied.
    due: u64,
    /// Scans that there were.
    begun: u64,
}

impl Default for Scans {
    fn default() -> Self {
        Scans {
            by_rel: Map::default(),
            due: u64::MAX,
            begun: 0,
        }
    }
}

/// Bytes of an entry of the maps, about.
const ENTRY_BYTES: usize = 32;

impl Scans {
    pub(crate) fn forget(&mut self, idx: u32, mem: &mut Mem) {
        if let Some(scan) = self.by_rel.remove(&idx) {
            mem.shrank((scan.touched.len() + scan.ahead.len()) * ENTRY_BYTES);
        }
    }

    /// The relation was cut: what is to be known of the blocks behind is.
    pub(crate) fn truncate(&mut self, idx: u32, blkno: BlockNumber, mem: &mut Mem) {
        let Some(scan) = self.by_rel.get_mut(&idx) else {
            return;
        };
        let before = scan.ahead.len();
        scan.ahead.retain(|&b, _| b < blkno);
        mem.shrank((before - scan.ahead.len()) * ENTRY_BYTES);
    }

    /// Whether no relation is scanned.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_rel.is_empty()
    }

    /// The relations that are scanned, in order; `None` without memory for the list.
    fn relations(&self) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        found.try_reserve_exact(self.by_rel.len()).ok()?;
        found.extend(self.by_rel.keys());
        found.sort_unstable();
        Some(found)
    }

    fn is_done(&self, idx: u32) -> bool {
        self.by_rel
            .get(&idx)
            .is_none_or(|scan| scan.open == 0 && scan.ahead.is_empty() && scan.end.is_none())
    }
}

impl<S: Sink> Ledger<S> {
    /// Whether a base scan is open, or something that one told is held back.
    pub fn is_scanning(&self) -> bool {
        !self.scans.is_empty()
    }

    /// A backend is about to read pages of the relation. Pages it read before
    /// this returned must not be handed over. `count`: the tuples of blocks that
    /// are known without their number, too, as far as there is room. The number of
    /// the scan, see [`Ledger::base_scan`]; `None` if memory is short.
    pub fn begin_base_scan(&mut self, locator: RelFileLocator, count: bool) -> Option<u64> {
        self.note_recent();
        let idx = self.open(locator)?;
        self.scans.by_rel.try_reserve(1).ok()?;
        let Scans { by_rel, begun, .. } = &mut self.scans;
        let scan = by_rel.entry(idx).or_insert_with(|| {
            *begun += 1;
            Scan {
                number: *begun,
                ..Scan::default()
            }
        });
        scan.open += 1;
        scan.count |= count;
        if let Some(rel) = self.rels.get_mut(idx) {
            rel.scanning = true;
        }
        Some(scan.number)
    }

    /// The number of the scan of a relation, which is that of all who scan it at a
    /// time. If what was noted during a scan has been forgotten, the next one's is
    /// another, and who began before may hand over nothing more, nor end it.
    pub fn base_scan(&mut self, locator: RelFileLocator) -> Option<u64> {
        let idx = self.rels.find(locator)?;
        Some(self.scans.by_rel.get(&idx)?.number)
    }

    /// One page of a base scan. `applied` is the end of the last record that
    /// was applied. A new (all-zero) page has LSN 0 and no items.
    pub fn base_block(
        &mut self,
        locator: RelFileLocator,
        blkno: BlockNumber,
        page_lsn: Lsn,
        items: &[BaseItem],
        applied: Lsn,
        oracle: &mut dyn Oracle,
    ) -> BaseOutcome {
        self.note_recent();
        let Some(idx) = self.rels.find(locator) else {
            return BaseOutcome::NoScan;
        };
        let (rangeno, b) = self.geo.split(blkno);
        let (Some(rel), Some(scan)) = (self.rels.get(idx), self.scans.by_rel.get(&idx)) else {
            return BaseOutcome::NoScan;
        };
        if scan.ahead.contains_key(&blkno) {
            return BaseOutcome::Ahead;
        }
        let (known, counted) = match rel.ranges.get(rangeno) {
            Some(range) => (range.is_known(b), range.normal.get(b).is_some()),
            // As far as it is known, it is empty.
            None => (rel.known_from.is_some_and(|from| blkno >= from), true),
        };
        let count = scan.count && self.may_count();
        if known && (counted || !count) {
            return BaseOutcome::Known;
        }
        if scan
            .touched
            .get(&blkno)
            .is_some_and(|&last| page_lsn.0 < last)
        {
            return BaseOutcome::Stale;
        }
        let at = At {
            locator,
            blkno,
            end_lsn: applied,
            sets_page_lsn: false,
        };
        if known {
            return self.count_block(idx, at, page_lsn, items);
        }
        if count {
            self.count_again(idx, rangeno);
        }
        let mut state = std::mem::take(&mut self.scratch);
        let items = items.iter().map(|&item| Ok((item.offnum, item)));
        let outcome = match self.decode_block(&mut state, at, (0, true), (items, |_, _| 0), oracle)
        {
            Err(Undecided::NoMemory) => BaseOutcome::NoScan,
            Err(_) => BaseOutcome::Undecided,
            Ok(()) if page_lsn > applied => {
                match self.learn_state(at, &state, false) && self.hold_back(idx, at, page_lsn) {
                    true => BaseOutcome::Ahead,
                    false => BaseOutcome::NoScan,
                }
            }
            Ok(()) => match self.learn_state(at, &state, true) {
                true => BaseOutcome::Applied,
                false => BaseOutcome::NoScan,
            },
        };
        self.scratch = state;
        self.enforce_limit();
        outcome
    }

    /// A backend has handed over its last page. `size` is the number of blocks
    /// the relation had at some moment of the scan, and a position that was
    /// not yet written to at that moment: blocks from there on can only appear
    /// by way of the WAL.
    pub fn end_base_scan(
        &mut self,
        locator: RelFileLocator,
        size: Option<(BlockNumber, Lsn)>,
        applied: Lsn,
    ) {
        self.note_recent();
        let Some(idx) = self.rels.find(locator) else {
            return;
        };
        let Some(scan) = self.scans.by_rel.get_mut(&idx) else {
            return;
        };
        scan.open = scan.open.saturating_sub(1);
        if let Some((blocks, lsn)) = size {
            scan.end = Some((blocks, lsn.0));
            self.scans.due = self.scans.due.min(lsn.0);
        }
        self.advance(applied);
        self.close_scan(idx);
        // Whoever scanned looks as soon as this is answered.
        self.show_waiting();
    }
}
