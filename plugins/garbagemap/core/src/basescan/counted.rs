//! How many tuples there are comes back by base scans, to blocks that are known
//! without it: because memory was short, or because all that was told of them is
//! that they are all-visible.

use walker_wal::Lsn;

use super::{BaseItem, BaseOutcome};
use crate::Sink;
use crate::block::BlockMask;
use crate::image::Item;
use crate::ledger::{At, Ledger};
use crate::range::Effect;
use crate::relation::counted_range_bytes;

/// Whether tuples may be counted again in so many ranges, of so many blocks each,
/// with so many bytes in use. Up to three fourths of what may be: memory that was
/// short has seven eighths in use then, so counts do not come and go.
pub fn has_room_for_counts(ranges: u64, range_blocks: u32, used: u64, max_memory: u64) -> bool {
    let more = ranges.saturating_mul(counted_range_bytes(range_blocks));
    used.saturating_add(more) < max_memory / 4 * 3
}

impl<S: Sink> Ledger<S> {
    /// Whether there is room for one range's.
    pub(super) fn may_count(&self) -> bool {
        let (used, max) = (self.mem.used() as u64, self.config.max_memory as u64);
        self.geo.count_tuples && has_room_for_counts(1, self.geo.range_blocks().into(), used, max)
    }

    /// The range's tuples are counted again, if it is there.
    pub(super) fn count_again(&mut self, idx: u32, rangeno: u32) {
        let (blocks, held) = (self.geo.range_blocks(), self.held(idx, rangeno));
        let rel = self.rels.get_mut(idx);
        if let Some(range) = rel.and_then(|rel| rel.ranges.get_mut(rangeno)) {
            range.count_again(blocks, held, &mut self.mem);
        }
    }

    /// The blocks of a range whose state is there, but not known yet. Of nobody's
    /// interest if its tuples are counted.
    fn held(&self, idx: u32, rangeno: u32) -> BlockMask {
        let mut held = BlockMask::default();
        let range = self.rels.get(idx).and_then(|rel| rel.ranges.get(rangeno));
        if range.is_some_and(|range| !range.normal.is_tracked())
            && let Some(scan) = self.scans.by_rel.get(&idx)
            && !scan.ahead.is_empty()
        {
            for b in 0..self.geo.range_blocks() {
                held.set(b, scan.ahead.contains_key(&self.geo.blkno(rangeno, b)));
            }
        }
        held
    }

    /// The page of a known block, of which no record has told since the scan began
    /// that the page does not have.
    pub(super) fn count_block(
        &mut self,
        idx: u32,
        at: At,
        page_lsn: Lsn,
        items: &[BaseItem],
    ) -> BaseOutcome {
        if page_lsn > at.end_lsn {
            return BaseOutcome::Soon;
        }
        let is_tuple = |item: &&BaseItem| matches!(Item::from(**item), Item::Tuple { .. });
        let tuples = items.iter().filter(is_tuple).count();
        let (rangeno, _) = self.geo.split(at.blkno);
        let (blocks, held) = (self.geo.range_blocks(), self.held(idx, rangeno));
        let done = self.change(idx, at, 0, true, |range, b, mem| {
            range.count_again(blocks, held, mem);
            range.normal.set(b, u16::try_from(tuples).ok());
            Ok(Effect::default())
        });
        self.enforce_limit();
        match done {
            true => BaseOutcome::Counted,
            false => BaseOutcome::NoScan,
        }
    }
}
