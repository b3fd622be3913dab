//! Relations, databases and tablespaces that come and go.

use walker_wal::{BlockNumber, Lsn, RelFileLocator};

use crate::Sink;
use crate::ledger::Ledger;
use crate::mem::NoMemory;

impl<S: Sink> Ledger<S> {
    /// A relation was created: all its blocks are known, as they are written
    /// to the WAL from the first one on. With `wal_level = minimal` they may
    /// not be.
    pub(crate) fn create_relation(&mut self, locator: RelFileLocator, end_lsn: Lsn) {
        // The number of a dropped relation may be used again.
        self.drop_relation(locator);
        if self.wal_minimal {
            return;
        }
        let Some(idx) = self.open(locator) else {
            return;
        };
        if let Some(rel) = self.rels.get_mut(idx) {
            rel.last_touch = end_lsn.0;
        }
        self.set_known_from(idx, 0);
    }

    /// A relation was cut to `blkno` blocks.
    pub(crate) fn truncate_relation(
        &mut self,
        locator: RelFileLocator,
        blkno: BlockNumber,
        end_lsn: Lsn,
    ) {
        let Some(idx) = self.open(locator) else {
            return;
        };
        let (geo, minimal) = (self.geo, self.wal_minimal);
        let (keep, b) = geo.split(blkno);
        let Some(rel) = self.rels.get_mut(idx) else {
            return;
        };
        rel.last_touch = end_lsn.0;
        self.saving.renew(rel);
        if rel.scanning {
            self.scans.truncate(idx, blkno, &mut self.mem);
        }
        let (totals, mem) = (&mut self.totals, &mut self.mem);
        let gone = |rangeno: u32| rangeno > keep || rangeno == keep && b == 0;
        let mut dead = 0i64;
        rel.ranges.retain(|rangeno, range| {
            if gone(rangeno) {
                dead += i64::from(range.aged);
                totals.subtract(range.shown);
                crate::relation::range_dropped(range, mem);
            }
            !gone(rangeno)
        });
        let before = rel.ranges.heap_bytes();
        let (cut, shown) = rel.ranges.cut_clean(keep + u32::from(b > 0));
        mem.changed(before, rel.ranges.heap_bytes());
        (0..cut).for_each(|_| totals.subtract(shown));
        // The blocks of a clean one that are left are as they were, and the
        // others are empty, unless that is not known.
        if minimal && b > 0 && rel.unclean(keep, mem).is_err() {
            return self.degrade(idx);
        }
        if b > 0
            && let Some(range) = rel.ranges.get_mut(keep)
        {
            for b in b..geo.range_blocks() {
                match minimal {
                    true => range.forget_block(b, mem),
                    false => range.init_block(b, mem),
                }
            }
        }
        if let Some(place) = rel.sink {
            self.sink
                .truncate(place, if b > 0 { keep + 1 } else { keep });
        }
        if minimal {
            rel.known_from = None;
            if let Some(place) = rel.sink {
                self.sink.set_known_from(place, None);
            }
        } else {
            self.set_known_from(idx, blkno);
        }
        self.age_garbage(idx, -dead);
        self.show(idx, keep);
    }

    /// Blocks from here on are known to be empty, unless their range says
    /// otherwise.
    pub(crate) fn set_known_from(&mut self, idx: u32, blkno: BlockNumber) {
        if self.know_from_here(idx, blkno) {
            self.show_known_from(idx);
        }
    }

    /// The same, but it is not shown yet. Whether that is to be done.
    pub(crate) fn know_from_here(&mut self, idx: u32, blkno: BlockNumber) -> bool {
        let Some(rel) = self.rels.get_mut(idx) else {
            return false;
        };
        let more = rel.known_from.is_none_or(|from| blkno < from);
        if more {
            rel.known_from = Some(blkno);
        }
        more
    }

    /// Show from where on blocks are known.
    pub(crate) fn show_known_from(&mut self, idx: u32) {
        // A range that is not shown yet would read as known and empty.
        self.show_waiting();
        if let Some(rel) = self.rels.get(idx)
            && let Some(place) = rel.sink
        {
            self.sink.set_known_from(place, rel.known_from);
        }
    }

    /// A relation is gone.
    pub(crate) fn drop_relation(&mut self, locator: RelFileLocator) {
        if let Some(idx) = self.rels.find(locator) {
            self.drop_slot(idx);
        }
    }

