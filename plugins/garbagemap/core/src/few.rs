//! A list that is nearly always short: the first items have no heap.
//!
//! The order is nobody's concern. Invariant: what is on the heap comes only
//! when all places here are taken.

use crate::mem::{Mem, NoMemory, list_bytes};

/// The heap has room for so many at first, and an empty list keeps no more.
const FIRST: usize = 6;

/// See the module's documentation.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Few<T, const N: usize> {
    len: u8,
    here: [T; N],
    more: Vec<T>,
}

impl<T: Copy + Default, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Few {
            len: 0,
            here: [T::default(); N],
            more: Vec::new(),
        }
    }
}

impl<T: Copy + Default, const N: usize> Few<T, N> {
    /// The first `n` of these, which need no heap, nor does one more.
    #[inline]
    pub(crate) fn of<const M: usize>(items: [T; M], n: usize) -> Self {
        const { assert!(M < N && N <= u8::MAX as usize) };
        let mut few = Few::default();
        few.here[..M].copy_from_slice(&items);
        few.len = n.min(M) as u8;
        few
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len) + self.more.len()
    }

    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        list_bytes::<T>(self.more.capacity())
    }

    #[inline]
    fn here(&self) -> &[T] {
        self.here.get(..self.len.into()).unwrap_or(&self.here)
    }

    #[inline]
    pub(crate) fn push(&mut self, item: T, mem: &mut Mem) -> Result<(), NoMemory> {
        match self.here.get_mut(usize::from(self.len)) {
            Some(place) => {
                *place = item;
                self.len += 1;
                Ok(())
            }
            None => self.push_more(item, mem),
        }
    }

    #[inline(never)]
    fn push_more(&mut self, item: T, mem: &mut Mem) -> Result<(), NoMemory> {
        if self.more.len() == self.more.capacity() {
            let before = self.heap_bytes();
            self.more.try_reserve_exact(self.more.len().max(FIRST))?;
            mem.changed(before, self.heap_bytes());
        }
        self.more.push(item); // there is room
        Ok(())
    }

    /// Keep those of which `keep` says so.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool, mem: &mut Mem) {
        self.take_if(|item| !keep(item), |_, _| (), mem);
    }

    /// Take out those of which `goes` says so, each shown to `see`.
    #[inline]
    pub(crate) fn take_if(
        &mut self,
        mut goes: impl FnMut(&T) -> bool,
        mut see: impl FnMut(T, &mut Mem),
        mem: &mut Mem,
    ) {
        if !self.more.is_empty() {
            self.more.retain(|item| {
                let goes = goes(item);
                if goes {
                    see(*item, mem);
                }
                !goes
            });
        }
        let mut kept = 0;
        for at in 0..usize::from(self.len).min(N) {
            let item = self.here[at];
            if goes(&item) {
                see(item, mem);
            } else {
                self.here[kept] = item;
                kept += 1;
            }
        }
        self.len = kept as u8;
        if self.more.capacity() != 0 {
            self.fill_up(mem);
        }
    }

    /// Fill the places here from the heap; give it back if it is empty.
    #[inline(never)]
    fn fill_up(&mut self, mem: &mut Mem) {
        while usize::from(self.len) < N
            && let Some(item) = self.more.pop()
        {
            self.here[usize::from(self.len)] = item;
            self.len += 1;
        }
        if self.more.is_empty() && self.more.capacity() > FIRST {
            mem.shrank(self.heap_bytes());
            self.more = Vec::new();
        }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.here().iter().chain(&self.more)
    }

    /// Whether one of them is such a one.
    #[inline]
    pub(crate) fn any(&self, mut is: impl FnMut(&T) -> bool) -> bool {
        self.here().iter().any(&mut is) || !self.more.is_empty() && self.more.iter().any(is)
    }

    #[inline]
    pub(crate) fn for_each_mut(&mut self, mut change: impl FnMut(&mut T)) {
        let len = usize::from(self.len);
        self.here.iter_mut().take(len).for_each(&mut change);
        if !self.more.is_empty() {
            self.more.iter_mut().for_each(change);
        }
    }

    pub(crate) fn try_clone(&self, mem: &mut Mem) -> Result<Self, NoMemory> {
        let mut more = Vec::new();
        more.try_reserve_exact(self.more.len())?;
        more.extend_from_slice(&self.more);
        let copy = Few { more, ..*self };
        mem.grew(copy.heap_bytes());
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn like_a_vec(ops in prop::collection::vec((0..6u8, 0..10u32), 0..100)) {
            let (mut few, mut model, mut mem) =
                (Few::<u32, 2>::default(), Vec::new(), Mem::default());
            for (what, n) in ops {
                match what {
                    0..=3 => {
                        few.push(n, &mut mem).unwrap();
                        model.push(n);
                    }
                    4 => {
                        let mut seen = Vec::new();
                        few.take_if(|&item| item % 3 == n % 3, |item, _| seen.push(item), &mut mem);
                        let mut gone: Vec<_> =
                            model.extract_if(.., |item| *item % 3 == n % 3).collect();
                        seen.sort_unstable();
                        gone.sort_unstable();
                        prop_assert_eq!(seen, gone);
                    }
                    _ => {
                        few.for_each_mut(|item| *item += 1);
                        model.iter_mut().for_each(|item| *item += 1);
                    }
                }
                let mut now: Vec<_> = few.iter().copied().collect();
                now.sort_unstable();
                model.sort_unstable();
                prop_assert_eq!(&now, &model);
                prop_assert_eq!((few.len(), few.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(few.any(|item| *item == n), model.contains(&n));
                prop_assert_eq!(few.heap_bytes(), mem.used());
            }
            let copy = few.try_clone(&mut mem).unwrap();
            prop_assert_eq!(copy.heap_bytes() + few.heap_bytes(), mem.used());
            prop_assert!(copy.iter().eq(few.iter()));
        }
    }
}
