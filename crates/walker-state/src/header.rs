//! The header: little-endian, with its own checksum at its end.

use super::{RecordId, StateError};
use std::io::Read;

/// Bytes of the header.
pub const HEADER_LEN: usize = 96;
const MAGIC: &[u8; 8] = b"WALKSTAT";
/// Changes whenever a payload of before could be misread.
const FORMAT: u32 = 1;
const SUMMED: usize = HEADER_LEN - 4;

/// The server a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Major version.
    pub major: u32,
    /// Block size.
    pub blcksz: u32,
    /// The cluster's identifier.
    pub system_identifier: u64,
}

impl Identity {
    /// Check that a file of this identity was written by the server `here`.
    pub(super) fn check(self, here: Identity) -> Result<(), StateError> {
        if self.system_identifier != here.system_identifier {
            return Err(StateError::Foreign("it belongs to another cluster"));
        }
        if self != here {
            return Err(StateError::Foreign("it belongs to another server version"));
        }
        Ok(())
    }
}

/// What stands before the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whose the file is.
    pub identity: Identity,
    /// The last record the payload has seen.
    pub last: RecordId,
    /// Bytes of payload.
    pub payload_len: u64,
    /// Their CRC-32C.
    pub payload_crc: u32,
}

impl Header {
    /// Its bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            if let Some(to) = bytes.get_mut(at..at + part.len()) {
                to.copy_from_slice(part);
            }
            at += part.len();
        };
        put(MAGIC);
        put(&FORMAT.to_le_bytes());
        put(&self.identity.major.to_le_bytes());
        put(&self.identity.blcksz.to_le_bytes());
        put(&self.last.tli.to_le_bytes());
        put(&self.identity.system_identifier.to_le_bytes());
        put(&self.last.lsn.to_le_bytes());
        put(&self.last.end_lsn.to_le_bytes());
        put(&self.last.crc.to_le_bytes());
        put(&self.payload_crc.to_le_bytes());
        put(&self.payload_len.to_le_bytes());
        let crc = crc_fast::crc32_iscsi(&bytes[..SUMMED]);
        bytes[SUMMED..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Read it, and check what needs nothing else.
    pub(super) fn read(from: &mut impl Read) -> Result<Header, StateError> {
        let mut bytes = [0; HEADER_LEN];
        from.read_exact(&mut bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => StateError::Damaged("it is too short"),
            _ => StateError::Io(e),
        })?;
        let mut rest = bytes.as_slice();
        let magic = take::<8>(&mut rest)?;
        if &magic != MAGIC {
            return Err(StateError::Damaged("it is not a state file"));
        }
        let crc = u32::from_le_bytes(take::<4>(&mut &bytes[SUMMED..])?);
        if crc != crc_fast::crc32_iscsi(&bytes[..SUMMED]) {
            return Err(StateError::Damaged("the checksum of its header is wrong"));
        }
        if u32::from_le_bytes(take(&mut rest)?) != FORMAT {
            return Err(StateError::Foreign("it has another format version"));
        }
        let major = u32::from_le_bytes(take(&mut rest)?);
        let blcksz = u32::from_le_bytes(take(&mut rest)?);
        let tli = u32::from_le_bytes(take(&mut rest)?);
        let system_identifier = u64::from_le_bytes(take(&mut rest)?);
        let lsn = u64::from_le_bytes(take(&mut rest)?);
        let end_lsn = u64::from_le_bytes(take(&mut rest)?);
        let crc = u32::from_le_bytes(take(&mut rest)?);
        let payload_crc = u32::from_le_bytes(take(&mut rest)?);
        let payload_len = u64::from_le_bytes(take(&mut rest)?);
        Ok(Header {
            identity: Identity {
                major,
                blcksz,
                system_identifier,
            },
            last: RecordId {
                lsn,
                end_lsn,
                crc,
                tli,
            },
            payload_len,
            payload_crc,
        })
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], StateError> {
    let (part, rest) = from
        .split_first_chunk::<N>()
        .ok_or(StateError::Damaged("it is too short"))?;
    *from = rest;
    Ok(*part)
}
