//! Opcodes and flags of `access/heapam_xlog.h` that Heap and Heap2 share.

/// A row was inserted.
pub const XLOG_HEAP_INSERT: u8 = 0x00;
/// A row was deleted.
pub const XLOG_HEAP_DELETE: u8 = 0x10;
/// A row was updated.
pub const XLOG_HEAP_UPDATE: u8 = 0x20;
/// Relations were truncated; for logical decoding only.
pub const XLOG_HEAP_TRUNCATE: u8 = 0x30;
/// A row was updated within its page and without touching indexes.
pub const XLOG_HEAP_HOT_UPDATE: u8 = 0x40;
/// A speculative insertion was confirmed.
pub const XLOG_HEAP_CONFIRM: u8 = 0x50;
/// A row was locked.
pub const XLOG_HEAP_LOCK: u8 = 0x60;
/// A row was overwritten in place.
pub const XLOG_HEAP_INPLACE: u8 = 0x70;
/// The bits of the info byte that hold the opcode, in Heap and in Heap2.
pub const XLOG_HEAP_OPMASK: u8 = 0x70;
/// Redo starts with an empty page (INSERT, UPDATE, HOT_UPDATE, MULTI_INSERT).
pub const XLOG_HEAP_INIT_PAGE: u8 = 0x80;

/// `PD_ALL_VISIBLE` was cleared.
pub const XLH_INSERT_ALL_VISIBLE_CLEARED: u8 = 1 << 0;
/// Last record of one multi-insert.
pub const XLH_INSERT_LAST_IN_MULTI: u8 = 1 << 1;
/// A speculative insertion, to be confirmed or super-deleted.
pub const XLH_INSERT_IS_SPECULATIVE: u8 = 1 << 2;
/// The tuple is there even beside a page image.
pub const XLH_INSERT_CONTAINS_NEW_TUPLE: u8 = 1 << 3;
/// The relation is a TOAST table.
pub const XLH_INSERT_ON_TOAST_RELATION: u8 = 1 << 4;
/// The page was set all-frozen (COPY FREEZE into an empty page).
pub const XLH_INSERT_ALL_FROZEN_SET: u8 = 1 << 5;

/// `PD_ALL_VISIBLE` was cleared on the old page.
pub const XLH_UPDATE_OLD_ALL_VISIBLE_CLEARED: u8 = 1 << 0;
/// `PD_ALL_VISIBLE` was cleared on the new page.
pub const XLH_UPDATE_NEW_ALL_VISIBLE_CLEARED: u8 = 1 << 1;
/// The old tuple follows in the main data.
pub const XLH_UPDATE_CONTAINS_OLD_TUPLE: u8 = 1 << 2;
/// The old tuple's key follows in the main data.
pub const XLH_UPDATE_CONTAINS_OLD_KEY: u8 = 1 << 3;
/// The new tuple is there even beside a page image.
pub const XLH_UPDATE_CONTAINS_NEW_TUPLE: u8 = 1 << 4;
/// The new tuple shares a prefix with the old one.
pub const XLH_UPDATE_PREFIX_FROM_OLD: u8 = 1 << 5;
/// The new tuple shares a suffix with the old one.
pub const XLH_UPDATE_SUFFIX_FROM_OLD: u8 = 1 << 6;
/// Any form of the old tuple.
pub const XLH_UPDATE_CONTAINS_OLD: u8 = XLH_UPDATE_CONTAINS_OLD_TUPLE | XLH_UPDATE_CONTAINS_OLD_KEY;

/// `PD_ALL_VISIBLE` was cleared.
pub const XLH_DELETE_ALL_VISIBLE_CLEARED: u8 = 1 << 0;
/// The old tuple follows in the main data.
pub const XLH_DELETE_CONTAINS_OLD_TUPLE: u8 = 1 << 1;
/// The old tuple's key follows in the main data.
pub const XLH_DELETE_CONTAINS_OLD_KEY: u8 = 1 << 2;
/// A speculative insertion is taken back: dead at once, whatever its
/// transaction does.
pub const XLH_DELETE_IS_SUPER: u8 = 1 << 3;
/// The row moves to another partition.
pub const XLH_DELETE_IS_PARTITION_MOVE: u8 = 1 << 4;
/// Any form of the old tuple.
pub const XLH_DELETE_CONTAINS_OLD: u8 = XLH_DELETE_CONTAINS_OLD_TUPLE | XLH_DELETE_CONTAINS_OLD_KEY;

/// xmax is a MultiXactId.
pub const XLHL_XMAX_IS_MULTI: u8 = 0x01;
/// xmax is only a locker.
pub const XLHL_XMAX_LOCK_ONLY: u8 = 0x02;
/// xmax is an exclusive locker.
pub const XLHL_XMAX_EXCL_LOCK: u8 = 0x04;
/// xmax is a key-shared locker.
pub const XLHL_XMAX_KEYSHR_LOCK: u8 = 0x08;
/// Key columns were modified, or the row deleted.
pub const XLHL_KEYS_UPDATED: u8 = 0x10;

/// TRUNCATE ... CASCADE.
pub const XLH_TRUNCATE_CASCADE: u8 = 1 << 0;
/// TRUNCATE ... RESTART IDENTITY.
pub const XLH_TRUNCATE_RESTART_SEQS: u8 = 1 << 1;

/// The all-frozen bit of the page was cleared.
pub const XLH_LOCK_ALL_FROZEN_CLEARED: u8 = 0x01;
