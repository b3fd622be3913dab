//! What can be wrong with a record.

/// A record, or a page image in it, does not have the layout that its
/// resource manager writes.
///
/// A walker counts these and treats the blocks named by the record as
/// unknown; it never stops for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalError {
    /// The bytes end before the structure does.
    #[error("{what} is cut short: {have} bytes where {need} are needed")]
    Truncated {
        /// The structure, by its C name.
        what: &'static str,
        /// Bytes it needs.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// The structure ends before the bytes do.
    #[error("{what} is followed by {bytes} unexpected bytes")]
    Leftover {
        /// The structure, by its C name.
        what: &'static str,
        /// Bytes too many.
        bytes: usize,
    },
    /// A field has a value it cannot have.
    #[error("invalid {what}: {value}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// The record lacks a block reference that its kind always has.
    #[error("block reference {id} is missing")]
    MissingBlock {
        /// The ID of the block reference.
        id: u8,
    },
    /// The page image is compressed; only the server can expand it.
    #[error("page image is compressed")]
    CompressedImage,
    /// The checksum of the record does not match.
    #[error("incorrect record checksum: {stored:08X} stored, {computed:08X} computed")]
    Checksum {
        /// `xl_crc`.
        stored: u32,
        /// The checksum of the bytes there are.
        computed: u32,
    },
}
