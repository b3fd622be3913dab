//! Reading a state, which may be anything.

use std::io::Read;

use super::codec::{decode_counts, decode_sets};
use super::{FRAME_BYTES, Item, LoadError, MAGIC, VERSION};
use crate::block::{BlockMask, MAX_OFFSET};
use crate::ended::{Ended, Multixacts};
use crate::ledger::Ledger;
use crate::mem::NoMemory;
use crate::normal::Normal;
use crate::range::{DEAD, DELETED, Group, INSERTED, ITEM, Range};
use crate::shown::show;
use crate::xact::special_xid;
use crate::{MAX_RANGE_BLOCKS, Sink};

/// A slot no relation is in.
const GONE: u32 = u32::MAX;

/// Where in the state the reader is.
#[derive(Default)]
struct Place {
    /// Items read.
    items: u64,
    /// The relation that ranges belong to.
    rel: Option<u32>,
    /// The range that groups belong to.
    rangeno: Option<u32>,
    ended: bool,
    /// By slot: the relation is complete.
    kept: Vec<bool>,
}

impl Place {
    fn keep(&mut self, idx: u32) -> Result<(), NoMemory> {
        let at = idx as usize;
        if at >= self.kept.len() {
            self.kept.try_reserve(at + 1 - self.kept.len())?;
            self.kept.resize(at + 1, false);
        }
        if let Some(kept) = self.kept.get_mut(at) {
            *kept = true;
        }
        Ok(())
    }
}

fn corrupt<T>(what: &'static str) -> Result<T, LoadError> {
    Err(LoadError::Corrupt(what))
}

impl<S: Sink> Ledger<S> {
    /// Take over a saved state in place of what the ledger knows, and publish
    /// it. After an error the ledger knows nothing.
    pub fn load(&mut self, from: &mut impl Read) -> Result<(), LoadError> {
        self.forget_everything();
        let result = self.load_frames(from);
        if result.is_err() {
            self.forget_everything();
        }
        result
    }

    fn forget_everything(&mut self) {
        self.mark_all_unknown();
        self.waiting.clear();
        self.ended = Ended::default();
        self.multixacts = Multixacts::default();
    }

