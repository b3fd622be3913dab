//! File access that keeps nobody waiting.
//!
//! A process that does not answer ProcSignal barriers holds up DROP DATABASE,
//! DROP TABLESPACE, and on a standby the replay of both. A large state takes
//! longer to write and to read than that may last.

use pgrx::pg_sys;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A file that is read or written between barriers.
pub struct Polite {
    file: File,
}

impl Polite {
    /// Wrap a file.
    pub fn new(file: File) -> Self {
        Polite { file }
    }

    /// The file itself.
    pub fn into_inner(self) -> File {
        self.file
    }
}

/// Answer a barrier, if one is pending. Nothing else: no interrupt may end the
/// process in the middle of a file.
pub(super) fn serve_barrier() {
    // SAFETY: a flag of the server; ProcessProcSignalBarrier
    // (storage/ipc/procsignal.c) may be called where no buffer, lock or file
    // of a relation is held.
    unsafe {
        if (&raw const pg_sys::ProcSignalBarrierPending).read_volatile() != 0 {
            pg_sys::ProcessProcSignalBarrier();
        }
    }
}

impl Read for Polite {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        serve_barrier();
        self.file.read(to)
    }
}

impl Write for Polite {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        serve_barrier();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Polite {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
