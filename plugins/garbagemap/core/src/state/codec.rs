//! Sets of positions and counts as bytes.
//!
//! A set is a tag and either the distances between its places or the bytes of
//! its bitmap, whichever is shorter; counts are runs. Numbers are LEB128. The
//! places of a range's items are numbered without a gap, other than their
//! positions in memory.

use crate::block::{MAX_OFFSET, Offsets, block_of, item_of, position_of};
use crate::mem::{Mem, NoMemory};
use crate::sets::{Sets, Which};

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

fn place_of(pos: u16) -> u16 {
    u16::from(block_of(pos)) * MAX_OFFSET + item_of(pos)
}

fn position_at(place: u16) -> u16 {
    position_of((place / MAX_OFFSET) as u8, place % MAX_OFFSET)
}

/// Write one of the sets to `out`, which is emptied first.
pub(super) fn encode_set(sets: &Sets, which: Which, out: &mut Vec<u8>) -> Result<(), NoMemory> {
    out.clear();
    let places = sets.iter(which).map(place_of);
    let len = usize::from(sets.len(which));
    let Some(last) = sets.last(which).map(place_of) else {
        return Ok(());
    };
    let bitmap_len = usize::from(last) / 8 + 1;
    // A distance takes one byte, or up to three now and then.
    out.try_reserve(1 + bitmap_len.max(3 * len))?;
    if len < bitmap_len {
        out.push(DISTANCES);
        let mut next = 0;
        for place in places {
            put(out, place - next);
            next = place + 1;
        }
    } else {
        out.push(BITMAP);
        out.resize(1 + bitmap_len, 0);
        let bits = out.get_mut(1..).unwrap_or_default();
        for (b, offsets) in sets.by_block(which) {
            for (word, at) in offsets.words().into_iter().zip(places_of(b)) {
                put_bits(bits, at, word);
            }
        }
    }
    Ok(())
}

/// The places of the first items of each word of a block's offsets.
fn places_of(b: u8) -> impl Iterator<Item = usize> {
    (usize::from(b) * usize::from(MAX_OFFSET)..).step_by(64)
}

/// Add 64 bits to a bitmap, as far as it reaches.
fn put_bits(bitmap: &mut [u8], at: usize, word: u64) {
    let bytes = (u128::from(word) << (at % 8)).to_le_bytes();
    let there = bitmap.get_mut(at / 8..).unwrap_or_default();
    for (to, byte) in there.iter_mut().zip(bytes).take(9) {
        *to |= byte;
    }
}

/// 64 bits of a bitmap; behind its end there are none.
fn bits_at(bitmap: &[u8], at: usize) -> u64 {
    let there = bitmap.get(at / 8..).unwrap_or_default();
    let mut bytes = [0; 16];
    for (to, byte) in bytes.iter_mut().zip(there).take(9) {
        *to = *byte;
    }
    (u128::from_le_bytes(bytes) >> (at % 8)) as u64
}

/// Read two sets with places below `limit`. `None` if they are none. Their
/// memory is the caller's to account for.
pub(super) fn decode_sets(both: [(Which, &[u8]); 2], limit: u16) -> Result<Option<Sets>, NoMemory> {
    let (mut sets, mut mem) = (Sets::default(), Mem::default());
    for (which, bytes) in both {
        if !decode_set(&mut sets, which, bytes, limit, &mut mem)? {
            return Ok(None);
        }
    }
    Ok(Some(sets))
}

/// Read one of the sets. False if it is none.
fn decode_set(
    sets: &mut Sets,
    which: Which,
    bytes: &[u8],
    limit: u16,
    mem: &mut Mem,
) -> Result<bool, NoMemory> {
    let Some((&tag, mut rest)) = bytes.split_first() else {
        return Ok(true);
    };
    match tag {
        DISTANCES => {
            // Block by block: a bit of a bitmap is sooner set than a place found.
            let (mut next, mut of_block, mut at) = (0u16, Offsets::default(), 0);
            while !rest.is_empty() {
                let place = take(&mut rest).and_then(|distance| next.checked_add(distance));
                let Some(place) = place.filter(|&place| place < limit) else {
                    return Ok(false);
                };
                let pos = position_at(place);
                if block_of(pos) != at {
                    sets.insert_offsets(which, at, std::mem::take(&mut of_block), mem)?;
                    at = block_of(pos);
                }
                of_block.insert(item_of(pos) + 1);
                next = place + 1;
            }
            sets.insert_offsets(which, at, of_block, mem)?;
        }
        BITMAP if all_below(rest, limit) => {
            let blocks = (rest.len() * 8).div_ceil(MAX_OFFSET.into());
            for b in (0..=u8::MAX).take(blocks) {
                let mut offsets = Offsets::default();
                for (word, at) in offsets.words_mut().iter_mut().zip(places_of(b)) {
                    *word = bits_at(rest, at);
                }
                sets.insert_offsets(which, b, offsets.valid(), mem)?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Whether all bits of a bitmap are below the limit.
fn all_below(bitmap: &[u8], limit: u16) -> bool {
    let last = bitmap.iter().rposition(|&byte| byte != 0);
    let last = last.and_then(|at| Some(at * 8 + bitmap.get(at)?.ilog2() as usize));
    bitmap.len() <= usize::from(limit).div_ceil(8) && last.is_none_or(|last| last < limit.into())
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

    const WHICH: Which = Which::One;

    fn set_of(places: impl IntoIterator<Item = u16>) -> Sets {
        let (mut set, mut mem) = (Sets::default(), Mem::default());
        for place in places {
            set.insert(WHICH, position_at(place), &mut mem).unwrap();
        }
        set
    }

    proptest! {
        #[test]
        fn sets_come_back(places in prop::collection::vec(0..37_248u16, 0..300), from in 0..30_000u16, n in 0..7000u16) {
            let set = set_of(places.into_iter().chain(from..from + n));
            let mut bytes = Vec::new();
            encode_set(&set, WHICH, &mut bytes).unwrap();
            let both = |bytes| [(Which::Other, &[][..]), (WHICH, bytes)];
            let back = decode_sets(both(&bytes), 37_248).unwrap().unwrap();
            prop_assert!(back.iter(WHICH).eq(set.iter(WHICH)));
            prop_assert_eq!(back.len(Which::Other), 0);
            if let Some(last) = set.iter(WHICH).map(place_of).last() {
                prop_assert!(decode_sets(both(&bytes), last).unwrap().is_none(), "the limit holds");
                prop_assert!(bytes.len() <= 5300);
            }
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..40), limit in 0..37_249u16) {
            if let Ok(Some(set)) = decode_sets([(WHICH, &bytes), (Which::Other, &[])], limit) {
                prop_assert!(set.iter(WHICH).all(|pos| place_of(pos) < limit));
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
