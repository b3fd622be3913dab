//! Bounds-checked reading of the unaligned little-endian bytes of the WAL.
//!
//! PostgreSQL writes WAL in the byte order of the machine and reads it back
//! only there. All servers this crate is built for are little-endian.

use crate::{Lsn, RelFileLocator, WalError};
use std::fmt;
use std::marker::PhantomData;

/// A cursor over the bytes of one structure, which it names in its errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    #[cold]
    fn truncated(&self, need: usize) -> WalError {
        WalError::Truncated {
            what: self.what,
            need,
            have: self.rest.len(),
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8], WalError> {
        match self.rest.split_at_checked(n) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(self.truncated(n)),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WalError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, WalError> {
        self.array().map(|[b]| b)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, WalError> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, WalError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, WalError> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, WalError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A C `bool`: any other byte than 0 is true, as the server takes it.
    #[inline]
    pub(crate) fn bool(&mut self) -> Result<bool, WalError> {
        self.u8().map(|b| b != 0)
    }

    #[inline]
    pub(crate) fn lsn(&mut self) -> Result<Lsn, WalError> {
        self.u64().map(Lsn)
    }

    #[inline]
    pub(crate) fn locator(&mut self) -> Result<RelFileLocator, WalError> {
        self.array().map(RelFileLocator::from_bytes)
    }

    /// A count, which C has as `int`.
    #[inline]
    pub(crate) fn count(&mut self) -> Result<usize, WalError> {
        let n = self.u32()?;
        if n > i32::MAX as u32 {
            return Err(WalError::Invalid {
                what: self.what,
                value: n.into(),
            });
        }
        Ok(n as usize)
    }

    /// A length, which C has as `Size`.
    pub(crate) fn size(&mut self) -> Result<usize, WalError> {
        let n = self.u64()?;
        usize::try_from(n).or(Err(WalError::Invalid {
            what: self.what,
            value: n,
        }))
    }

    /// A zero-terminated string, without its end.
    pub(crate) fn c_string(&mut self) -> Result<&'a [u8], WalError> {
        let len = self.rest.iter().position(|b| *b == 0);
        let text = self.bytes(len.ok_or_else(|| self.truncated(self.rest.len() + 1))?)?;
        self.skip(1)?;
        Ok(text)
    }

    /// Skips padding up to a multiple of `align` bytes from the beginning of
    /// `whole`, the bytes this reader began with.
    pub(crate) fn align_to(&mut self, align: usize, whole: &[u8]) -> Result<(), WalError> {
        let at = whole.len().saturating_sub(self.rest.len());
        self.skip(at.next_multiple_of(align) - at)
    }

    /// Padding is not compared with zero: the server writes what was there.
    #[inline]
    pub(crate) fn skip(&mut self, n: usize) -> Result<(), WalError> {
        self.bytes(n).map(|_| ())
    }

    /// An array of `n` items.
    #[inline]
    pub(crate) fn list<T: Fixed>(&mut self, n: usize) -> Result<List<'a, T>, WalError> {
        // A count of 32 bits times an item of some bytes cannot overflow 64,
        // but usize may be narrower one day.
        let len = n
            .checked_mul(T::SIZE)
            .ok_or_else(|| self.truncated(usize::MAX))?;
        Ok(List {
            bytes: self.bytes(len)?,
            item: PhantomData,
        })
    }

    /// All that is left, as an array.
    #[inline]
    pub(crate) fn list_to_end<T: Fixed>(&mut self) -> Result<List<'a, T>, WalError> {
        let n = self.rest.len() / T::SIZE;
        let list = self.list(n)?;
        self.finish()?;
        Ok(list)
    }

    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Whether all was read, as an exact layout demands.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), WalError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WalError::Leftover {
                what: self.what,
                bytes: self.rest.len(),
            })
        }
    }
}

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