    fn load_frames(&mut self, from: &mut impl Read) -> Result<(), LoadError> {
        let mut frame = Vec::new();
        frame
            .try_reserve_exact(FRAME_BYTES)
            .map_err(crate::NoMemory::from)?;
        frame.resize(FRAME_BYTES, 0);
        let mut place = Place::default();
        loop {
            let mut len = [0; 4];
            from.read_exact(&mut len)?;
            let Some(bytes) = frame.get_mut(..u32::from_le_bytes(len) as usize) else {
                return corrupt("frame length");
            };
            if bytes.is_empty() {
                return if place.ended { Ok(()) } else { corrupt("end") };
            }
            from.read_exact(bytes)?;
            let mut rest: &[u8] = bytes;
            while !rest.is_empty() {
                let (item, more) = match postcard::take_from_bytes::<Item<'_>>(rest) {
                    Ok(read) => read,
                    Err(_) if place.items == 0 => return Err(LoadError::Foreign),
                    Err(_) => return corrupt("item"),
                };
                rest = more;
                if place.ended {
                    return corrupt("item behind the end");
                }
                self.load_item(item, &mut place)?;
                place.items += 1;
            }
        }
    }

    fn load_item(&mut self, item: Item<'_>, place: &mut Place) -> Result<(), LoadError> {
        if (place.items == 0) != matches!(item, Item::Header { .. }) {
            return Err(LoadError::Foreign);
        }
        match item {
            Item::Header {
                magic,
                version,
                range_blocks,
            } => {
                if (magic, version) != (MAGIC, VERSION) {
                    return Err(LoadError::Foreign);
                }
                if range_blocks != self.geo.range_blocks() {
                    return Err(LoadError::RangeBlocks(range_blocks));
                }
            }
            Item::Relation {
                locator,
                last_touch,
            } => {
                self.drop_relation(locator);
                let idx = self.open(locator).ok_or(NoMemory)?;
                if let Some(rel) = self.rels.get_mut(idx) {
                    rel.last_touch = last_touch;
                }
                (place.rel, place.rangeno) = (Some(idx), None);
            }
            Item::Again { locator } => {
                // It may have been let go meanwhile: then it stays so.
                (place.rel, place.rangeno) = (self.rels.find(locator).or(Some(GONE)), None);
            }
            Item::Kept {
                locator,
                known_from,
                last_touch,
                counters,
            } => {
                if !counters.plausible() {
                    return corrupt("counters");
                }
                let idx = self.rels.find(locator);
                if let Some((idx, rel)) = idx.and_then(|i| Some((i, self.rels.get_mut(i)?))) {
                    rel.last_touch = last_touch;
                    rel.known_from = known_from;
                    rel.counted.counters = counters;
                    rel.counted.reckoned = (counters.created(), counters.removed());
                    place.keep(idx)?;
                    self.show_counters_of(idx);
                }
            }
            Item::Range {
                rangeno,
                known,
                dead,
                items,
                normal,
            } => {
                let Some(idx) = place.rel else {
                    return corrupt("place of a range");
                };
                let parts = (BlockMask::of(known), dead, items, normal);
                self.load_range(idx, rangeno, parts)?;
                place.rangeno = Some(rangeno);
                self.enforce_limit();
            }
            Item::Group {
                xid,
                ins,
                del,
                updated,
            } => {
                let (Some(idx), Some(rangeno)) = (place.rel, place.rangeno) else {
                    return corrupt("place of a group");
                };
                let Some(sets) = decode_sets([(INSERTED, ins), (DELETED, del)], self.limit())?
                else {
                    return corrupt("set");
                };
                let group = Group { xid, sets, updated };
                self.load_group(idx, rangeno, group)?;
                self.enforce_limit();
            }
            Item::Ended { xid, committed } => self.ended.record(xid, committed),
            Item::Multixact { mxid, updater } => self.multixacts.record(mxid, updater),
            Item::End { items, wal_minimal } => {
                if items != place.items {
                    return corrupt("number of items");
                }
                self.wal_minimal = wal_minimal;
                self.show_loaded(&place.kept);
                // A range that came again may have come without a transaction
                // that had ended by then.
                self.forget_stale_touches();
                place.ended = true;
            }
        }
        Ok(())
    }

    /// All is read: show it. Before, it is not all of one moment.
    fn show_loaded(&mut self, kept: &[bool]) {
        for idx in self.rels.indexes() {
            if !kept.get(idx as usize).is_some_and(|kept| *kept) {
                self.drop_slot(idx);
                continue;
            }
            let Some(rel) = self.rels.get_mut(idx) else {
                continue;
            };
            let mut ranges = std::mem::take(&mut rel.ranges);
            let (place, unpublished) = (rel.sink, &mut rel.unpublished);
            let mut dead = 0i64;
            for (rangeno, range) in ranges.iter_mut() {
                let (sink, totals) = (&mut self.sink, &mut self.totals);
                dead += i64::from(range.age());
                let shown = show(range, rangeno, place, sink, totals);
                *unpublished |= !shown;
                self.unpublished |= !shown;
            }
            let known_from = rel.known_from;
            rel.ranges = ranges;
            self.show_clean(idx);
            self.age_garbage(idx, dead);
            // Last: what is not shown would read as known and empty.
            if let Some(place) = place {
                self.sink.set_known_from(place, known_from);
            }
        }
    }

    /// Places of a range are below this.
    fn limit(&self) -> u16 {
        u16::from(self.geo.range_blocks()) * MAX_OFFSET
    }

    fn load_range(
        &mut self,
        idx: u32,
        rangeno: u32,
        (known, dead, items, normal): (BlockMask, &[u8], &[u8], &[u8]),
    ) -> Result<(), LoadError> {
        let blocks = self.geo.range_blocks();
        if known
            .and(BlockMask::from(blocks, MAX_RANGE_BLOCKS as u8))
            .count()
            > 0
        {
            return corrupt("set of known blocks");
        }
        if rangeno > self.geo.split(u32::MAX).0 {
            return corrupt("range number");
        }
        let Some(garbage) = decode_sets([(DEAD, dead), (ITEM, items)], self.limit())? else {
            return corrupt("set");
        };
        let mut counts = [0; MAX_RANGE_BLOCKS as usize];
        let Some(n) = decode_counts(normal, &mut counts) else {
            return corrupt("counts");
        };
        // Memory may have been short meanwhile, and the relation gone.
        let Some(rel) = self.rels.get_mut(idx) else {
            return Ok(());
        };
        rel.remove_range(rangeno, &mut self.mem);
        let counts = counts[..n].iter().copied();
        let counted = Normal::from_raw(blocks, counts, &mut self.mem)?;
        let Some(mut normal) = counted else {
            return corrupt("counts");
        };
        if !self.geo.count_tuples {
            normal.drop_counts(&mut self.mem);
        }
        let mut range = Range::new(known, normal);
        self.mem.grew(garbage.heap_bytes());
        range.garbage = garbage;
        range.forget_unknown(blocks, &mut self.mem);
        rel.add_range(rangeno, range, &mut self.mem)?;
        Ok(())
    }

    fn load_group(&mut self, idx: u32, rangeno: u32, group: Group) -> Result<(), LoadError> {
        let (xid, blocks) = (group.xid, self.geo.range_blocks());
        if special_xid(xid).is_some() {
            return corrupt("transaction");
        }
        let Some(rel) = self.rels.get_mut(idx) else {
            return Ok(());
        };
        // Memory may have been short since the range came.
        rel.unclean(rangeno, &mut self.mem)?;
        let Some(range) = rel.ranges.get_mut(rangeno) else {
            return Ok(());
        };
        if !range.add_group(group, blocks, &mut self.mem)? {
            return corrupt("group");
        }
        self.note(idx, rangeno, xid)?;
        Ok(())
    }
}
