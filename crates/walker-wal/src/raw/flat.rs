//! A record seen where it stands in WAL, if it is of the frequent kind.
//!
//! Nearly all records have no page image and one or two block references, of
//! one relation. Those are not decoded into anything: a few bytes at fixed
//! places say where the rest is. Whoever gets `None` asks a real decoder.

use super::*;

/// Where the header of the first block reference begins, and its length with
/// locator and block number.
const BLOCK: usize = SIZE_OF_XLOG_RECORD;
const BLOCK_HEADER: usize = 20;
/// Where that of a second one begins, and its length: it is of the relation
/// before (`BKPBLOCK_SAME_REL`).
const SECOND: usize = BLOCK + BLOCK_HEADER;
const SECOND_HEADER: usize = 8;
/// What precedes the data of most records: `XLR_BLOCK_ID_DATA_SHORT` and a
/// length, behind the header of one block reference.
const FRONT: usize = SECOND + 2;

/// A record without page images, replication origin and toplevel transaction,
/// with at most two block references, numbered from 0 and of one relation.
#[derive(Clone, Copy, Debug)]
pub struct FlatRecord<'a> {
    bytes: &'a [u8],
    lsn: Lsn,
    end_lsn: Lsn,
    /// Where the data of the first block reference begins, that of the second,
    /// and the main data. One ends where the next begins.
    data: usize,
    second_data: usize,
    main_data: usize,
    blocks: u8,
}

