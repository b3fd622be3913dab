//! Sets of positions and counts as bytes.
//!
//! A set is a tag and either the distances between its positions or the bytes
//! of its bitmap, whichever is shorter; counts are runs. Numbers are LEB128.

use crate::mem::NoMemory;
use crate::posset::PosSet;

const DISTANCES: u8 = 0;
const BITMAP: u8 = 1;

fn put(out: &mut Vec<u8>, mut n: u16) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u16> {
    let mut n = 0u32;
    for shift in [0, 7, 14] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u32::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return u16::try_from(n).ok();
        }
    }
    None
}

/// Write a set to `out`, which is emptied first.
pub(super) fn encode_set(set: &PosSet, out: &mut Vec<u8>) -> Result<(), NoMemory> {
    out.clear();
    let Some(last) = set.iter().last() else {
        return Ok(());
    };
    let bitmap_len = usize::from(last) / 8 + 1;
    // A distance takes one byte, or up to three now and then.
    out.try_reserve(1 + bitmap_len.max(3 * usize::from(set.len())))?;
    if usize::from(set.len()) < bitmap_len {
        out.push(DISTANCES);
        let mut next = 0;
        for pos in set.iter() {
            put(out, pos - next);
            next = pos + 1;
        }
    } else {
        out.push(BITMAP);
        out.resize(1 + bitmap_len, 0);
        for pos in set.iter() {
            out[1 + usize::from(pos) / 8] |= 1 << (pos % 8);
        }
    }
    Ok(())
}

/// Read a set with positions below `limit`. `None` if it is not one.
pub(super) fn decode_set(bytes: &[u8], limit: u16) -> Result<Option<PosSet>, NoMemory> {
    let mut set = PosSet::new();
    let Some((&tag, mut rest)) = bytes.split_first() else {
        return Ok(Some(set));
    };
    match tag {
        DISTANCES => {
            let mut next = 0u16;
            while !rest.is_empty() {
                let pos = take(&mut rest).and_then(|distance| next.checked_add(distance));
                let Some(pos) = pos.filter(|&pos| pos < limit) else {
                    return Ok(None);
                };
                set.insert(pos)?;
                next = pos + 1;
            }
        }
        BITMAP if rest.len() <= usize::from(limit).div_ceil(8) => {
            for (at, byte) in (0u16..).zip(rest) {
                for bit in (0..8).filter(|bit| byte >> bit & 1 != 0) {
                    let pos = at * 8 + bit;
                    if pos >= limit {
                        return Ok(None);
                    }
                    set.insert(pos)?;
                }
            }
        }
        _ => return Ok(None),
    }
    Ok(Some(set))
}

/// Write counts as runs to `out`, which is emptied first.
pub(super) fn encode_counts(counts: &[u16], out: &mut Vec<u8>) -> Result<(), NoMemory> {
    out.clear();
    out.try_reserve(counts.len() * 6)?;
    for run in counts.chunk_by(|a, b| a == b) {
        put(out, run.len() as u16);
        put(out, run[0]);
    }
    Ok(())
}

/// Read counts, `counts.len()` of them at most. How many there are, `None` if
/// they are damaged.
pub(super) fn decode_counts(mut bytes: &[u8], counts: &mut [u16]) -> Option<usize> {
    let mut filled = 0;
    while !bytes.is_empty() {
        let run = usize::from(take(&mut bytes)?);
        let count = take(&mut bytes)?;
        counts.get_mut(filled..filled + run)?.fill(count);
        filled += run;
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set_of(positions: impl IntoIterator<Item = u16>) -> PosSet {
        let mut set = PosSet::new();
        positions.into_iter().for_each(|pos| {
            set.insert(pos).unwrap();
        });
        set
    }

    proptest! {
        #[test]
        fn sets_come_back(positions in prop::collection::vec(0..37_248u16, 0..300), from in 0..30_000u16, n in 0..7000u16) {
            let set = set_of(positions.into_iter().chain(from..from + n));
            let mut bytes = Vec::new();
            encode_set(&set, &mut bytes).unwrap();
            let back = decode_set(&bytes, 37_248).unwrap().unwrap();
            prop_assert!(back.iter().eq(set.iter()));
            if let Some(last) = set.iter().last() {
                prop_assert!(decode_set(&bytes, last).unwrap().is_none(), "the limit holds");
                prop_assert!(bytes.len() <= 5300);
            }
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..40), limit in 0..37_249u16) {
            if let Ok(Some(set)) = decode_set(&bytes, limit) {
                prop_assert!(set.iter().all(|pos| pos < limit));
            }
            let mut counts = [0; 32];
            prop_assert!(decode_counts(&bytes, &mut counts).is_none_or(|n| n <= 32));
        }

        #[test]
        fn counts_come_back(counts in prop::collection::vec(prop_oneof![0..3u16, any::<u16>()], 0..32)) {
            let mut bytes = Vec::new();
            encode_counts(&counts, &mut bytes).unwrap();
            let mut back = [0; 32];
            prop_assert_eq!(decode_counts(&bytes, &mut back), Some(counts.len()));
            prop_assert_eq!(&back[..counts.len()], &counts[..]);
        }
    }
}
