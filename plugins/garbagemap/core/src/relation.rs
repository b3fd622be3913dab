//! The relations of the ledger: where they are kept, and their ranges.

use walker_wal::{BlockNumber, RelFileLocator};

use crate::block::BlockMask;
use crate::counters::Counted;
use crate::horizon::Horizon;
use crate::mem::{Boxed, MALLOC_OVERHEAD, Map, Mem, NoMemory, list_bytes, try_push};
use crate::normal::Normal;
use crate::range::Range;
use crate::range_map::RangeMap;

/// How blocks are grouped into ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    shift: u32,
    /// Whether `LP_NORMAL` items are counted.
    pub count_tuples: bool,
}

impl Geometry {
    /// `blocks` is rounded up to a power of two within 1 and
    /// [`crate::MAX_RANGE_BLOCKS`].
    pub(crate) fn new(blocks: u32, count_tuples: bool) -> Self {
        let blocks = blocks.clamp(1, crate::MAX_RANGE_BLOCKS).next_power_of_two();
        Geometry {
            shift: blocks.trailing_zeros(),
            count_tuples,
        }
    }

    pub(crate) fn range_blocks(self) -> u8 {
        1 << self.shift
    }

    /// The range a block is in, and its place there.
    pub(crate) fn split(self, blkno: BlockNumber) -> (u32, u8) {
        (
            blkno >> self.shift,
            (blkno & (self.range_blocks() as u32 - 1)) as u8,
        )
    }

    pub(crate) fn blkno(self, rangeno: u32, b: u8) -> BlockNumber {
        rangeno << self.shift | u32::from(b)
    }
}

/// One relation's main fork.
///
/// A range that is not in `ranges` has known (and empty) blocks from
/// `known_from` on and unknown blocks before it; a range that is, says itself
/// which of its blocks are known.
///
/// What every change looks at is together, from the end of `horizon` to the
/// counters: with many relations one is seldom in the processor's cache.
#[repr(C)]
pub(crate) struct Relation<R> {
    pub locator: RelFileLocator,
    pub known_from: Option<BlockNumber>,
    /// Its place in the shared map, if there was room.
    pub sink: Option<R>,
    /// How old its garbage is.
    pub horizon: Horizon,
    pub ranges: RangeMap,
    /// End of the last record that concerned it: what is coldest goes first
    /// when memory is short.
    pub last_touch: u64,
    /// A base scan is open, or a block of one is still held back.
    pub scanning: bool,
    /// The sink does not show all of it.
    pub unpublished: bool,
    /// Its first audit mismatch was reported.
    pub mismatch_reported: bool,
    /// What was counted waits to be shown.
    pub count_waits: bool,
    /// The save that has taken it up.
    pub saved: u32,
    /// What happened to it.
    pub counted: Counted,
}

/// What a relation costs beside its ranges, about: slot, index, spare room.
const RELATION_BYTES: usize = 592;
/// What a range costs beside what [`Range::heap_bytes`] counts.
const RANGE_BYTES: usize = size_of::<Range>() + MALLOC_OVERHEAD;

/// What a range of so many blocks costs whose tuples are counted, at most, beside
/// garbage.
pub(crate) fn counted_range_bytes(blocks: u32) -> u64 {
    RANGE_BYTES as u64 + list_bytes::<u16>(blocks as usize) as u64
}

impl<R> Relation<R> {
    fn new(locator: RelFileLocator) -> Self {
        Relation {
            locator,
            known_from: None,
            ranges: RangeMap::default(),
            last_touch: 0,
            sink: None,
            scanning: false,
            unpublished: false,
            mismatch_reported: false,
            count_waits: false,
            horizon: Horizon::default(),
            saved: 0,
            counted: Counted::default(),
        }
    }