impl<'a> FlatRecord<'a> {
    /// The record that these bytes are, from `XLogRecord` to the end of its
    /// data, whose checksum is right. `None` if it is of another kind, or
    /// malformed.
    #[inline]
    pub fn new(bytes: &'a [u8], lsn: Lsn, end_lsn: Lsn) -> Option<FlatRecord<'a>> {
        match bytes.first_chunk::<FRONT>() {
            Some(front) if front[BLOCK] == 0 && front[SECOND] == XLR_BLOCK_ID_DATA_SHORT => {
                let data = block_data_len(front, BLOCK, 0)?;
                let rest = data + usize::from(front[SECOND + 1]);
                let right = RecordHeader::of(front.first_chunk()?).tot_len as usize == bytes.len()
                    && FRONT + rest == bytes.len();
                right.then_some(FlatRecord {
                    bytes,
                    lsn,
                    end_lsn,
                    data: FRONT,
                    second_data: FRONT + data,
                    main_data: FRONT + data,
                    blocks: 1,
                })
            }
            _ => Self::another(bytes, lsn, end_lsn),
        }
    }

    /// One with another number of block references, or much data.
    #[inline]
    fn another(bytes: &'a [u8], lsn: Lsn, end_lsn: Lsn) -> Option<FlatRecord<'a>> {
        let header = RecordHeader::of(bytes.first_chunk()?);
        if header.tot_len as usize != bytes.len() {
            return None;
        }
        let (blocks, at) = match bytes.get(BLOCK)? {
            0 => match bytes.get(SECOND)? {
                1 => (2, SECOND + SECOND_HEADER),
                _ => (1, SECOND),
            },
            _ => (0, BLOCK),
        };
        let (data, main_len) = match *bytes.get(at..)? {
            [XLR_BLOCK_ID_DATA_SHORT, len, ..] => (at + 2, usize::from(len)),
            [XLR_BLOCK_ID_DATA_LONG, l0, l1, l2, l3, ..] => {
                (at + 5, u32::from_le_bytes([l0, l1, l2, l3]) as usize)
            }
            _ => return None,
        };
        let first = match blocks {
            0 => 0,
            _ => block_data_len(bytes, BLOCK, 0)?,
        };
        let second = match blocks {
            2 => block_data_len(bytes, SECOND, BKPBLOCK_SAME_REL)?,
            _ => 0,
        };
        let main_data = data + first + second;
        let right = main_data <= bytes.len() && bytes.len() - main_data == main_len;
        right.then_some(FlatRecord {
            bytes,
            lsn,
            end_lsn,
            data,
            second_data: data + first,
            main_data,
            blocks,
        })
    }

    #[inline]
    fn header(&self) -> RecordHeader {
        // There always is one: see `new`.
        let none = [0; SIZE_OF_XLOG_RECORD];
        RecordHeader::of(self.bytes.first_chunk().unwrap_or(&none))
    }

    #[inline]
    fn locator(&self) -> RelFileLocator {
        let none = [0; 12];
        let place = self.bytes.get(BLOCK + 4..).and_then(<[u8]>::first_chunk);
        let &[s0, s1, s2, s3, d0, d1, d2, d3, r0, r1, r2, r3] = place.unwrap_or(&none);
        RelFileLocator {
            spc_oid: u32::from_le_bytes([s0, s1, s2, s3]),
            db_oid: u32::from_le_bytes([d0, d1, d2, d3]),
            rel_number: u32::from_le_bytes([r0, r1, r2, r3]),
        }
    }

    /// Flags, block number and data of a block reference there is.
    #[inline]
    fn place(&self, id: u8) -> Option<(u8, BlockNumber, Option<&'a [u8]>)> {
        if id >= self.blocks {
            return None;
        }
        let (head, blkno, data, end) = match id {
            0 => (BLOCK, SECOND - 4, self.data, self.second_data),
            _ => (SECOND, SECOND + 4, self.second_data, self.main_data),
        };
        let flags = *self.bytes.get(head + 1)?;
        let blkno = u32::from_le_bytes(*self.bytes.get(blkno..)?.first_chunk()?);
        let data = match data < end {
            true => Some(self.bytes.get(data..end)?),
            false => None,
        };
        Some((flags, blkno, data))
    }
}

/// Length of the data of the block reference whose header begins here, if it
/// has no image and is as told about its relation.
#[inline]
fn block_data_len(bytes: &[u8], at: usize, same_rel: u8) -> Option<usize> {
    let &[_, flags, l0, l1] = bytes.get(at..)?.first_chunk()?;
    let len = usize::from(u16::from_le_bytes([l0, l1]));
    let as_told = flags & (BKPBLOCK_HAS_IMAGE | BKPBLOCK_SAME_REL) == same_rel
        && (flags & BKPBLOCK_HAS_DATA != 0) == (len != 0);
    as_told.then_some(len)
}

/// Bytes of page images in a record, as its block headers give them. What is
/// malformed counts as far as it can be read.
#[inline]
pub fn image_bytes(record: &[u8]) -> u64 {
    match record.get(SIZE_OF_XLOG_RECORD..) {
        // Nearly always: one block reference, without an image.
        Some([0, flags, rest @ ..]) if flags & BKPBLOCK_HAS_IMAGE == 0 => {
            match rest.get(BLOCK_HEADER - 2) {
                Some(&(XLR_BLOCK_ID_DATA_SHORT | XLR_BLOCK_ID_DATA_LONG)) => 0,
                _ => all_image_bytes(record),
            }
        }
        Some([XLR_BLOCK_ID_DATA_SHORT | XLR_BLOCK_ID_DATA_LONG, ..]) => 0,
        _ => all_image_bytes(record),
    }
}

#[inline(never)]
fn all_image_bytes(record: &[u8]) -> u64 {
    let mut total = 0;
    let _ = add_image_bytes(record, &mut total);
    total
}

fn add_image_bytes(record: &[u8], total: &mut u64) -> Result<(), WalError> {
    let mut r = Reader::new("XLogRecord", record);
    r.skip(SIZE_OF_XLOG_RECORD)?;
    // Bytes that the headers read so far promise to follow all headers.
    let (mut promised, mut before) = (0, None);
    while r.left() > promised {
        match r.u8()? {
            XLR_BLOCK_ID_ORIGIN => r.skip(2)?,
            XLR_BLOCK_ID_TOPLEVEL_XID => r.skip(4)?,
            id @ 0..=XLR_MAX_BLOCK_ID => {
                let block = read_block_header(id, &mut r, before.as_ref())?;
                let image = block.image.map_or(0, |i| i.len);
                *total += u64::from(image);
                promised += usize::from(block.data_len) + usize::from(image);
                before = Some(block);
            }
            // By convention the main data come last.
            _ => return Ok(()),
        }
    }
    Ok(())
}

impl Record for FlatRecord<'_> {
    #[inline]
    fn lsn(&self) -> Lsn {
        self.lsn
    }
    #[inline]
    fn end_lsn(&self) -> Lsn {
        self.end_lsn
    }
    #[inline]
    fn prev_lsn(&self) -> Lsn {
        self.header().prev
    }
    #[inline]
    fn xid(&self) -> TransactionId {
        self.header().xid
    }
    #[inline]
    fn rmid(&self) -> RmgrId {
        self.header().rmid
    }
    #[inline]
    fn info(&self) -> u8 {
        self.header().info
    }
    #[inline]
    fn origin(&self) -> u16 {
        0
    }
    #[inline]
    fn total_len(&self) -> u32 {
        self.header().tot_len
    }
    #[inline]
    fn main_data(&self) -> &[u8] {
        self.bytes.get(self.main_data..).unwrap_or_default()
    }
    #[inline]
    fn max_block_id(&self) -> Option<u8> {
        self.blocks.checked_sub(1)
    }
    #[inline]
    fn block(&self, id: u8) -> Option<Block<'_>> {
        self.place(id).map(|(flags, blkno, data)| Block {
            id,
            locator: self.locator(),
            fork: ForkNumber(flags & BKPBLOCK_FORK_MASK),
            blkno,
            will_init: flags & BKPBLOCK_WILL_INIT != 0,
            data,
            image: None,
        })
    }
    #[inline]
    fn tag(&self, id: u8) -> Option<BlockTag<'_>> {
        self.place(id).map(|(flags, blkno, data)| BlockTag {
            locator: self.locator(),
            fork: ForkNumber(flags & BKPBLOCK_FORK_MASK),
            blkno,
            data,
            has_image: false,
        })
    }
}
