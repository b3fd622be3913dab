//! The checksum of a record.
//!
//! Most records are short, and it matters how soon their checksum is there. On
//! x86-64 the processor has an instruction for it. Elsewhere the server's own
//! routine is the quickest there is: where the server chose one when it started,
//! as it does on ARM, a variable leads to it. Else, and for long records, a
//! crate computes the same.

use core::ffi::c_void;
use libloading::os::unix::Library;
use walker_plugin::wal::raw::{CRC_OFFSET, SIZE_OF_XLOG_RECORD, check_crc};

/// `pg_comp_crc32c` of port/pg_crc32c.h: goes on from a CRC-32C that is not
/// inverted yet.
type Routine = unsafe extern "C" fn(crc: u32, data: *const c_void, len: usize) -> u32;

/// Records of this length are faster checked in several streams.
const LONG: usize = 2048;

/// How checksums are computed on this machine.
#[derive(Clone, Copy)]
pub(super) struct Checksum(Way);

#[derive(Clone, Copy)]
enum Way {
    /// With SSE 4.2.
    #[cfg(target_arch = "x86_64")]
    Instruction,
    /// The server chose a routine.
    Server(*const Routine),
    /// Neither.
    Portable,
}

impl Checksum {
    /// Find out.
    pub(super) fn new() -> Checksum {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("sse4.2") {
            return Checksum(Way::Instruction);
        }
        // SAFETY: where the symbol exists, in all of 15 to 18, it is a variable
        // of this type, which always leads to a function (port/pg_crc32c_*.c).
        // The server's own file is never unloaded.
        let symbol = unsafe { Library::this().get::<*const Routine>(b"pg_comp_crc32c") };
        Checksum(symbol.map_or(Way::Portable, |variable| Way::Server(*variable)))
    }

    /// Whether a record, which is what `bytes` has from `start` on, has the
    /// checksum that its header says it has.
    #[inline]
    pub(super) fn is_right(self, bytes: &[u8], start: usize, crc: u32) -> bool {
        let record = bytes.get(start..).unwrap_or_default();
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` has found the instruction.
            Way::Instruction => unsafe {
                walker_plugin::wal::raw::crc_of_record(bytes, start) == Some(crc)
            },
            Way::Server(variable) if record.len() < LONG => {
                let Some((head, body)) = record.split_first_chunk::<SIZE_OF_XLOG_RECORD>() else {
                    return false;
                };
                // SAFETY: see `new`. The routine reads as many bytes as it is
                // told there are. Of the header the checksum covers what is in
                // front of it.
                let computed = unsafe {
                    let routine = *variable;
                    let sum = routine(!0, body.as_ptr().cast(), body.len());
                    !routine(sum, head.as_ptr().cast(), CRC_OFFSET)
                };
                computed == crc
            }
            _ => check_crc(record).is_ok(),
        }
    }
}
