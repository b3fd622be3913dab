//! A decoded WAL record, whoever decoded it.
//!
//! The server does, or this crate ([`raw`](crate::raw)). All are seen through
//! [`Record`], and everything typed is built on it.

use crate::{BlockNumber, ForkNumber, Lsn, RelFileLocator, RmgrId, TransactionId, WalError};

/// A decoded WAL record. All slices live as long as the record is borrowed.
pub trait Record {
    /// Where the record begins.
    fn lsn(&self) -> Lsn;
    /// Where the record ends: the LSN its pages carry after it was applied.
    fn end_lsn(&self) -> Lsn;
    /// Where the record before it begins (`xl_prev`).
    fn prev_lsn(&self) -> Lsn;
    /// The transaction that wrote it, 0 if none.
    fn xid(&self) -> TransactionId;
    /// Its resource manager.
    fn rmid(&self) -> RmgrId;
    /// The whole info byte (`xl_info`).
    fn info(&self) -> u8;
    /// The replication origin, 0 if none.
    fn origin(&self) -> u16;
    /// Length of the whole record in bytes, images included (`xl_tot_len`).
    fn total_len(&self) -> u32;
    /// The main data, which belongs to no block.
    fn main_data(&self) -> &[u8];
    /// The highest block reference ID in use.
    fn max_block_id(&self) -> Option<u8>;
    /// The block reference with this ID, if the record has it.
    fn block(&self, id: u8) -> Option<Block<'_>>;

    /// The same without the image, for who looks at many: nothing is put
    /// together that is not looked at.
    #[inline]
    fn tag(&self, id: u8) -> Option<BlockTag<'_>> {
        self.block(id).map(|block| BlockTag {
            locator: block.locator,
            fork: block.fork,
            blkno: block.blkno,
            data: block.data,
            has_image: block.image.is_some(),
        })
    }

    /// The upper four bits of the info byte, which belong to the resource
    /// manager (`~XLR_INFO_MASK`).
    fn rmgr_info(&self) -> u8 {
        self.info() & 0xF0
    }

    /// Bytes of page images in the record.
    fn fpi_len(&self) -> u32 {
        let Some(max) = self.max_block_id() else {
            return 0;
        };
        (0..=max)
            .filter_map(|id| self.block(id)?.image.map(|i| i.bytes.len() as u32))
            .sum()
    }
}

/// A block reference that this kind of record always has.
#[inline]
pub(crate) fn need_block<R: Record + ?Sized>(rec: &R, id: u8) -> Result<Block<'_>, WalError> {
    rec.block(id).ok_or(WalError::MissingBlock { id })
}

/// A block reference of a record.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Block<'a> {
    /// Its ID within the record, 0 to 32.
    pub id: u8,
    /// The relation.
    pub locator: RelFileLocator,
    /// The fork.
    pub fork: ForkNumber,
    /// The block.
    pub blkno: BlockNumber,
    /// Whether redo re-initialises the page (`BKPBLOCK_WILL_INIT`).
    pub will_init: bool,
    /// The data that belongs to this block; absent when an image took its
    /// place.
    #[serde(serialize_with = "crate::ser::opt_hex")]
    pub data: Option<&'a [u8]>,
    /// The page image: the page **after** the change.
    pub image: Option<Image<'a>>,
}

/// A block reference without its image.
#[derive(Clone, Copy, Debug)]
pub struct BlockTag<'a> {
    /// The relation.
    pub locator: RelFileLocator,
    /// The fork.
    pub fork: ForkNumber,
    /// The block.
    pub blkno: BlockNumber,
    /// The data that belongs to this block.
    pub data: Option<&'a [u8]>,
    /// Whether there is an image.
    pub has_image: bool,
}

/// A page image as it stands in the record.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Image<'a> {
    /// The stored bytes: compressed or not, without the hole.
    #[serde(rename = "length", serialize_with = "crate::ser::len")]
    pub bytes: &'a [u8],
    /// Where the hole of zeroes begins in the page.
    pub hole_offset: u16,
    /// Length of the hole, 0 if none.
    pub hole_length: u16,
    /// How `bytes` are compressed.
    pub compression: Compression,
    /// Whether redo restores it; false for images that only serve
    /// `wal_consistency_checking`. Both kinds show the page after the change.
    pub apply: bool,
}

/// How a page image is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// PostgreSQL's own LZ.
    Pglz,
    /// LZ4, from 15.
    Lz4,
    /// Zstandard, from 15.
    Zstd,
    /// Flags this code does not know.
    Unknown,
}
