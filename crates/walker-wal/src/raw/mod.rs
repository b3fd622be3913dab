//! Decoding a record from its bytes, without a server.
//!
//! Inside the server the XLogReader does this for records that nobody takes as
//! they stand. Plugins that do, and tests, fuzzers and tools, have them decoded
//! here: the frequent kind as a [`FlatRecord`], others by a [`Decoder`], with
//! every check of `DecodeXLogRecord` (`access/xlogreader.c`).
//! The layout (`access/xlogrecord.h`) is the same from 15 to 18.

mod build;
mod consts;
mod crc;
mod flat;
mod reader;

pub use build::{BlockSpec, ImageSpec, RecordBuilder};
pub use consts::*;
pub use crc::check_crc;
#[cfg(target_arch = "x86_64")]
pub use crc::crc_of_record;
pub use flat::{FlatRecord, image_bytes};
pub use reader::{ReadError, WalReader};

use crate::bytes::Reader;
use crate::{
    BLCKSZ, Block, BlockNumber, BlockTag, Compression, ForkNumber, Image, Lsn, Record,
    RelFileLocator, RmgrId, TransactionId, WalError,
};
use serde::Serialize;
use std::collections::TryReserveError;

/// `XLogRecord`: the header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RecordHeader {
    /// `xl_tot_len`
    pub tot_len: u32,
    /// `xl_xid`
    pub xid: TransactionId,
    /// `xl_prev`
    pub prev: Lsn,
    /// `xl_info`
    pub info: u8,
    /// `xl_rmid`
    pub rmid: RmgrId,
    /// `xl_crc`
    pub crc: u32,
}

impl RecordHeader {
    /// From its bytes.
    #[inline]
    pub fn of(bytes: &[u8; SIZE_OF_XLOG_RECORD]) -> RecordHeader {
        let &[
            l0,
            l1,
            l2,
            l3,
            x0,
            x1,
            x2,
            x3,
            p0,
            p1,
            p2,
            p3,
            p4,
            p5,
            p6,
            p7,
            info,
            rmid,
            _,
            _,
            c0,
            c1,
            c2,
            c3,
        ] = bytes;
        RecordHeader {
            tot_len: u32::from_le_bytes([l0, l1, l2, l3]),
            xid: u32::from_le_bytes([x0, x1, x2, x3]),
            prev: Lsn(u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7])),
            info,
            rmid: RmgrId(rmid),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<RecordHeader, WalError> {
        Ok(RecordHeader::of(&r.array()?))
    }
}

/// A block reference, its bytes still as positions within the record.
#[derive(Clone, Copy, Debug)]
struct BlockRef {
    id: u8,
    fork_flags: u8,
    image: Option<ImageRef>,
    locator: RelFileLocator,
    blkno: BlockNumber,
    data_len: u16,
    data_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct ImageRef {
    len: u16,
    hole_offset: u16,
    hole_length: u16,
    info: u8,
    at: usize,
}

impl Compression {
    /// What `bimg_info` says of it.
    #[inline]
    pub fn of(bimg_info: u8) -> Compression {
        match bimg_info & !(BKPIMAGE_HAS_HOLE | BKPIMAGE_APPLY) {
            0 => Compression::None,
            BKPIMAGE_COMPRESS_PGLZ => Compression::Pglz,
            BKPIMAGE_COMPRESS_LZ4 => Compression::Lz4,
            BKPIMAGE_COMPRESS_ZSTD => Compression::Zstd,
            _ => Compression::Unknown,
        }
    }
}

/// Decodes one record after another, and keeps the space for block
/// references between them.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    blocks: Vec<BlockRef>,
}

/// A record decoded from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    bytes: &'a [u8],
    blocks: &'a [BlockRef],
    header: RecordHeader,
    lsn: Lsn,
    end_lsn: Lsn,
    origin: u16,
    toplevel_xid: TransactionId,
    main_data: &'a [u8],
}

#[cold]
fn bad(what: &'static str, value: impl Into<u64>) -> WalError {
    WalError::Invalid {
        what,
        value: value.into(),
    }
}

