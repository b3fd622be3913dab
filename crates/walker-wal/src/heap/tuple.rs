//! Tuple headers: the whole one of a page, the short one of a record.
//!
//! See `access/htup_details.h`; the constants are its own.

use crate::bytes::Reader;
use crate::{BlockNumber, OffsetNumber, TransactionId, WalError};
use serde::Serialize;

/// Line pointers a heap page of 8 kB can have at most; offset numbers are
/// 1 to this.
pub const MAX_HEAP_TUPLES_PER_PAGE: u16 = 291;
/// `SizeofHeapTupleHeader`: the fixed part, before the null bitmap.
pub const SIZE_OF_HEAP_TUPLE_HEADER: usize = 23;

/// xmax is a key-shared locker.
pub const HEAP_XMAX_KEYSHR_LOCK: u16 = 0x0010;
/// xmax is an exclusive locker.
pub const HEAP_XMAX_EXCL_LOCK: u16 = 0x0040;
/// xmax, if valid, is only a locker.
pub const HEAP_XMAX_LOCK_ONLY: u16 = 0x0080;
/// xmax is a shared locker.
pub const HEAP_XMAX_SHR_LOCK: u16 = HEAP_XMAX_EXCL_LOCK | HEAP_XMAX_KEYSHR_LOCK;
/// Any of the lock bits.
pub const HEAP_LOCK_MASK: u16 = HEAP_XMAX_SHR_LOCK | HEAP_XMAX_EXCL_LOCK | HEAP_XMAX_KEYSHR_LOCK;
/// xmin committed.
pub const HEAP_XMIN_COMMITTED: u16 = 0x0100;
/// xmin invalid or aborted.
pub const HEAP_XMIN_INVALID: u16 = 0x0200;
/// Both of the above: frozen.
pub const HEAP_XMIN_FROZEN: u16 = HEAP_XMIN_COMMITTED | HEAP_XMIN_INVALID;
/// xmax committed.
pub const HEAP_XMAX_COMMITTED: u16 = 0x0400;
/// xmax invalid or aborted.
pub const HEAP_XMAX_INVALID: u16 = 0x0800;
/// xmax is a MultiXactId.
pub const HEAP_XMAX_IS_MULTI: u16 = 0x1000;
/// This is the updated version of a row.
pub const HEAP_UPDATED: u16 = 0x2000;
/// Moved elsewhere by a VACUUM FULL before 9.0.
pub const HEAP_MOVED_OFF: u16 = 0x4000;
/// Moved here by a VACUUM FULL before 9.0.
pub const HEAP_MOVED_IN: u16 = 0x8000;
/// Either of the two.
pub const HEAP_MOVED: u16 = HEAP_MOVED_OFF | HEAP_MOVED_IN;

/// `t_infomask2`: key columns modified, or tuple deleted.
pub const HEAP_KEYS_UPDATED: u16 = 0x2000;
/// `t_infomask2`: the tuple was HOT-updated.
pub const HEAP_HOT_UPDATED: u16 = 0x4000;
/// `t_infomask2`: this is a heap-only tuple.
pub const HEAP_ONLY_TUPLE: u16 = 0x8000;

/// `t_infomask` of a tuple, with the questions the macros of
/// `htup_details.h` answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Infomask(pub u16);

impl Infomask {
    /// All of `bits` are set.
    #[inline]
    fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    /// `HeapTupleHeaderXminFrozen`.
    #[inline]
    pub fn xmin_frozen(self) -> bool {
        self.has(HEAP_XMIN_FROZEN)
    }

    /// `HeapTupleHeaderXminCommitted`: committed or frozen.
    #[inline]
    pub fn xmin_committed(self) -> bool {
        self.has(HEAP_XMIN_COMMITTED)
    }

    /// `HeapTupleHeaderXminInvalid`: known aborted, not frozen.
    #[inline]
    pub fn xmin_invalid(self) -> bool {
        self.0 & HEAP_XMIN_FROZEN == HEAP_XMIN_INVALID
    }

    /// xmax is absent or known aborted.
    #[inline]
    pub fn xmax_invalid(self) -> bool {
        self.has(HEAP_XMAX_INVALID)
    }

    /// xmax is known committed.
    #[inline]
    pub fn xmax_committed(self) -> bool {
        self.has(HEAP_XMAX_COMMITTED)
    }

    /// xmax is a MultiXactId.
    #[inline]
    pub fn xmax_is_multi(self) -> bool {
        self.has(HEAP_XMAX_IS_MULTI)
    }