    pub(crate) fn drop_slot(&mut self, idx: u32) {
        self.recent.forget(idx);
        self.scans.forget(idx, &mut self.mem);
        let Some(mut rel) = self.rels.remove(idx, &mut self.mem) else {
            return;
        };
        let totals = &mut self.totals;
        rel.drop_ranges(&mut self.mem, |range| totals.subtract(range.shown));
        if let Some(place) = rel.sink {
            self.sink.close(place);
        }
    }

    fn drop_matching(&mut self, gone: impl Fn(RelFileLocator) -> bool) {
        for idx in self.rels.indexes() {
            if self.rels.get(idx).is_some_and(|rel| gone(rel.locator)) {
                self.drop_slot(idx);
            }
        }
    }

    /// A database's directory in this tablespace is gone.
    pub(crate) fn drop_database(&mut self, db_oid: u32, spc_oid: u32) {
        self.drop_matching(|loc| loc.db_oid == db_oid && loc.spc_oid == spc_oid);
    }

    /// A tablespace is gone.
    pub(crate) fn drop_tablespace(&mut self, spc_oid: u32) {
        self.drop_matching(|loc| loc.spc_oid == spc_oid);
    }

    /// A database was copied file by file; no other record tells of it.
    pub(crate) fn clone_database(&mut self, from: (u32, u32), to: (u32, u32), end_lsn: Lsn) {
        let ((src_db, src_spc), (db_oid, spc_oid)) = (from, to);
        if from == to {
            return;
        }
        self.drop_database(db_oid, spc_oid);
        for idx in self.rels.indexes() {
            let Some(source) = self.rels.get(idx).map(|rel| rel.locator) else {
                continue;
            };
            if (source.db_oid, source.spc_oid) == (src_db, src_spc) {
                let locator = RelFileLocator {
                    db_oid,
                    spc_oid,
                    ..source
                };
                let copied = self.clone_relation(idx, locator, end_lsn);
                if copied.is_err() {
                    // What is half there is not there.
                    self.drop_relation(locator);
                    self.stats.degradations += 1;
                }
            }
        }
    }

    fn clone_relation(
        &mut self,
        from: u32,
        locator: RelFileLocator,
        end_lsn: Lsn,
    ) -> Result<(), NoMemory> {
        let to = self.open(locator).ok_or(NoMemory)?;
        let source = self.rels.get(from).ok_or(NoMemory)?;
        let known_from = source.known_from;
        let mut rangenos = Vec::new();
        rangenos.try_reserve_exact(source.ranges.len())?;
        rangenos.extend(source.ranges.iter().map(|(rangeno, _)| rangeno));
        for rangeno in rangenos {
            let source = self.rels.get(from).and_then(|rel| rel.ranges.get(rangeno));
            let mut copy = source.ok_or(NoMemory)?.try_clone(&mut self.mem)?;
            // What a base scan holds back came after the copy, or is not known to
            // be in it; nobody will say of the copy when it is true.
            copy.forget_unknown(self.geo.range_blocks(), &mut self.mem);
            let target = self.rels.get_mut(to).ok_or(NoMemory)?;
            target.add_range(rangeno, copy, &mut self.mem)?;
            self.note_groups(to, rangeno)?;
            self.show(to, rangeno);
        }
        let source = self.rels.get(from).ok_or(NoMemory)?;
        let copies = source.ranges.clean_copies()?;
        let target = self.rels.get_mut(to).ok_or(NoMemory)?;
        target.last_touch = end_lsn.0;
        let before = target.ranges.heap_bytes();
        let copied = target.ranges.add_clean(copies);
        self.mem.changed(before, target.ranges.heap_bytes());
        copied?;
        self.show_clean(to);
        if let Some(blkno) = known_from {
            self.set_known_from(to, blkno);
        }
        Ok(())
    }

    /// Note all undecided transactions of a range that came as a whole.
    pub(crate) fn note_groups(&mut self, idx: u32, rangeno: u32) -> Result<(), NoMemory> {
        let range = self.rels.get(idx).and_then(|rel| rel.ranges.get(rangeno));
        let xids = range.map(|range| range.pending.xids()).transpose()?;
        xids.into_iter()
            .flatten()
            .try_for_each(|xid| self.note(idx, rangeno, xid))
    }

    /// WAL was not read: everything may be different.
    pub fn mark_all_unknown(&mut self) {
        self.recent.forget_all();
        for idx in self.rels.indexes() {
            self.drop_slot(idx);
        }
        self.txs.retain(|_, _| false, &mut self.mem);
    }
}