impl Decoder {
    /// A decoder, which makes room for block references when it needs some.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// A decoder with room for as many block references as a record can have:
    /// it never needs more memory.
    pub fn try_with_room() -> Result<Decoder, TryReserveError> {
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(usize::from(XLR_MAX_BLOCK_ID) + 1)?;
        Ok(Decoder { blocks })
    }

    /// Decodes the record that these bytes are, from `XLogRecord` to the end
    /// of its data. The checksum is not looked at; see [`check_crc`].
    pub fn decode<'a>(
        &'a mut self,
        bytes: &'a [u8],
        lsn: Lsn,
        end_lsn: Lsn,
    ) -> Result<RawRecord<'a>, WalError> {
        self.blocks.clear();
        let mut r = Reader::new("XLogRecord", bytes);
        let header = RecordHeader::read(&mut r)?;
        if u64::from(header.tot_len) != bytes.len() as u64 {
            return Err(bad("xl_tot_len", header.tot_len));
        }
        let (mut origin, mut toplevel_xid) = (0, 0);
        // Bytes that the headers read so far promise to follow all headers.
        let (mut promised, mut main_len) = (0usize, 0usize);
        while r.left() > promised {
            match r.u8()? {
                XLR_BLOCK_ID_DATA_SHORT => {
                    main_len = r.u8()?.into();
                    promised += main_len;
                    break; // by convention, the main data come last
                }
                XLR_BLOCK_ID_DATA_LONG => {
                    main_len = r.u32()? as usize;
                    promised = promised.saturating_add(main_len);
                    break;
                }
                XLR_BLOCK_ID_ORIGIN => origin = r.u16()?,
                XLR_BLOCK_ID_TOPLEVEL_XID => toplevel_xid = r.u32()?,
                id @ 0..=XLR_MAX_BLOCK_ID => {
                    let block = read_block_header(id, &mut r, self.blocks.last())?;
                    promised +=
                        usize::from(block.data_len) + usize::from(block.image.map_or(0, |i| i.len));
                    self.blocks.push(block);
                }
                id => return Err(bad("block_id", id)),
            }
        }
        if r.left() != promised {
            return Err(bad("length of record data", promised as u64));
        }
        let mut at = bytes.len() - promised;
        for block in &mut self.blocks {
            if let Some(image) = &mut block.image {
                image.at = at;
                at += usize::from(image.len);
            }
            block.data_at = at;
            at += usize::from(block.data_len);
        }
        let main_data = slice(bytes, at, main_len);
        let blocks = &self.blocks;
        Ok(RawRecord {
            bytes,
            blocks,
            header,
            lsn,
            end_lsn,
            origin,
            toplevel_xid,
            main_data,
        })
    }
}

/// Never out of range for positions that [`Decoder::decode`] has checked.
#[inline]
fn slice(bytes: &[u8], at: usize, len: usize) -> &[u8] {
    at.checked_add(len)
        .and_then(|end| bytes.get(at..end))
        .unwrap_or_default()
}

fn read_block_header(
    id: u8,
    r: &mut Reader<'_>,
    before: Option<&BlockRef>,
) -> Result<BlockRef, WalError> {
    if before.is_some_and(|b| id <= b.id) {
        return Err(bad("out-of-order block_id", id));
    }
    let (fork_flags, data_len) = (r.u8()?, r.u16()?);
    if (fork_flags & BKPBLOCK_HAS_DATA != 0) != (data_len != 0) {
        return Err(bad("block data length", data_len));
    }
    let image = if fork_flags & BKPBLOCK_HAS_IMAGE != 0 {
        Some(read_image_header(r)?)
    } else {
        None
    };
    let locator = if fork_flags & BKPBLOCK_SAME_REL == 0 {
        r.locator()?
    } else {
        before
            .ok_or_else(|| bad("BKPBLOCK_SAME_REL", fork_flags))?
            .locator
    };
    Ok(BlockRef {
        id,
        fork_flags,
        image,
        locator,
        blkno: r.u32()?,
        data_len,
        data_at: 0,
    })
}

