//! Making records by hand: what `XLogRecordAssemble` does, for tests of
//! everything that reads them.

use super::*;

/// A record in the making.
///
/// ```
/// use walker_wal::raw::{BlockSpec, Decoder, RecordBuilder};
/// use walker_wal::{Lsn, Record, RmgrId};
///
/// let bytes = RecordBuilder::new(RmgrId::HEAP, 0x00)
///     .xid(700)
///     .block(BlockSpec::new(0, (1663, 5, 16384), 7).data(&[1, 0, 2, 8, 24]))
///     .main_data(&[1, 0, 0])
///     .build();
/// let mut decoder = Decoder::new();
/// let record = decoder.decode(&bytes, Lsn(0x1000028), Lsn(0x1000070)).unwrap();
/// assert_eq!(record.block(0).unwrap().blkno, 7);
/// ```
#[derive(Clone, Debug)]
pub struct RecordBuilder {
    header: RecordHeader,
    origin: u16,
    toplevel_xid: TransactionId,
    blocks: Vec<BlockSpec>,
    main_data: Vec<u8>,
}

/// A block reference in the making.
#[derive(Clone, Debug)]
pub struct BlockSpec {
    id: u8,
    locator: RelFileLocator,
    fork: ForkNumber,
    blkno: BlockNumber,
    will_init: bool,
    data: Vec<u8>,
    image: Option<ImageSpec>,
}

/// A page image in the making.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    bytes: Vec<u8>,
    hole_offset: u16,
    hole_length: u16,
    info: u8,
}

impl ImageSpec {
    /// The image of a page; what lies between `pd_lower` and `pd_upper`, if
    /// they make sense, is left out as the hole.
    pub fn of_page(page: &[u8]) -> ImageSpec {
        let word = |at: usize| -> usize {
            page.get(at..at + 2).map_or(0, |b| {
                b.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b))
            })
        };
        let (lower, upper) = (word(12), word(14));
        if lower >= 24 && lower < upper && upper <= page.len() {
            let mut bytes = page.get(..lower).unwrap_or_default().to_vec();
            bytes.extend_from_slice(page.get(upper..).unwrap_or_default());
            let (hole_offset, hole_length) = (lower as u16, (upper - lower) as u16);
            let info = BKPIMAGE_HAS_HOLE | BKPIMAGE_APPLY;
            return ImageSpec {
                bytes,
                hole_offset,
                hole_length,
                info,
            };
        }
        ImageSpec {
            bytes: page.to_vec(),
            hole_offset: 0,
            hole_length: 0,
            info: BKPIMAGE_APPLY,
        }
    }

    /// An image of these stored bytes, with `BKPIMAGE_*` as given.
    pub fn stored(bytes: &[u8], hole_offset: u16, hole_length: u16, info: u8) -> ImageSpec {
        ImageSpec {
            bytes: bytes.to_vec(),
            hole_offset,
            hole_length,
            info,
        }
    }

    /// The image serves `wal_consistency_checking` only.
    pub fn not_applied(mut self) -> ImageSpec {
        self.info &= !BKPIMAGE_APPLY;
        self
    }
}

impl BlockSpec {
    /// A block of the main fork of `(spc_oid, db_oid, rel_number)`.
    pub fn new(id: u8, (spc, db, rel): (u32, u32, u32), blkno: BlockNumber) -> BlockSpec {
        BlockSpec {
            id,
            locator: RelFileLocator {
                spc_oid: spc,
                db_oid: db,
                rel_number: rel,
            },
            fork: ForkNumber::MAIN,
            blkno,
            will_init: false,
            data: Vec::new(),
            image: None,
        }
    }

    /// Of another fork.
    pub fn fork(mut self, fork: ForkNumber) -> BlockSpec {
        self.fork = fork;
        self
    }

    /// Redo re-initialises the page.
    pub fn will_init(mut self) -> BlockSpec {
        self.will_init = true;
        self
    }

    /// With data; none if empty.
    pub fn data(mut self, data: &[u8]) -> BlockSpec {
        self.data = data.to_vec();
        self
    }

    /// With a page image.
    pub fn image(mut self, image: ImageSpec) -> BlockSpec {
        self.image = Some(image);
        self
    }

