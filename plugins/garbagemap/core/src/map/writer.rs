//! The one process that writes the map.

use super::layout::*;
use super::status::{self, MapStatus};
use super::word::pack_link;
use std::sync::atomic::{AtomicU64, Ordering::*, fence};
use walker_wal::RelFileLocator;

/// A relation's place in the map. A handle outlives its relation harmlessly:
/// the generation tells an entry's present owner from a former one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelHandle {
    pub(super) entry: u32,
    pub(super) generation: u32,
}

/// A page of a relation.
#[derive(Clone, Copy)]
pub(super) struct PageRef {
    pub pageno: u32,
    pub page: u32,
}

/// The writer's own copy of an entry.
#[derive(Default)]
pub(super) struct Entry {
    pub locator: Option<RelFileLocator>,
    pub generation: u32,
    pub overflowed: bool,
    /// In the order of the chain, that is of `pageno`.
    pub pages: Vec<PageRef>,
}

/// Writes the map. There must be one per area at any time.
pub struct MapWriter<'a> {
    pub(super) area: &'a [AtomicU64],
    pub(super) layout: Layout,
    range_blocks: u32,
    /// The directory as it stands in the area.
    dir: Vec<u32>,
    pub(super) entries: Vec<Entry>,
    pub(super) free_entries: Vec<u32>,
    free_pages: Vec<u32>,
    /// Pages from here on were never used.
    fresh_page: u32,
    pub(super) relations: u64,
    pub(super) overflowed: u64,
}

impl<'a> MapWriter<'a> {
    /// Format the area: an empty map of ranges of `range_blocks` blocks. What
    /// is in it may be anything if it was ever formatted; else it is all zero,
    /// as shared memory is when the server starts, but for the words of a
    /// header that was not finished. `None` if the area is too small,
    /// or the range is 0 or so wide that its counters would not fit.
    pub fn init(area: &'a [AtomicU64], range_blocks: u32) -> Option<Self> {
        let layout = Layout::of(area.len())?;
        if !(1..=crate::MAX_RANGE_BLOCKS).contains(&range_blocks) {
            return None;
        }
        let epoch = area[H_EPOCH].load(Relaxed) | 1;
        area[H_EPOCH].store(epoch, Relaxed);
        // Memory that nobody has written to has no pages of the kernel's yet, and
        // most of it never will.
        if area[H_MAGIC].load(Relaxed) != 0 {
            Self::clean(area, layout);
        }
        status::store(area, &MapStatus::default());
        area[H_RANGE_BLOCKS].store(u64::from(range_blocks), Relaxed);
        area[H_ENTRIES_TOUCHED].store(0, Relaxed);
        let writer = MapWriter {
            area,
            layout,
            range_blocks,
            dir: vec![0; layout.dir_slots],
            entries: Vec::new(),
            free_entries: Vec::new(),
            free_pages: Vec::new(),
            fresh_page: 0,
            relations: 0,
            overflowed: 0,
        };
        writer.show_facts();
        area[H_MAGIC].store(MAGIC, Release);
        area[H_EPOCH].store(epoch.wrapping_add(1), Release);
        Some(writer)
    }

    /// Empty directory and entries. Readers may be in the middle of any entry.
    /// Pages need no cleaning: none is reachable then, and each is cleaned
    /// before it is linked.
    fn clean(area: &[AtomicU64], layout: Layout) {
        for entry in 0..layout.entries {
            begin(&area[layout.entry_word(entry, E_SEQ)]);
            area[layout.entry_word(entry, E_FLAGS_REL)].store(0, Relaxed);
            end(&area[layout.entry_word(entry, E_SEQ)]);
        }
        begin(&area[H_DIR_SEQ]);
        for slot in 0..layout.dir_slots {
            area[layout.dir_word(slot)].store(0, Relaxed);
        }
        end(&area[H_DIR_SEQ]);
    }

    /// Blocks per range.
    pub fn range_blocks(&self) -> u32 {
        self.range_blocks
    }

    /// Relations that did not fit and read as unknown.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Show the ledger's statistics.
    pub fn set_status(&mut self, status: &MapStatus) {
        status::store(self.area, status);
    }