fn read_image_header(r: &mut Reader<'_>) -> Result<ImageRef, WalError> {
    let (len, hole_offset, info) = (r.u16()?, r.u16()?, r.u8()?);
    let has_hole = info & BKPIMAGE_HAS_HOLE != 0;
    let compressed = info & BKPIMAGE_COMPRESSED != 0;
    let full = usize::from(len) == BLCKSZ;
    let hole_length = match (compressed, has_hole) {
        (true, true) => r.u16()?,
        (true, false) => 0,
        (false, _) => (BLCKSZ as u16)
            .checked_sub(len)
            .ok_or_else(|| bad("bimg_len", len))?,
    };
    if has_hole && (hole_offset == 0 || hole_length == 0 || full)
        || !has_hole && (hole_offset != 0 || hole_length != 0)
        || compressed && full
    {
        return Err(bad("hole of page image", hole_length));
    }
    Ok(ImageRef {
        len,
        hole_offset,
        hole_length,
        info,
        at: 0,
    })
}

impl<'a> RawRecord<'a> {
    /// The header.
    pub fn header(&self) -> &RecordHeader {
        &self.header
    }

    /// The ID of the top-level transaction, if the record tells it (written
    /// once per subtransaction, for logical decoding); 0 otherwise.
    pub fn toplevel_xid(&self) -> TransactionId {
        self.toplevel_xid
    }

    /// All bytes of the record.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether a page image is compressed, which only the server restores.
    pub fn has_compressed_image(&self) -> bool {
        let mut images = self.blocks.iter().filter_map(|b| b.image);
        images.any(|i| Compression::of(i.info) != Compression::None)
    }

    #[inline]
    fn find(&self, id: u8) -> Option<&BlockRef> {
        // Most records number their blocks without gaps from 0.
        let direct = self.blocks.get(usize::from(id)).filter(|b| b.id == id);
        direct.or_else(|| self.blocks.iter().find(|b| b.id == id))
    }

    #[inline]
    fn view(&self, b: &BlockRef) -> Block<'a> {
        let image = b.image.map(|i| Image {
            bytes: slice(self.bytes, i.at, i.len.into()),
            hole_offset: i.hole_offset,
            hole_length: i.hole_length,
            compression: Compression::of(i.info),
            apply: i.info & BKPIMAGE_APPLY != 0,
        });
        let has_data = b.fork_flags & BKPBLOCK_HAS_DATA != 0;
        Block {
            id: b.id,
            locator: b.locator,
            fork: ForkNumber(b.fork_flags & BKPBLOCK_FORK_MASK),
            blkno: b.blkno,
            will_init: b.fork_flags & BKPBLOCK_WILL_INIT != 0,
            data: has_data.then(|| slice(self.bytes, b.data_at, b.data_len.into())),
            image,
        }
    }
}

impl Record for RawRecord<'_> {
    fn lsn(&self) -> Lsn {
        self.lsn
    }
    fn end_lsn(&self) -> Lsn {
        self.end_lsn
    }
    fn prev_lsn(&self) -> Lsn {
        self.header.prev
    }
    #[inline]
    fn xid(&self) -> TransactionId {
        self.header.xid
    }
    #[inline]
    fn rmid(&self) -> RmgrId {
        self.header.rmid
    }
    #[inline]
    fn info(&self) -> u8 {
        self.header.info
    }
    fn origin(&self) -> u16 {
        self.origin
    }
    fn total_len(&self) -> u32 {
        self.header.tot_len
    }
    #[inline]
    fn main_data(&self) -> &[u8] {
        self.main_data
    }
    #[inline]
    fn max_block_id(&self) -> Option<u8> {
        self.blocks.last().map(|b| b.id)
    }
    #[inline]
    fn block(&self, id: u8) -> Option<Block<'_>> {
        self.find(id).map(|b| self.view(b))
    }
    #[inline]
    fn tag(&self, id: u8) -> Option<BlockTag<'_>> {
        let b = self.find(id)?;
        let has_data = b.fork_flags & BKPBLOCK_HAS_DATA != 0;
        Some(BlockTag {
            locator: b.locator,
            fork: ForkNumber(b.fork_flags & BKPBLOCK_FORK_MASK),
            blkno: b.blkno,
            data: has_data.then(|| slice(self.bytes, b.data_at, b.data_len.into())),
            has_image: b.image.is_some(),
        })
    }
}
