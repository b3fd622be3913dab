//! How raw bytes look when a record is serialised: as text in hexadecimal.
//! A page image shows its description only, since 8 kB of it help no reader.

use serde::{Serialize, Serializer};
use std::fmt;

/// Bytes that are written at once.
const PIECE: usize = 256;

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |n: u8| DIGITS.get(usize::from(n)).map_or('?', |d| char::from(*d));
        // In pieces: a record may have a gigabyte, and a write a byte is slow.
        let mut piece = String::with_capacity(2 * PIECE.min(self.0.len()));
        self.0.chunks(PIECE).try_for_each(|bytes| {
            piece.clear();
            for b in bytes {
                piece.push(digit(b >> 4));
                piece.push(digit(b & 15));
            }
            f.write_str(&piece)
        })
    }
}

/// For `serialize_with` on a byte slice.
pub(crate) fn hex<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&Hex(bytes))
}

/// For `serialize_with` on an optional byte slice.
pub(crate) fn opt_hex<S: Serializer>(bytes: &Option<&[u8]>, s: S) -> Result<S::Ok, S::Error> {
    bytes.map(Hex).serialize(s)
}

/// For `serialize_with` on a byte slice of which only the length matters.
pub(crate) fn len<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(bytes.len() as u64)
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