    #[inline]
    pub(super) fn field(&self, entry: u32, field: usize) -> &'a AtomicU64 {
        &self.area[self.layout.entry_word(entry, field)]
    }

    #[inline]
    pub(super) fn page_word(&self, page: u32, word: usize) -> &'a AtomicU64 {
        &self.area[self.layout.page_word(page, word)]
    }

    /// The entry of a handle, if the relation still has it.
    #[inline]
    pub(super) fn live(&mut self, rel: RelHandle) -> Option<&mut Entry> {
        self.entries
            .get_mut(rel.entry as usize)
            .filter(|e| e.generation == rel.generation && e.locator.is_some())
    }

    pub(super) fn show_facts(&self) {
        let free = u64::from(self.layout.pages - self.fresh_page) + self.free_pages.len() as u64;
        self.area[H_FREE_PAGES].store(free, Relaxed);
        self.area[H_RELATIONS].store(self.relations, Relaxed);
        self.area[H_OVERFLOWED].store(self.overflowed, Relaxed);
    }

    /// The locator's entry, or the directory slot it would get.
    pub(super) fn probe(&self, locator: RelFileLocator) -> Result<(usize, u32), usize> {
        let mask = self.layout.dir_slots - 1;
        let mut slot = self.layout.home_slot(locator);
        // Ends: the directory is never more than half full.
        loop {
            let Some(entry) = self.dir[slot].checked_sub(1) else {
                return Err(slot);
            };
            if self.entries[entry as usize].locator == Some(locator) {
                return Ok((slot, entry));
            }
            slot = (slot + 1) & mask;
        }
    }

    pub(super) fn set_slot(&mut self, slot: usize, value: u32) {
        self.dir[slot] = value;
        self.area[self.layout.dir_word(slot)].store(u64::from(value), Release);
    }

    /// Take a slot out and close the gap, so that no tombstone is left.
    pub(super) fn remove_slot(&mut self, slot: usize) {
        let mask = self.layout.dir_slots - 1;
        begin(&self.area[H_DIR_SEQ]);
        let (mut gap, mut next) = (slot, (slot + 1) & mask);
        while let Some(entry) = self.dir[next].checked_sub(1) {
            let locator = self.entries[entry as usize].locator.unwrap_or_default();
            let home = self.layout.home_slot(locator);
            // It may move back if that does not put it before its home.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(gap) & mask {
                self.set_slot(gap, self.dir[next]);
                gap = next;
            }
            next = (next + 1) & mask;
        }
        self.set_slot(gap, 0);
        end(&self.area[H_DIR_SEQ]);
    }

    fn take_page(&mut self) -> Option<u32> {
        if let Some(page) = self.free_pages.pop() {
            return Some(page);
        }
        (self.fresh_page < self.layout.pages).then(|| {
            self.fresh_page += 1;
            self.fresh_page - 1
        })
    }

    /// The page with this number, or the index it would get.
    #[inline]
    pub(super) fn find_page(pages: &[PageRef], pageno: u32) -> Result<u32, usize> {
        // A relation that was filled from its beginning has no gaps.
        match pages.get(pageno as usize) {
            Some(p) if p.pageno == pageno => Ok(p.page),
            _ => pages
                .binary_search_by_key(&pageno, |p| p.pageno)
                .map(|i| pages[i].page),
        }
    }

    /// Put a new page into the chain. Its last step, one store, makes it
    /// visible, so readers need not be warned.
    pub(super) fn grow(&mut self, entry: u32, at: usize, pageno: u32) -> Option<u32> {
        let page = self.take_page()?;
        let pages = &mut self.entries[entry as usize].pages;
        let next = pages.get(at).map(|p| p.page);
        let before = at.checked_sub(1).map(|i| pages[i]);
        pages.insert(at, PageRef { pageno, page });
        for word in 1..PAGE_WORDS {
            self.page_word(page, word).store(0, Relaxed);
        }
        self.page_word(page, 0)
            .store(pack_link(next, pageno), Relaxed);
        match before {
            Some(b) => self
                .page_word(b.page, 0)
                .store(pack_link(Some(page), b.pageno), Release),
            None => self
                .field(entry, E_HEAD)
                .store(u64::from(page) + 1, Release),
        }
        self.show_facts();
        Some(page)
    }

    /// Cut the chain before the page at `keep`. The caller has the entry's
    /// sequence number odd: the pages may be another relation's in a moment.
    pub(super) fn cut(&mut self, entry: u32, keep: usize) {
        match keep
            .checked_sub(1)
            .map(|i| self.entries[entry as usize].pages[i])
        {
            Some(last) => self
                .page_word(last.page, 0)
                .store(pack_link(None, last.pageno), Relaxed),
            None => self.field(entry, E_HEAD).store(0, Relaxed),
        }
        let dropped = self.entries[entry as usize]
            .pages
            .drain(keep..)
            .map(|p| p.page);
        self.free_pages.extend(dropped);
    }

    /// No room: the relation is unknown from now on, and what room it had
    /// serves others.
    pub(super) fn overflow(&mut self, rel: RelHandle) {
        let Some(locator) = self.entries[rel.entry as usize].locator else {
            return;
        };
        let (_, number) = key_of(locator);
        begin(self.field(rel.entry, E_SEQ));
        self.field(rel.entry, E_FLAGS_REL).store(
            u64::from(FLAG_USED | FLAG_OVERFLOWED) << 32 | u64::from(number),
            Relaxed,
        );
        self.cut(rel.entry, 0);
        end(self.field(rel.entry, E_SEQ));
        self.entries[rel.entry as usize].overflowed = true;
        self.overflowed += 1;
        self.show_facts();
    }
}

/// Make a sequence number odd before a change. The fence keeps the change's
/// stores behind it.
pub(super) fn begin(seq: &AtomicU64) {
    seq.store(seq.load(Relaxed) | 1, Relaxed);
    fence(Release);
}

/// Make it even, and another one, after the change.
pub(super) fn end(seq: &AtomicU64) {
    seq.store((seq.load(Relaxed) | 1).wrapping_add(1), Release);
}
