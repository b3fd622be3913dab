//! Constants of `access/xlogrecord.h`.

/// `SizeOfXLogRecord`.
pub const SIZE_OF_XLOG_RECORD: usize = 24;
/// Where `xl_crc` stands in the header; it covers all but itself.
pub const CRC_OFFSET: usize = 20;
/// `XLR_MAX_BLOCK_ID`.
pub const XLR_MAX_BLOCK_ID: u8 = 32;
/// Main data of less than 256 bytes follow.
pub const XLR_BLOCK_ID_DATA_SHORT: u8 = 255;
/// Main data follow.
pub const XLR_BLOCK_ID_DATA_LONG: u8 = 254;
/// The replication origin.
pub const XLR_BLOCK_ID_ORIGIN: u8 = 253;
/// The top-level transaction's ID.
pub const XLR_BLOCK_ID_TOPLEVEL_XID: u8 = 252;

/// The fork in `fork_flags`.
pub const BKPBLOCK_FORK_MASK: u8 = 0x0F;
/// The block has a page image.
pub const BKPBLOCK_HAS_IMAGE: u8 = 0x10;
/// The block has data.
pub const BKPBLOCK_HAS_DATA: u8 = 0x20;
/// Redo re-initialises the page.
pub const BKPBLOCK_WILL_INIT: u8 = 0x40;
/// The relation is that of the block before.
pub const BKPBLOCK_SAME_REL: u8 = 0x80;

/// A hole was left out of the page image.
pub const BKPIMAGE_HAS_HOLE: u8 = 0x01;
/// Redo restores the page image.
pub const BKPIMAGE_APPLY: u8 = 0x02;
/// Compressed with PostgreSQL's own LZ.
pub const BKPIMAGE_COMPRESS_PGLZ: u8 = 0x04;
/// Compressed with LZ4.
pub const BKPIMAGE_COMPRESS_LZ4: u8 = 0x08;
/// Compressed with Zstandard.
pub const BKPIMAGE_COMPRESS_ZSTD: u8 = 0x10;
pub(super) const BKPIMAGE_COMPRESSED: u8 =
    BKPIMAGE_COMPRESS_PGLZ | BKPIMAGE_COMPRESS_LZ4 | BKPIMAGE_COMPRESS_ZSTD;
