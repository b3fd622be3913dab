//! Bounds-checked reading of the unaligned little-endian bytes of the WAL.
//!
//! PostgreSQL writes WAL in the byte order of the machine and reads it back
//! only there. All servers this crate is built for are little-endian.

pub(crate) use crate::list::*;
use crate::{Lsn, RelFileLocator, WalError};

/// A cursor over the bytes of one structure, which it names in its errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    #[inline]
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

    /// The fixed part of a structure, with one look at the length.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WalError> {
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
        Ok(List::from_bytes(self.bytes(len)?))
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
