//! The header of a state file: 96 bytes, little-endian, with its own checksum.

use super::StateError;
use crate::abi::RecordId;
use pgrx::pg_sys;
use std::io::Read;
use walker_wal::BLCKSZ;

pub const HEADER_LEN: usize = 96;
const MAGIC: &[u8; 8] = b"WALKSTAT";
/// Changes whenever a payload of before could be misread.
const FORMAT: u32 = 1;
const SUMMED: usize = HEADER_LEN - 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub major: u32,
    pub blcksz: u32,
    pub system_identifier: u64,
    pub last: RecordId,
    pub payload_len: u64,
    pub payload_crc: u32,
}

impl Header {
    /// The header of a file of this server.
    pub fn new(last: RecordId, payload_len: u64, payload_crc: u32) -> Header {
        Header {
            major: pg_sys::PG_VERSION_NUM / 100,
            blcksz: BLCKSZ as u32,
            // SAFETY: reads shared memory (access/transam/xlog.c).
            system_identifier: unsafe { pg_sys::GetSystemIdentifier() },
            last,
            payload_len,
            payload_crc,
        }
    }

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
        put(&self.major.to_le_bytes());
        put(&self.blcksz.to_le_bytes());
        put(&self.last.tli.to_le_bytes());
        put(&self.system_identifier.to_le_bytes());
        put(&self.last.lsn.to_le_bytes());
        put(&self.last.end_lsn.to_le_bytes());
        put(&self.last.crc.to_le_bytes());
        put(&self.payload_crc.to_le_bytes());
        put(&self.payload_len.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..SUMMED]);
        bytes[SUMMED..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Read and check what can be checked without the server.
    pub fn read(from: &mut impl Read) -> Result<Header, StateError> {
        let mut bytes = [0; HEADER_LEN];
        from.read_exact(&mut bytes)
            .map_err(|_| StateError::Damaged("it is too short"))?;
        let mut rest = bytes.as_slice();
        let magic = take::<8>(&mut rest)?;
        if &magic != MAGIC {
            return Err(StateError::Damaged("it is not a state file"));
        }
        let crc = u32::from_le_bytes(take::<4>(&mut &bytes[SUMMED..])?);
        if crc != crc32c::crc32c(&bytes[..SUMMED]) {
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
            major,
            blcksz,
            system_identifier,
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

    /// Check that the file was written by this server.
    pub fn check_server(&self) -> Result<(), StateError> {
        let here = Header::new(self.last, 0, 0);
        if self.system_identifier != here.system_identifier {
            return Err(StateError::Foreign("it belongs to another cluster"));
        }
        if self.major != here.major || self.blcksz != here.blcksz {
            return Err(StateError::Foreign("it belongs to another server version"));
        }
        Ok(())
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], StateError> {
    let (part, rest) = from
        .split_first_chunk::<N>()
        .ok_or(StateError::Damaged("it is too short"))?;
    *from = rest;
    Ok(*part)
}
