//! The format of a plugin's state file: a header of 96 bytes with its own
//! checksum, and a payload with another.
//!
//! Pure code: what can be proven of a file without the server is proven here,
//! and tested with every damage that a file can take. Whether its last record
//! stands in the server's WAL is for the server to say.
#![forbid(unsafe_code)]

mod header;

pub use header::{HEADER_LEN, Header, Identity};

use crc_fast::{CrcAlgorithm, Digest};
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A record, so that it can be recognized: an LSN alone does not name a place,
/// for after a promotion or a restore it can hold other WAL.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecordId {
    /// Where it begins.
    pub lsn: u64,
    /// Where it ends.
    pub end_lsn: u64,
    /// Its `xl_crc`.
    pub crc: u32,
    /// The timeline it belongs to.
    pub tli: u32,
}

/// Why a state file is not used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Not a state file, or a damaged one.
    #[error("{0}")]
    Damaged(&'static str),
    /// A sound file that does not belong to this server's history.
    #[error("{0}")]
    Foreign(&'static str),
}

impl StateError {
    /// Whether the file may be as good as ever, and only memory or file
    /// descriptors were short.
    pub fn is_shortage(&self) -> bool {
        matches!(self, StateError::Io(error) if is_shortage(error))
    }
}

/// The `errno`s that say that memory or file descriptors were short: ENOMEM,
/// ENFILE, EMFILE.
pub const SHORTAGES: [i32; 3] = [12, 23, 24];

/// Whether memory or file descriptors were short.
pub fn is_shortage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|e| SHORTAGES.contains(&e))
}

/// The beginning of a checksum, CRC-32C.
fn crc32c() -> Digest {
    Digest::new(CrcAlgorithm::Crc32Iscsi)
}

/// Size of the pieces that are read and written.
const CHUNK: usize = 256 * 1024;

/// A file that is being written: what is written to it is payload. The header
/// comes last, so that a file cut short has none.
pub struct Writer<W> {
    to: W,
    /// Of what was handed on, and how much that was.
    crc: Digest,
    len: u64,
    /// Payload not yet handed on.
    pending: Vec<u8>,
}

impl<W: Write + Seek> Writer<W> {
    /// Begin, with room for the header.
    pub fn new(mut to: W) -> Result<Self, StateError> {
        let mut pending = Vec::new();
        pending
            .try_reserve_exact(CHUNK)
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        to.write_all(&[0; HEADER_LEN])?;
        Ok(Writer {
            to,
            crc: crc32c(),
            len: 0,
            pending,
        })
    }

    /// All payload is written: write the header, and hand back what it was
    /// written to.
    pub fn finish(mut self, identity: Identity, last: RecordId) -> Result<W, StateError> {
        self.flush()?;
        let header = Header {
            identity,
            last,
            payload_len: self.len,
            payload_crc: self.crc.finalize() as u32,
        };
        self.to.seek(SeekFrom::Start(0))?;
        self.to.write_all(&header.to_bytes())?;
        Ok(self.to)
    }
}

impl<W> Writer<W> {
    /// Bytes of payload written so far.
    pub fn written(&self) -> u64 {
        self.len + self.pending.len() as u64
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        let room = CHUNK - self.pending.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.pending.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.write_all(&self.pending)?;
        self.crc.update(&self.pending);
        self.len += self.pending.len() as u64;
        self.pending.clear();
        self.to.flush()
    }
}

/// Write a whole file: the payload that `payload` writes, and its header.
pub fn write(
    to: impl Write + Seek,
    identity: Identity,
    last: RecordId,
    payload: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), StateError> {
    let mut writer = Writer::new(to)?;
    payload(&mut writer)?;
    writer.finish(identity, last)?;
    Ok(())
}

/// Read and check a whole file of `size` bytes; it then stands at the payload.
/// Nothing of the payload has been believed before its checksum was right.
pub fn check(
    from: &mut (impl Read + Seek),
    size: u64,
    identity: Identity,
) -> Result<Header, StateError> {
    let header = Header::read(from)?;
    header.identity.check(identity)?;
    if Some(size) != header.payload_len.checked_add(HEADER_LEN as u64) {
        return Err(StateError::Damaged("its length is wrong"));
    }
    let mut crc = crc32c();
    let mut len = 0;
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        len += n as u64;
        crc.update(buffer.get(..n).unwrap_or(&[]));
    }
    if len != header.payload_len || crc.finalize() as u32 != header.payload_crc {
        return Err(StateError::Damaged("its checksum is wrong"));
    }
    from.seek(SeekFrom::Start(HEADER_LEN as u64))?;
    Ok(header)
}
