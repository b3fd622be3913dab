//! A WAL record as the server's XLogReader decoded it, seen without copying.

use core::marker::PhantomData;
use core::slice;
use pgrx::pg_sys;
use walker_wal::{
    BLCKSZ, Block, BlockTag, Compression, ForkNumber, Image, Lsn, Record, RelFileLocator, RmgrId,
    TransactionId,
};

const BKPBLOCK_WILL_INIT: u8 = 0x40;

/// A record, borrowed for one callback. Everything typed comes from
/// [`Record`]; see also [`WalRecord::restore_image`].
pub struct WalRecord<'a> {
    reader: *mut pg_sys::XLogReaderState,
    decoded: &'a pg_sys::DecodedXLogRecord,
    // The reader's memory is the main thread's alone.
    _not_send: PhantomData<*mut ()>,
}

impl<'a> WalRecord<'a> {
    /// # Safety
    /// `reader` must have a record, by `XLogReadRecord` or `DecodeXLogRecord`,
    /// and not be moved on while the view lives (`state->record` stays valid
    /// until the next read: see XLogReleasePreviousRecord in
    /// access/transam/xlogreader.c).
    #[doc(hidden)]
    #[inline]
    pub unsafe fn from_reader(reader: *mut pg_sys::XLogReaderState) -> Option<Self> {
        // SAFETY: the caller's promise.
        let decoded = unsafe { (*reader).record.as_ref() }?;
        Some(WalRecord {
            reader,
            decoded,
            _not_send: PhantomData,
        })
    }

    /// Restore the page image of a block through the server, which knows its
    /// compression. False if there is no image or it cannot be restored.
    pub fn restore_image(&self, block_id: u8, page: &mut [u8; BLCKSZ]) -> bool {
        if self.raw_block(block_id).is_none_or(|b| !b.has_image) {
            return false;
        }
        // SAFETY: RestoreBlockImage (access/transam/xlogreader.c) writes one
        // page to the buffer, which is BLCKSZ long, and reports failure by
        // its result.
        unsafe { pg_sys::RestoreBlockImage(self.reader, block_id, page.as_mut_ptr().cast()) }
    }

    #[inline]
    fn raw_block(&self, id: u8) -> Option<&pg_sys::DecodedBkpBlock> {
        if i32::from(id) > self.decoded.max_block_id {
            return None;
        }
        // SAFETY: DecodeXLogRecord allocates max_block_id + 1 elements of the
        // flexible array and initialises in_use in each of them.
        let block = unsafe { &*self.decoded.blocks.as_ptr().add(usize::from(id)) };
        block.in_use.then_some(block)
    }
}

/// The bytes at a pointer the reader handed out.
///
/// # Safety
/// `ptr` must be NULL or point to `len` bytes of the decoded record.
#[inline]
unsafe fn bytes<'a>(ptr: *const core::ffi::c_char, len: usize) -> &'a [u8] {
    if ptr.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(ptr.cast(), len) }
}

#[inline]
fn locator(block: &pg_sys::DecodedBkpBlock) -> RelFileLocator {
    #[cfg(feature = "pg15")]
    {
        RelFileLocator {
            spc_oid: block.rnode.spcNode.to_u32(),
            db_oid: block.rnode.dbNode.to_u32(),
            rel_number: block.rnode.relNode.to_u32(),
        }
    }
    #[cfg(not(feature = "pg15"))]
    {
        RelFileLocator {
            spc_oid: block.rlocator.spcOid.to_u32(),
            db_oid: block.rlocator.dbOid.to_u32(),
            rel_number: block.rlocator.relNumber.to_u32(),
        }
    }
}

impl Record for WalRecord<'_> {
    #[inline]
    fn lsn(&self) -> Lsn {
        Lsn(self.decoded.lsn)
    }

    #[inline]
    fn end_lsn(&self) -> Lsn {
        Lsn(self.decoded.next_lsn)
    }

    #[inline]
    fn prev_lsn(&self) -> Lsn {
        Lsn(self.decoded.header.xl_prev)
    }

    #[inline]
    fn xid(&self) -> TransactionId {
        self.decoded.header.xl_xid.into_inner()
    }

    #[inline]
    fn rmid(&self) -> RmgrId {
        RmgrId(self.decoded.header.xl_rmid)
    }

    #[inline]
    fn info(&self) -> u8 {
        self.decoded.header.xl_info
    }

    #[inline]
    fn origin(&self) -> u16 {
        self.decoded.record_origin
    }

    #[inline]
    fn total_len(&self) -> u32 {
        self.decoded.header.xl_tot_len
    }

    #[inline]
    fn main_data(&self) -> &[u8] {
        // SAFETY: DecodeXLogRecord sets both from the same record.
        unsafe { bytes(self.decoded.main_data, self.decoded.main_data_len as usize) }
    }

    #[inline]
    fn max_block_id(&self) -> Option<u8> {
        u8::try_from(self.decoded.max_block_id).ok()
    }

    #[inline]
    fn block(&self, id: u8) -> Option<Block<'_>> {
        let raw = self.raw_block(id)?;
        // SAFETY: DecodeXLogRecord sets pointers and lengths together; see
        // BKPBLOCK_HAS_DATA and BKPBLOCK_HAS_IMAGE there.
        let (data, image) = unsafe {
            (
                raw.has_data
                    .then(|| bytes(raw.data, usize::from(raw.data_len))),
                raw.has_image.then(|| Image {
                    bytes: bytes(raw.bkp_image, usize::from(raw.bimg_len)),
                    hole_offset: raw.hole_offset,
                    hole_length: raw.hole_length,
                    compression: Compression::of(raw.bimg_info),
                    apply: raw.apply_image,
                }),
            )
        };
        Some(Block {
            id,
            locator: locator(raw),
            fork: ForkNumber(raw.forknum as u8),
            blkno: raw.blkno,
            will_init: raw.flags & BKPBLOCK_WILL_INIT != 0,
            data,
            image,
        })
    }

    #[inline]
    fn tag(&self, id: u8) -> Option<BlockTag<'_>> {
        let raw = self.raw_block(id)?;
        // SAFETY: as in `block`.
        let data = unsafe {
            raw.has_data
                .then(|| bytes(raw.data, usize::from(raw.data_len)))
        };
        Some(BlockTag {
            locator: locator(raw),
            fork: ForkNumber(raw.forknum as u8),
            blkno: raw.blkno,
            data,
            has_image: raw.has_image,
        })
    }
}
