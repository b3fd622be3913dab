//! Which of the changes that wait belong together.
//!
//! Whether an entry has another of its block in front or behind, nobody can
//! foresee, the processor least of all. So nothing here asks: a list's head is
//! a place like an entry's, and what leads nowhere leads to a place of nobody,
//! where it may write. Invariant: all links are below [`ALL`].

/// Entries at most.
pub(super) const MOST: usize = 4096;
/// Heads of lists, one for each place of a block.
pub(super) const HEADS: usize = 1024;
/// All places: a power of two, so that a mask keeps an index within them.
const ALL: usize = 8192;
/// No entry: the place of nobody.
pub(super) const NONE: u16 = (ALL - 1) as u16;
const _: () = assert!(MOST + HEADS < ALL && ALL.is_power_of_two());

/// A link for each place.
type Links = [u16; ALL];

/// Entries by block, from the youngest to the oldest, and by transaction, from
/// the oldest to the youngest.
pub(super) struct Linked {
    older: Links,
    newer: Links,
    next: Links,
}

impl Default for Linked {
    fn default() -> Self {
        Linked {
            older: [NONE; ALL],
            newer: [NONE; ALL],
            next: [NONE; ALL],
        }
    }
}

#[inline(always)]
fn at(links: &mut Links, place: u16) -> &mut u16 {
    &mut links[usize::from(place) % ALL]
}

impl Linked {
    /// The youngest entry of a head.
    #[inline]
    pub(super) fn youngest(&self, head: usize) -> u16 {
        self.older[(MOST + head) % ALL]
    }

    /// The entry that is older, in its block.
    #[inline]
    pub(super) fn older(&self, entry: u16) -> u16 {
        self.older[usize::from(entry) % ALL]
    }

    /// The entry that is newer, in its block; no entry if that is a head.
    #[inline]
    pub(super) fn newer(&self, entry: u16) -> u16 {
        self.newer[usize::from(entry) % ALL]
    }

    /// The entry behind it of its transaction.
    #[inline]
    pub(super) fn next(&self, entry: u16) -> u16 {
        self.next[usize::from(entry) % ALL]
    }

    #[inline]
    pub(super) fn set_next(&mut self, entry: u16, next: u16) {
        *at(&mut self.next, entry) = next;
    }

    /// An entry is the youngest of this head, and the last of its transaction,
    /// behind another or none.
    #[inline(always)]
    pub(super) fn add(&mut self, entry: u16, head: usize, last: u16) {
        let head = (MOST + head) as u16;
        let older = std::mem::replace(at(&mut self.older, head), entry);
        *at(&mut self.newer, older) = entry;
        *at(&mut self.older, entry) = older;
        *at(&mut self.newer, entry) = head;
        *at(&mut self.next, last) = entry;
        *at(&mut self.next, entry) = NONE;
    }

    /// It is none of its block's any more.
    #[inline(always)]
    pub(super) fn remove(&mut self, entry: u16) {
        let (older, newer) = (self.older(entry), self.newer(entry));
        *at(&mut self.older, newer) = older;
        *at(&mut self.newer, older) = newer;
    }

    /// No head has entries any more.
    pub(super) fn clear(&mut self) {
        self.older[MOST..MOST + HEADS].fill(NONE);
    }
}