    /// A range that is not there yet, for a block of it that is known or is to
    /// be.
    pub(crate) fn make_range(
        &mut self,
        geo: Geometry,
        blkno: BlockNumber,
        to_be_known: bool,
        mem: &mut Mem,
    ) -> Result<Option<&mut Range>, NoMemory> {
        let (rangeno, _) = geo.split(blkno);
        if self.ranges.is_clean(rangeno) {
            self.unclean(rangeno, mem)?;
            return Ok(self.ranges.get_mut(rangeno));
        }
        if !to_be_known && self.known_from.is_none_or(|from| blkno < from) {
            return Ok(None);
        }
        let mut range = Boxed::try_new(Range::default())?;
        *range = new_range(geo, rangeno, self.known_from, mem)?;
        // If the relation is taken up, its first change must count.
        range.saved = self.saved;
        self.put(rangeno, range, mem)?;
        Ok(self.ranges.get_mut(rangeno))
    }

    /// If the range is clean, it gets memory of its own.
    #[cold]
    pub(crate) fn unclean(&mut self, rangeno: u32, mem: &mut Mem) -> Result<(), NoMemory> {
        let Some(mut range) = self.ranges.clean_copy(rangeno) else {
            return Ok(());
        };
        // As if it were new.
        range.saved = self.saved;
        self.put(rangeno, Boxed::try_new(range)?, mem)
    }

    /// Clean ranges need no memory of their own. How many had some.
    pub(crate) fn clean_out(&mut self, geo: Geometry, mem: &mut Mem) -> u64 {
        let before = self.ranges.heap_bytes();
        let all = BlockMask::from(0, geo.range_blocks());
        let mut cleaned = 0;
        // Without memory for it they stay as they are.
        let _ = self.ranges.clean_out(all, |range| {
            range_dropped(range, mem);
            cleaned += 1;
        });
        mem.changed(before, self.ranges.heap_bytes());
        cleaned
    }

    /// Put a range to its place. Its heap bytes are accounted for.
    fn put(&mut self, rangeno: u32, range: Boxed<Range>, mem: &mut Mem) -> Result<(), NoMemory> {
        let (heap_bytes, before) = (range.heap_bytes(), self.ranges.heap_bytes());
        let result = self.ranges.try_insert(rangeno, range);
        mem.changed(before, self.ranges.heap_bytes());
        match result {
            Ok(()) => mem.grew(RANGE_BYTES),
            Err(NoMemory) => mem.shrank(heap_bytes),
        }
        result
    }

    /// Take a range out, if there is one.
    pub(crate) fn remove_range(&mut self, rangeno: u32, mem: &mut Mem) {
        let before = self.ranges.heap_bytes();
        if let Some(range) = self.ranges.remove(rangeno) {
            range_dropped(&range, mem);
        }
        mem.changed(before, self.ranges.heap_bytes());
    }

    /// Put a new range in its place. Its heap bytes were accounted for when
    /// they were allocated.
    pub(crate) fn add_range(
        &mut self,
        rangeno: u32,
        range: Range,
        mem: &mut Mem,
    ) -> Result<(), NoMemory> {
        let heap_bytes = range.heap_bytes();
        match Boxed::try_new(range) {
            Ok(range) => self.put(rangeno, range, mem),
            Err(NoMemory) => {
                mem.shrank(heap_bytes);
                Err(NoMemory)
            }
        }
    }

    /// Give back the memory of all ranges; `each` sees every one of them.
    pub(crate) fn drop_ranges(&mut self, mem: &mut Mem, mut each: impl FnMut(&Range)) {
        mem.shrank(self.ranges.heap_bytes());
        let ranges = std::mem::take(&mut self.ranges);
        for (_, range) in ranges.iter() {
            range_dropped(range, mem);
            each(range);
        }
        ranges.iter_clean().for_each(|(_, range)| each(range));
    }
}

