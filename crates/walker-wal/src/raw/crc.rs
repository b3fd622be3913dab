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
/// [`check_crc`] does. `None` if these are fewer bytes than a header has.
///
/// # Safety
/// The processor has SSE 4.2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
pub fn crc_of_record(record: &[u8]) -> Option<u32> {
    use core::arch::x86_64::{_mm_crc32_u32, _mm_crc32_u64};

    let (head, body) = record.split_first_chunk::<SIZE_OF_XLOG_RECORD>()?;
    // All CRCs here are the register's value: what is stored is its complement.
    let mut crc = match body.len() {
        0 => u64::from(!0u32),
        LONG.. if is_x86_feature_detected!("pclmulqdq") => crc_of_long(body),
        _ => {
            let (words, _) = body.as_chunks::<8>();
            let whole = (body.len() - 1) / 8;
            let mut crc = u64::from(!0u32);
            for word in words.iter().take(whole) {
                crc = _mm_crc32_u64(crc, u64::from_le_bytes(*word));
            }
            // The last 1 to 8 bytes at once, for nobody can foresee how many
            // there are. Zeroes in front of them leave a register of 0 as it
            // is, and of what was in it before, so much as these bytes have
            // goes into the sum and the rest moves down.
            let bits = 8 * (body.len() - 8 * whole) as u32;
            let last = u64::from_le_bytes(*record.last_chunk()?) >> (64 - bits);
            let moved = crc >> 1 >> (bits - 1);
            _mm_crc32_u64(0, (last ^ crc) << (64 - bits)) ^ moved
        }
    };
    let &[first, second, [c0, c1, c2, c3, ..]] = head.as_chunks::<8>().0.first_chunk()?;
    crc = _mm_crc32_u64(crc, u64::from_le_bytes(first));
    crc = _mm_crc32_u64(crc, u64::from_le_bytes(second));
    // Up to where the checksum itself stands.
    let rest = u32::from_le_bytes([c0, c1, c2, c3]);
    Some(!_mm_crc32_u32(crc as u32, rest))
}

/// From here on several streams are quicker than one, where the processor can
/// put them together.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 256;

/// Not inlined: what it needs, only long records are to pay for.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn crc_of_long(body: &[u8]) -> u64 {
    u64::from(!crc_fast::crc32_iscsi(body))
}