    /// `HEAP_XMAX_IS_LOCKED_ONLY`: also true for the plain exclusive lock as
    /// releases before 9.3 left it.
    #[inline]
    pub fn xmax_is_locked_only(self) -> bool {
        self.has(HEAP_XMAX_LOCK_ONLY)
            || self.0 & (HEAP_XMAX_IS_MULTI | HEAP_LOCK_MASK) == HEAP_XMAX_EXCL_LOCK
    }

    /// `HEAP_LOCKED_UPGRADED`: a share lock of before pg_upgrade from 9.2,
    /// whose multixact must not be looked up.
    #[inline]
    pub fn locked_upgraded(self) -> bool {
        self.has(HEAP_XMAX_IS_MULTI | HEAP_XMAX_LOCK_ONLY)
            && self.0 & (HEAP_XMAX_EXCL_LOCK | HEAP_XMAX_KEYSHR_LOCK) == 0
    }

    /// Moved by a VACUUM FULL before 9.0; `t_xvac` decides.
    #[inline]
    pub fn moved(self) -> bool {
        self.0 & HEAP_MOVED != 0
    }
}

/// A tuple's address: `ItemPointerData`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct ItemPointer {
    /// The block.
    pub blkno: BlockNumber,
    /// The line pointer.
    pub offnum: OffsetNumber,
}

impl ItemPointer {
    /// The six bytes: the block number's upper and lower half, the offset.
    #[inline]
    pub(crate) fn from_bytes([h0, h1, l0, l1, o0, o1]: [u8; 6]) -> ItemPointer {
        let (hi, lo) = (u16::from_le_bytes([h0, h1]), u16::from_le_bytes([l0, l1]));
        ItemPointer {
            blkno: u32::from(hi) << 16 | u32::from(lo),
            offnum: u16::from_le_bytes([o0, o1]),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<ItemPointer, WalError> {
        let (hi, lo) = (r.u16()?, r.u16()?);
        Ok(ItemPointer {
            blkno: u32::from(hi) << 16 | u32::from(lo),
            offnum: r.u16()?,
        })
    }
}

/// The header of a tuple on a page: `HeapTupleHeaderData`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct TupleHeader {
    /// Raw `t_xmin`; frozen tuples keep the old one.
    pub xmin: TransactionId,
    /// Raw `t_xmax`: transaction or multixact.
    pub xmax: TransactionId,
    /// `t_ctid`: this or a newer version; a speculative token before
    /// confirmation.
    pub ctid: ItemPointer,
    /// Number of attributes and flags.
    pub infomask2: u16,
    /// Flags.
    pub infomask: Infomask,
    /// Bytes from the header's beginning to the user data.
    pub hoff: u8,
}

impl TupleHeader {
    /// The header as it stands on the page.
    #[inline]
    pub(crate) fn from_bytes(b: &[u8; SIZE_OF_HEAP_TUPLE_HEADER]) -> TupleHeader {
        // t_field3 (command IDs or xvac) at 8 is not of interest to anyone.
        let [
            a0,
            a1,
            a2,
            a3,
            b0,
            b1,
            b2,
            b3,
            _,
            _,
            _,
            _, //
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            m0,
            m1,
            n0,
            n1,
            hoff,
        ] = *b;
        TupleHeader {
            xmin: u32::from_le_bytes([a0, a1, a2, a3]),
            xmax: u32::from_le_bytes([b0, b1, b2, b3]),
            ctid: ItemPointer::from_bytes([c0, c1, c2, c3, c4, c5]),
            infomask2: u16::from_le_bytes([m0, m1]),
            infomask: Infomask(u16::from_le_bytes([n0, n1])),
            hoff,
        }
    }
}

/// What a record says of a tuple's header: `xl_heap_header`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct XlHeapHeader {
    /// Number of attributes and flags.
    pub infomask2: u16,
    /// Flags; tells a frozen tuple (COPY FREEZE) from others.
    pub infomask: Infomask,
    /// Bytes from the header's beginning to the user data.
    pub hoff: u8,
}

impl XlHeapHeader {
    /// `SizeOfHeapHeader`.
    pub const SIZE: usize = 5;

    #[inline]
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<XlHeapHeader, WalError> {
        Ok(XlHeapHeader {
            infomask2: r.u16()?,
            infomask: Infomask(r.u16()?),
            hoff: r.u8()?,
        })
    }
}
