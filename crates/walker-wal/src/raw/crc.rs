//! The checksum of a record (`xl_crc`, CRC-32C): of all that follows the
//! header, and then of the header up to the checksum.

use crc_fast::{CrcAlgorithm, Digest};

use super::{CRC_OFFSET, SIZE_OF_XLOG_RECORD};
use crate::WalError;
use crate::bytes::Reader;

/// The checksum of these parts, one after the other.
pub(super) fn crc_of(parts: [&[u8]; 2]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize() as u32
}

/// `ValidXLogRecord`: whether the checksum in the record is that of its bytes.
pub fn check_crc(record: &[u8]) -> Result<(), WalError> {
    let (Some(head), Some(stored), Some(body)) = (
        record.get(..CRC_OFFSET),
        record.get(CRC_OFFSET..SIZE_OF_XLOG_RECORD),
        record.get(SIZE_OF_XLOG_RECORD..),
    ) else {
        let have = record.len();
        return Err(WalError::Truncated {
            what: "XLogRecord",
            need: SIZE_OF_XLOG_RECORD,
            have,
        });
    };
    let computed = crc_of([body, head]);
    let stored = Reader::new("xl_crc", stored).u32()?;
    if stored == computed {
        Ok(())
    } else {
        Err(WalError::Checksum { stored, computed })
    }
}

/// The checksum that a record should have, for who checks many: by the
/// processor's own instruction, while that is quicker than what
/// [`check_crc`] does. The record is what `bytes` has from `start` on; what is in
/// front of it does not matter, but with 40 bytes there a short record takes less
/// time. `None` if it has fewer bytes than a header.
///
/// # Safety
/// The processor has SSE 4.2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[inline]
pub fn crc_of_record(bytes: &[u8], start: usize) -> Option<u32> {
    use core::arch::x86_64::{_mm_crc32_u32, _mm_crc32_u64};

    let record = bytes.get(start..)?;
    let (head, body) = record.split_first_chunk::<SIZE_OF_XLOG_RECORD>()?;
    // All CRCs here are the register's value: what is stored is its complement.
    let mut crc = match bytes.last_chunk() {
        Some(last) if body.len() <= SHORT => crc_of_short(last, body.len())?,
        _ => crc_of_body(body),
    };
    let &[first, second, [c0, c1, c2, c3, ..]] = head.as_chunks::<8>().0.first_chunk()?;
    crc = _mm_crc32_u64(crc, u64::from_le_bytes(first));
    crc = _mm_crc32_u64(crc, u64::from_le_bytes(second));
    // Up to where the checksum itself stands.
    let rest = u32::from_le_bytes([c0, c1, c2, c3]);
    Some(!_mm_crc32_u32(crc as u32, rest))
}

/// So many bytes behind the header nearly every record has at most.
#[cfg(target_arch = "x86_64")]
const SHORT: usize = 64;

/// Of the last `len` of these bytes, for nearly every record: always the same
/// steps, for nobody can foresee how many it would need.
///
/// Zeroes leave a register of 0 as it is, so they may stand for what is in
/// front; and what a register of ones would have become by as many bytes goes
/// into the sum.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[inline]
fn crc_of_short(last: &[u8; SHORT], len: usize) -> Option<u64> {
    use core::arch::x86_64::_mm_crc32_u64;

    let masks: &[u8; SHORT] = MASKS.get(len..)?.first_chunk()?;
    let words = last.as_chunks::<8>().0.iter().zip(masks.as_chunks().0);
    let crc = words.fold(0, |crc, (word, mask)| {
        _mm_crc32_u64(crc, u64::from_le_bytes(*word) & u64::from_le_bytes(*mask))
    });
    Some(crc ^ u64::from(*OF_ONES.get(len)?))
}

/// From the n-th on there are n bytes of ones at the end of the next [`SHORT`].
#[cfg(target_arch = "x86_64")]
#[allow(clippy::indexing_slicing, reason = "while it is compiled")]
static MASKS: [u8; 2 * SHORT] = {
    let mut masks = [0; 2 * SHORT];
    let mut at = SHORT;
    while at < masks.len() {
        masks[at] = u8::MAX;
        at += 1;
    }
    masks
};

/// What a register of ones becomes by so many bytes of 0.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::indexing_slicing, reason = "while it is compiled")]
static OF_ONES: [u32; SHORT + 1] = {
    /// CRC-32C's, the lowest bit first.
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let mut table = [!0u32; SHORT + 1];
    let mut n = 1;
    while n < table.len() {
        let (mut crc, mut bit) = (table[n - 1], 0);
        while bit < 8 {
            crc = (crc >> 1) ^ ((crc & 1) * POLYNOMIAL);
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

/// Of any bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[inline(never)]
fn crc_of_body(body: &[u8]) -> u64 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};

    if body.len() >= LONG && is_x86_feature_detected!("pclmulqdq") {
        return u64::from(!crc_fast::crc32_iscsi(body));
    }
    let (words, rest) = body.as_chunks::<8>();
    let crc = words.iter().fold(u64::from(!0u32), |crc, word| {
        _mm_crc32_u64(crc, u64::from_le_bytes(*word))
    });
    let rest = rest.iter();
    u64::from(rest.fold(crc as u32, |crc, byte| _mm_crc32_u8(crc, *byte)))
}

/// From here on several streams are quicker than one, where the processor can
/// put them together.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 256;