/// A range of which nothing is known but what follows from `known_from`.
fn new_range(
    geo: Geometry,
    rangeno: u32,
    known_from: Option<BlockNumber>,
    mem: &mut Mem,
) -> Result<Range, NoMemory> {
    let (blocks, first) = (geo.range_blocks(), geo.blkno(rangeno, 0));
    let known = match known_from {
        None => BlockMask::default(),
        Some(from) => {
            let first_known = from.saturating_sub(first).min(blocks.into());
            BlockMask::from(first_known as u8, blocks)
        }
    };
    let normal = match geo.count_tuples {
        true => Normal::try_new(blocks, mem)?,
        false => Normal::default(),
    };
    Ok(Range::new(known, normal))
}

/// Account for a range that was taken out of its map by other means.
pub(crate) fn range_dropped(range: &Range, mem: &mut Mem) {
    mem.shrank(RANGE_BYTES + range.heap_bytes());
}

const CACHE_SLOTS: usize = 1024;

fn cache_slot(locator: RelFileLocator) -> usize {
    (locator.rel_number ^ locator.db_oid) as usize % CACHE_SLOTS
}

/// All relations, by slot number and by locator.
pub(crate) struct Relations<R> {
    slots: Vec<Option<Relation<R>>>,
    free: Vec<u32>,
    by_locator: Map<RelFileLocator, u32>,
    /// Those found last, by [`cache_slot`].
    cache: [Option<(RelFileLocator, u32)>; CACHE_SLOTS],
}

impl<R> Default for Relations<R> {
    fn default() -> Self {
        Relations {
            slots: Vec::new(),
            free: Vec::new(),
            by_locator: Map::default(),
            cache: [None; CACHE_SLOTS],
        }
    }
}

impl<R> Relations<R> {
    pub(crate) fn len(&self) -> usize {
        self.by_locator.len()
    }

    #[inline]
    pub(crate) fn find(&mut self, locator: RelFileLocator) -> Option<u32> {
        if let Some((found, idx)) = self.cache[cache_slot(locator)]
            && found == locator
        {
            return Some(idx);
        }
        self.find_far(locator)
    }

    /// The same for one that was not found lately.
    #[inline(never)]
    fn find_far(&mut self, locator: RelFileLocator) -> Option<u32> {
        let idx = *self.by_locator.get(&locator)?;
        self.cache[cache_slot(locator)] = Some((locator, idx));
        Some(idx)
    }

    pub(crate) fn get(&self, idx: u32) -> Option<&Relation<R>> {
        self.slots.get(idx as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, idx: u32) -> Option<&mut Relation<R>> {
        self.slots.get_mut(idx as usize)?.as_mut()
    }

    /// All relations with their slot numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Relation<R>)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(idx, rel)| Some((idx, rel.as_ref()?)))
    }

    /// Slot numbers there can be a relation at.
    pub(crate) fn indexes(&self) -> std::ops::Range<u32> {
        0..self.slots.len() as u32
    }

    /// Make a relation that does not exist.
    pub(crate) fn add(&mut self, locator: RelFileLocator, mem: &mut Mem) -> Result<u32, NoMemory> {
        self.by_locator.try_reserve(1)?;
        let idx = match self.free.pop() {
            Some(idx) => idx,
            None => {
                // Room to take every slot back, so that removal cannot fail.
                self.free.try_reserve(self.slots.len() + 1)?;
                try_push(&mut self.slots, None)?;
                self.slots.len() as u32 - 1
            }
        };
        self.by_locator.insert(locator, idx);
        if let Some(slot) = self.slots.get_mut(idx as usize) {
            *slot = Some(Relation::new(locator));
        }
        mem.grew(RELATION_BYTES);
        Ok(idx)
    }

    /// Take a relation out; its ranges are the caller's to drop.
    pub(crate) fn remove(&mut self, idx: u32, mem: &mut Mem) -> Option<Relation<R>> {
        let rel = self.slots.get_mut(idx as usize)?.take()?;
        self.by_locator.remove(&rel.locator);
        self.free.push(idx);
        self.cache[cache_slot(rel.locator)] = None;
        mem.shrank(RELATION_BYTES);
        Some(rel)
    }
}
