//! Arrays in the WAL, read in place: unaligned, item by item.

use crate::RelFileLocator;
use std::fmt;
use std::marker::PhantomData;

/// An item of fixed size within an array of the WAL.
pub trait Fixed: Copy {
    /// Its size in bytes, alignment padding included.
    const SIZE: usize;
    /// The item that begins with these bytes; `None` if they are fewer than
    /// [`Fixed::SIZE`].
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Fixed for u16 {
    const SIZE: usize = 2;
    #[inline]
    fn read(bytes: &[u8]) -> Option<u16> {
        bytes.first_chunk().map(|b| u16::from_le_bytes(*b))
    }
}

impl Fixed for u32 {
    const SIZE: usize = 4;
    #[inline]
    fn read(bytes: &[u8]) -> Option<u32> {
        bytes.first_chunk().map(|b| u32::from_le_bytes(*b))
    }
}

impl Fixed for (u16, u16) {
    const SIZE: usize = 4;
    #[inline]
    fn read(bytes: &[u8]) -> Option<(u16, u16)> {
        let [a, b, c, d] = *bytes.first_chunk()?;
        Some((u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])))
    }
}

impl Fixed for RelFileLocator {
    const SIZE: usize = 12;
    #[inline]
    fn read(bytes: &[u8]) -> Option<RelFileLocator> {
        bytes.first_chunk().map(|b| RelFileLocator::from_bytes(*b))
    }
}

impl RelFileLocator {
    /// The three OIDs as they stand in a record.
    #[inline]
    pub(crate) fn from_bytes(b: [u8; 12]) -> RelFileLocator {
        let [s0, s1, s2, s3, d0, d1, d2, d3, r0, r1, r2, r3] = b;
        RelFileLocator {
            spc_oid: u32::from_le_bytes([s0, s1, s2, s3]),
            db_oid: u32::from_le_bytes([d0, d1, d2, d3]),
            rel_number: u32::from_le_bytes([r0, r1, r2, r3]),
        }
    }
}

/// A borrowed, unaligned array of the WAL, read item by item.
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    bytes: &'a [u8],
    item: PhantomData<T>,
}

/// Offset numbers. Their range is not checked: 0 and numbers above
/// [`MAX_HEAP_TUPLES_PER_PAGE`](crate::heap::MAX_HEAP_TUPLES_PER_PAGE) can
/// stand in a damaged record.
pub type OffsetList<'a> = List<'a, crate::OffsetNumber>;
/// Transaction IDs, OIDs.
pub type U32List<'a> = List<'a, u32>;

impl<'a, T: Fixed> List<'a, T> {
    /// An array without items.
    pub const EMPTY: List<'static, T> = List {
        bytes: &[],
        item: PhantomData,
    };

    /// The array that these bytes are; bytes short of a whole item at the end
    /// do not belong to it.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> List<'a, T> {
        List {
            bytes,
            item: PhantomData,
        }
    }

    /// Number of items.
    #[inline]
    pub fn len(self) -> usize {
        self.bytes.len() / T::SIZE
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.len() < T::SIZE
    }

    /// The item with this index, counted from 0.
    #[inline]
    pub fn get(self, index: usize) -> Option<T> {
        T::read(self.bytes.get(index.checked_mul(T::SIZE)?..)?)
    }

    /// The items in order.
    #[inline]
    pub fn iter(self) -> ListIter<'a, T> {
        ListIter {
            chunks: self.bytes.chunks_exact(T::SIZE),
            item: PhantomData,
        }
    }
}

impl<T: Fixed> Default for List<'_, T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, T: Fixed> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    #[inline]
    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

/// Iterator over a [`List`].
#[derive(Clone, Debug)]
pub struct ListIter<'a, T> {
    chunks: std::slice::ChunksExact<'a, u8>,
    item: PhantomData<T>,
}

impl<'a, T: Fixed> List<'a, T> {
    /// The first `n` items, or as many as there are, and the others.
    pub fn split_at(self, n: usize) -> (List<'a, T>, List<'a, T>) {
        let at = n.saturating_mul(T::SIZE).min(self.bytes.len());
        let (front, back) = self.bytes.split_at_checked(at).unwrap_or_default();
        (List::from_bytes(front), List::from_bytes(back))
    }
}

impl<T: Fixed> Iterator for ListIter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.chunks.next().and_then(T::read)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chunks.size_hint()
    }
}

impl<T: Fixed> ExactSizeIterator for ListIter<'_, T> {}

impl<T: Fixed + fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Fixed + PartialEq> PartialEq<[T]> for List<'_, T> {
    fn eq(&self, other: &[T]) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| a == *b)
    }
}

impl<T: Fixed + serde::Serialize> serde::Serialize for List<'_, T> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}
