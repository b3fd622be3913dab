//! A few positions without a heap.

/// So many fit beside the length and the kind of set.
pub(super) const INLINE: usize = 14;

/// Positions in strictly ascending order. Invariant: `len` is [`INLINE`] at
/// most.
#[derive(Clone, Copy, Default)]
pub(crate) struct InlineList {
    len: u8,
    list: [u16; INLINE],
}

impl InlineList {
    /// The first [`INLINE`] of these positions, which ascend.
    pub(super) fn of(positions: impl Iterator<Item = u16>) -> Self {
        let mut list = InlineList::default();
        for (to, pos) in list.list.iter_mut().zip(positions) {
            *to = pos;
            list.len += 1;
        }
        list
    }

    #[inline]
    pub(super) fn len(&self) -> u16 {
        self.len.into()
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u16] {
        self.list.get(..self.len as usize).unwrap_or_default()
    }

    /// Where the position is, or where it would be.
    #[inline]
    pub(super) fn place(&self, pos: u16) -> Result<usize, usize> {
        let list = self.as_slice();
        let mut at = list.len();
        // Newest positions tend to be the highest.
        while let Some(&before) = at.checked_sub(1).and_then(|i| list.get(i))
            && before >= pos
        {
            at -= 1;
            if before == pos {
                return Ok(at);
            }
        }
        Err(at)
    }

    /// Put a position to its place. False if there is no room.
    #[inline]
    pub(super) fn insert_at(&mut self, at: usize, pos: u16) -> bool {
        let len = self.len as usize;
        let Some(behind) = self.list.get_mut(len) else {
            return false;
        };
        if at >= len {
            *behind = pos;
        } else {
            self.list.copy_within(at..len, at + 1);
            self.list[at] = pos;
        }
        self.len += 1;
        true
    }

    /// Take a position out. True if it was there.
    pub(super) fn remove(&mut self, pos: u16) -> bool {
        self.retain(|p| p != pos) > 0
    }

    /// Keep the positions of which `keep` says so. How many went.
    #[inline]
    pub(super) fn retain(&mut self, mut keep: impl FnMut(u16) -> bool) -> u8 {
        let (before, mut kept) = ((self.len as usize).min(INLINE), 0);
        for i in 0..before {
            let pos = self.list[i];
            if keep(pos) {
                self.list[kept] = pos;
                kept += 1;
            }
        }
        self.len = kept as u8;
        (before - kept) as u8
    }
}