    fn write_header(&self, before: Option<&BlockSpec>, out: &mut Vec<u8>) {
        let same_rel = before.is_some_and(|b| b.locator == self.locator);
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.push(self.id);
        out.push(
            self.fork.0 & BKPBLOCK_FORK_MASK
                | flag(self.image.is_some(), BKPBLOCK_HAS_IMAGE)
                | flag(!self.data.is_empty(), BKPBLOCK_HAS_DATA)
                | flag(self.will_init, BKPBLOCK_WILL_INIT)
                | flag(same_rel, BKPBLOCK_SAME_REL),
        );
        out.extend((self.data.len() as u16).to_le_bytes());
        if let Some(image) = &self.image {
            out.extend((image.bytes.len() as u16).to_le_bytes());
            out.extend(image.hole_offset.to_le_bytes());
            out.push(image.info);
            if image.info & BKPIMAGE_COMPRESSED != 0 && image.info & BKPIMAGE_HAS_HOLE != 0 {
                out.extend(image.hole_length.to_le_bytes());
            }
        }
        if !same_rel {
            for oid in [
                self.locator.spc_oid,
                self.locator.db_oid,
                self.locator.rel_number,
            ] {
                out.extend(oid.to_le_bytes());
            }
        }
        out.extend(self.blkno.to_le_bytes());
    }
}

impl RecordBuilder {
    /// A record of this resource manager, with the whole info byte.
    pub fn new(rmid: RmgrId, info: u8) -> RecordBuilder {
        RecordBuilder {
            header: RecordHeader {
                tot_len: 0,
                xid: 0,
                prev: Lsn::INVALID,
                info,
                rmid,
                crc: 0,
            },
            origin: 0,
            toplevel_xid: 0,
            blocks: Vec::new(),
            main_data: Vec::new(),
        }
    }

    /// Written by this transaction.
    pub fn xid(mut self, xid: TransactionId) -> RecordBuilder {
        self.header.xid = xid;
        self
    }

    /// Following the record at `prev`.
    pub fn prev(mut self, prev: Lsn) -> RecordBuilder {
        self.header.prev = prev;
        self
    }

    /// Replicated from this origin.
    pub fn origin(mut self, origin: u16) -> RecordBuilder {
        self.origin = origin;
        self
    }

    /// Of a subtransaction of this transaction.
    pub fn toplevel_xid(mut self, xid: TransactionId) -> RecordBuilder {
        self.toplevel_xid = xid;
        self
    }

    /// With one more block reference; their IDs must ascend.
    pub fn block(mut self, block: BlockSpec) -> RecordBuilder {
        self.blocks.push(block);
        self
    }

    /// With these main data.
    pub fn main_data(mut self, data: &[u8]) -> RecordBuilder {
        self.main_data = data.to_vec();
        self
    }

    /// The bytes of the record, checksum included.
    pub fn build(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut before = None;
        for block in &self.blocks {
            block.write_header(before, &mut body);
            before = Some(block);
        }
        if self.origin != 0 {
            body.push(XLR_BLOCK_ID_ORIGIN);
            body.extend(self.origin.to_le_bytes());
        }
        if self.toplevel_xid != 0 {
            body.push(XLR_BLOCK_ID_TOPLEVEL_XID);
            body.extend(self.toplevel_xid.to_le_bytes());
        }
        match u8::try_from(self.main_data.len()) {
            Ok(0) => {}
            Ok(len) => body.extend([XLR_BLOCK_ID_DATA_SHORT, len]),
            Err(_) => {
                body.push(XLR_BLOCK_ID_DATA_LONG);
                body.extend((self.main_data.len() as u32).to_le_bytes());
            }
        }
        for block in &self.blocks {
            body.extend(block.image.iter().flat_map(|i| &i.bytes));
            body.extend(&block.data);
        }
        body.extend(&self.main_data);

        let h = &self.header;
        let mut out = Vec::with_capacity(SIZE_OF_XLOG_RECORD + body.len());
        out.extend(((SIZE_OF_XLOG_RECORD + body.len()) as u32).to_le_bytes());
        out.extend(h.xid.to_le_bytes());
        out.extend(h.prev.0.to_le_bytes());
        out.extend([h.info, h.rmid.0, 0, 0]);
        let crc = super::crc::crc_of([&body, &out]);
        out.extend(crc.to_le_bytes());
        out.extend(body);
        out
    }
}
