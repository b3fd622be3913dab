//! Changes of tuples as nearly all are: on one page, without an image.

use super::{
    Infomask, MAX_HEAP_TUPLES_PER_PAGE, XLH_DELETE_CONTAINS_OLD, XLH_DELETE_IS_SUPER,
    XLH_UPDATE_CONTAINS_OLD, XLOG_HEAP_DELETE, XLOG_HEAP_HOT_UPDATE, XLOG_HEAP_INIT_PAGE,
    XLOG_HEAP_INSERT, XLOG_HEAP_LOCK, XLOG_HEAP_OPMASK, XLOG_HEAP_UPDATE,
};
use crate::{BlockNumber, ForkNumber, OffsetNumber, Record, RelFileLocator};

/// `SizeOfHeapHeader`
const SIZE_OF_HEAP_HEADER: usize = 5;

/// Where a record inserts and deletes a tuple, and no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlainChange {
    /// The relation, whose main fork it is.
    pub locator: RelFileLocator,
    /// The block.
    pub blkno: BlockNumber,
    /// The new tuple's line pointer, 0 if there is none.
    pub inserted: OffsetNumber,
    /// The old tuple's line pointer, 0 if there is none.
    pub deleted: OffsetNumber,
    /// `XLOG_HEAP_INSERT`, `DELETE`, `UPDATE` or `HOT_UPDATE`.
    pub op: u8,
    /// The flags of that record.
    pub flags: u8,
}

/// A record of resource manager Heap, if it is but an insertion, a deletion or
/// an update by a transaction on one page: no image, no other block reference,
/// no new page, nothing frozen, nothing taken back, no old tuple. `None` if it
/// is another one, or malformed: then [`decode`](super::decode) has the answer.
///
/// Of the tuples' contents nothing is looked at, nor are they checked.
#[inline]
pub fn plain_change<R: Record + ?Sized>(rec: &R) -> Option<PlainChange> {
    let (info, main) = (rec.info(), rec.main_data());
    let block = rec.tag(0)?;
    let plain = rec.max_block_id() == Some(0)
        && info & XLOG_HEAP_INIT_PAGE == 0
        && block.fork == ForkNumber::MAIN
        && !block.has_image;
    if !plain {
        return None;
    }
    let op = info & XLOG_HEAP_OPMASK;
    // Comparisons in the order of how many there are, for a processor foresees
    // them better than a table of jumps.
    let (inserted, deleted, flags) = if op == XLOG_HEAP_HOT_UPDATE || op == XLOG_HEAP_UPDATE {
        let main = *<&[u8; 14]>::try_from(main).ok()?;
        let [_, _, _, _, o0, o1, _, flags, _, _, _, _, n0, n1] = main;
        if flags & XLH_UPDATE_CONTAINS_OLD != 0 {
            return None;
        }
        (checked([n0, n1])?, checked([o0, o1])?, flags)
    } else if op == XLOG_HEAP_INSERT {
        let [o0, o1, flags] = *<&[u8; 3]>::try_from(main).ok()?;
        let &[_, _, i0, i1, _] = block.data?.first_chunk::<SIZE_OF_HEAP_HEADER>()?;
        if Infomask(u16::from_le_bytes([i0, i1])).xmin_frozen() {
            return None;
        }
        (checked([o0, o1])?, 0, flags)
    } else if op == XLOG_HEAP_DELETE {
        let [_, _, _, _, o0, o1, _, flags] = *<&[u8; 8]>::try_from(main).ok()?;
        if flags & (XLH_DELETE_CONTAINS_OLD | XLH_DELETE_IS_SUPER) != 0 {
            return None;
        }
        (0, checked([o0, o1])?, flags)
    } else {
        return None;
    };
    Some(PlainChange {
        locator: block.locator,
        blkno: block.blkno,
        inserted,
        deleted,
        op,
        flags,
    })
}

/// A lock on a tuple of a main fork, and no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlainLock {
    /// The relation.
    pub locator: RelFileLocator,
    /// The block.
    pub blkno: BlockNumber,
    /// The tuple's line pointer.
    pub offnum: OffsetNumber,
    /// `XLHL_*`.
    pub infobits_set: u8,
}

/// A record of resource manager Heap, if it is `XLOG_HEAP_LOCK` without an
/// image. `None` if it is another one, or malformed: then
/// [`decode`](super::decode) has the answer.
#[inline]
pub fn plain_lock<R: Record + ?Sized>(rec: &R) -> Option<PlainLock> {
    if rec.info() & XLOG_HEAP_OPMASK != XLOG_HEAP_LOCK {
        return None;
    }
    let block = rec.tag(0)?;
    let [_, _, _, _, o0, o1, infobits_set, _] = *<&[u8; 8]>::try_from(rec.main_data()).ok()?;
    let plain = block.fork == ForkNumber::MAIN && !block.has_image;
    Some(PlainLock {
        locator: block.locator,
        blkno: block.blkno,
        offnum: checked([o0, o1]).filter(|_| plain)?,
        infobits_set,
    })
}

#[inline]
fn checked(bytes: [u8; 2]) -> Option<OffsetNumber> {
    let off = u16::from_le_bytes(bytes);
    (1..=MAX_HEAP_TUPLES_PER_PAGE).contains(&off).then_some(off)
}
