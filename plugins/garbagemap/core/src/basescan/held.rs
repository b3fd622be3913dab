//! Blocks of a base scan whose state is ahead of the WAL that was applied.

use walker_wal::{BlockNumber, Lsn};

use super::ENTRY_BYTES;
use crate::Sink;
use crate::block::BlockMask;
use crate::ledger::{At, Ledger};
use crate::mem::{try_insert, try_push};

impl<S: Sink> Ledger<S> {
    /// The block's state is ahead of the ledger.
    pub(super) fn hold_back(&mut self, idx: u32, at: At, page_lsn: Lsn) -> bool {
        let held = match self.scans.by_rel.get_mut(&idx) {
            Some(scan) => try_insert(&mut scan.ahead, at.blkno, page_lsn.0).is_ok(),
            None => false,
        };
        if held {
            self.mem.grew(ENTRY_BYTES);
            self.scans.due = self.scans.due.min(page_lsn.0);
        } else {
            self.forget_block(at);
        }
        held
    }

    /// A transaction the block's state depends on cannot be decided about:
    /// give up what is held back in the range.
    pub(crate) fn give_up_held(&mut self, idx: u32, rangeno: u32) {
        let geo = self.geo;
        let Some(scan) = self.scans.by_rel.get_mut(&idx) else {
            return;
        };
        let range = self
            .rels
            .get_mut(idx)
            .and_then(|rel| rel.ranges.get_mut(rangeno));
        let Some(range) = range else { return };
        self.saving.changed(range, idx, rangeno);
        let mem = &mut self.mem;
        scan.ahead.retain(|&blkno, _| {
            let (no, b) = geo.split(blkno);
            if no == rangeno {
                range.forget_block(b, mem);
                mem.shrank(ENTRY_BYTES);
            }
            no != rangeno
        });
    }

    pub(super) fn close_scan(&mut self, idx: u32) {
        if self.scans.is_done(idx) {
            self.scans.forget(idx, &mut self.mem);
            if let Some(rel) = self.rels.get_mut(idx) {
                rel.scanning = false;
            }
        }
    }

    /// All records up to here are applied.
    #[inline]
    pub fn advance(&mut self, applied: Lsn) {
        if applied.0 >= self.scans.due {
            self.release(applied.0);
        }
    }

    /// Show what was held back up to this position.
    #[cold]
    fn release(&mut self, applied: u64) {
        let Some(scanned) = self.scans.relations() else {
            // Without memory for the list: at the next record.
            return;
        };
        self.scans.due = u64::MAX;
        for idx in scanned {
            let Some(scan) = self.scans.by_rel.get_mut(&idx) else {
                continue;
            };
            let mut ahead = std::mem::take(&mut scan.ahead);
            let end = scan.end.take_if(|(_, lsn)| *lsn <= applied);
            let mut due = scan.end.map_or(u64::MAX, |(_, lsn)| lsn);
            ahead.retain(|&blkno, &mut lsn| {
                if lsn <= applied {
                    self.show_known(idx, blkno);
                    self.mem.shrank(ENTRY_BYTES);
                } else {
                    due = due.min(lsn);
                }
                lsn > applied
            });
            self.scans.due = self.scans.due.min(due);
            if let Some(scan) = self.scans.by_rel.get_mut(&idx) {
                scan.ahead = ahead;
            }
            if let Some((blocks, lsn)) = end {
                self.know_from(idx, blocks, lsn);
            }
            self.close_scan(idx);
        }
    }

    fn show_known(&mut self, idx: u32, blkno: BlockNumber) {
        let (rangeno, b) = self.geo.split(blkno);
        let range = self
            .rels
            .get_mut(idx)
            .and_then(|rel| rel.ranges.get_mut(rangeno));
        if let Some(range) = range {
            self.saving.changed(range, idx, rangeno);
            range.known.set(b, true);
        }
        self.show(idx, rangeno);
    }

    /// The relation had `blocks` blocks when the scan began. Those behind that are
    /// not known, or not counted, do not exist, unless a record has named them
    /// since, which was before `lsn` or not, and could not be made use of.
    fn know_from(&mut self, idx: u32, blocks: BlockNumber, lsn: u64) {
        let geo = self.geo;
        let more = self.know_from_here(idx, blocks);
        let (Some(scan), Some(rel)) = (self.scans.by_rel.get(&idx), self.rels.get_mut(idx)) else {
            return;
        };
        let named = |blkno: BlockNumber| scan.touched.contains_key(&blkno);
        let mut changed = Vec::new();
        for (rangeno, range) in rel.ranges.iter_mut() {
            let absent = (0..geo.range_blocks())
                .map(|b| (b, geo.blkno(rangeno, b)))
                .filter(|&(_, blkno)| blkno >= blocks)
                .filter(|&(b, _)| !range.known.get(b) || range.normal.lacks(b))
                .filter(|&(_, blkno)| !named(blkno) && !scan.ahead.contains_key(&blkno));
            let mask = absent.fold(BlockMask::default(), |mut mask, (b, _)| {
                mask.set(b, true);
                mask
            });
            if mask != BlockMask::default() && try_push(&mut changed, rangeno).is_ok() {
                self.saving.changed(range, idx, rangeno);
                range.know_empty(mask);
            }
        }
        let locator = rel.locator;
        let mut unusable = Vec::new();
        for &blkno in scan.touched.keys() {
            let (rangeno, _) = geo.split(blkno);
            if blkno >= blocks && rel.ranges.get(rangeno).is_none() {
                let _ = try_push(&mut unusable, blkno);
            }
        }
        changed
            .into_iter()
            .for_each(|rangeno| self.show(idx, rangeno));
        for blkno in unusable {
            self.forget_block(At {
                locator,
                blkno,
                end_lsn: Lsn(lsn),
                sets_page_lsn: false,
            });
        }
        if more {
            self.show_known_from(idx);
        }
    }

    /// A record of a relation that is being scanned. False if the block's
    /// state has the change already.
    pub(crate) fn scan_admits(&mut self, idx: u32, at: At) -> bool {
        let Some(scan) = self.scans.by_rel.get_mut(&idx) else {
            return true;
        };
        if let Some(&page_lsn) = scan.ahead.get(&at.blkno) {
            if at.end_lsn.0 <= page_lsn {
                return false;
            }
            scan.ahead.remove(&at.blkno);
            self.mem.shrank(ENTRY_BYTES);
            self.show_known(idx, at.blkno);
        }
        let Some(scan) = self.scans.by_rel.get_mut(&idx) else {
            return true;
        };
        if at.sets_page_lsn && (scan.open > 0 || scan.end.is_some()) {
            match try_insert(&mut scan.touched, at.blkno, at.end_lsn.0) {
                Ok(None) => self.mem.grew(ENTRY_BYTES),
                Ok(Some(_)) => {}
                Err(_) => self.degrade(idx), // the scan cannot be trusted now
            }
        }
        true
    }
}
