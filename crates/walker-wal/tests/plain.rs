//! The short way to read a change of tuples against the long one.

use proptest::prelude::*;
use walker_wal::heap::*;
use walker_wal::raw::{BlockSpec, Decoder, ImageSpec, RecordBuilder};
use walker_wal::xact::{XactRecord, plain_end};
use walker_wal::{BLCKSZ, ForkNumber, Lsn, Major, RmgrId, heap, xact};

/// What the short way tells, by the long one; `None` where it should keep out.
fn by_the_long_way(rec: &walker_wal::raw::RawRecord<'_>) -> Option<PlainChange> {
    use walker_wal::Record;
    let info = rec.info();
    if rec.max_block_id() != Some(0) || info & XLOG_HEAP_INIT_PAGE != 0 {
        return None;
    }
    let (block, inserted, deleted, flags) = match heap::decode(Major::V17, rec).ok()? {
        HeapRecord::Insert(insert) => {
            if insert.tuple?.header.infomask.xmin_frozen() {
                return None;
            }
            (insert.block, insert.offnum, 0, insert.flags)
        }
        HeapRecord::Delete(delete) => {
            if delete.flags & XLH_DELETE_IS_SUPER != 0 || delete.old_tuple.is_some() {
                return None;
            }
            (delete.block, 0, delete.offnum, delete.flags)
        }
        HeapRecord::Update(update) => {
            if update.old_tuple.is_some() {
                return None;
            }
            (
                update.new_block,
                update.new_offnum,
                update.old_offnum,
                update.flags,
            )
        }
        _ => return None,
    };
    let op = info & XLOG_HEAP_OPMASK;
    let named = [inserted, deleted].map(|off| off <= MAX_HEAP_TUPLES_PER_PAGE);
    let needed = match op {
        XLOG_HEAP_INSERT => inserted != 0,
        XLOG_HEAP_DELETE => deleted != 0,
        _ => inserted != 0 && deleted != 0,
    };
    let plain = named == [true; 2] && needed && block.image.is_none();
    (plain && block.fork == ForkNumber::MAIN).then_some(PlainChange {
        locator: block.locator,
        blkno: block.blkno,
        inserted,
        deleted,
        op,
        flags,
    })
}

fn lock_by_the_long_way(rec: &walker_wal::raw::RawRecord<'_>) -> Option<PlainLock> {
    let HeapRecord::Lock(lock) = heap::decode(Major::V17, rec).ok()? else {
        return None;
    };
    let named = (1..=MAX_HEAP_TUPLES_PER_PAGE).contains(&lock.offnum);
    let plain = named && lock.block.image.is_none() && lock.block.fork == ForkNumber::MAIN;
    plain.then_some(PlainLock {
        locator: lock.block.locator,
        blkno: lock.block.blkno,
        offnum: lock.offnum,
        infobits_set: lock.infobits_set,
    })
}

fn block_like() -> impl Strategy<Value = (u8, u8, Option<Vec<u8>>, bool)> {
    let data = prop::option::weighted(0.9, prop::collection::vec(any::<u8>(), 0..12));
    (
        prop_oneof![9 => Just(0u8), 1 => 1..3u8],
        0..2u8,
        data,
        prop::bool::weighted(0.1),
    )
}

proptest! {
    #[test]
    fn like_the_long_way(
        op in 0..8u8,
        init in prop::bool::weighted(0.1),
        main in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::collection::vec(0..2u8, 3),
            prop::collection::vec(0..2u8, 8),
            prop::collection::vec(0..2u8, 14),
            prop::collection::vec(0..40u8, 14),
        ],
        blocks in prop::collection::vec(block_like(), 1..3),
    ) {
        let info = op << 4 | u8::from(init) << 7;
        let mut record = RecordBuilder::new(RmgrId::HEAP, info).xid(700).main_data(&main);
        for (id, (_, fork, data, image)) in (0u8..).zip(blocks) {
            let mut block = BlockSpec::new(id, (1663, 5, 16384), 7).fork(ForkNumber(fork));
            if let Some(data) = data {
                block = block.data(&data);
            }
            if image {
                block = block.image(ImageSpec::of_page(&[0; BLCKSZ]));
            }
            record = record.block(block);
        }
        let bytes = record.build();
        let mut decoder = Decoder::new();
        let rec = decoder.decode(&bytes, Lsn(8), Lsn(16)).unwrap();
        let expected = by_the_long_way(&rec);
        // The contents of tuples are not checked by the short way.
        match (plain_change(&rec), expected) {
            (Some(plain), None) => prop_assert!(heap::decode(Major::V17, &rec).is_err(), "{plain:?}"),
            (plain, expected) => prop_assert_eq!(plain, expected),
        }
        prop_assert_eq!(plain_lock(&rec), lock_by_the_long_way(&rec));
    }

    #[test]
    fn plain_ends(op in 0..8u8, info in any::<bool>(), len in 0..16usize) {
        let main = vec![0; len];
        let info = op << 4 | u8::from(info) << 7;
        let bytes = RecordBuilder::new(RmgrId::XACT, info).xid(700).main_data(&main).build();
        let mut decoder = Decoder::new();
        let rec = decoder.decode(&bytes, Lsn(8), Lsn(16)).unwrap();
        let long = xact::decode(Major::V17, &rec);
        match plain_end(&rec) {
            Some(true) => prop_assert!(matches!(long, Ok(XactRecord::Commit(end)) if end.xids().eq([700]))),
            Some(false) => prop_assert!(matches!(long, Ok(XactRecord::Abort(end)) if end.xids().eq([700]))),
            None => prop_assert!(len != 8 || !matches!(info, 0x00 | 0x20)),
        }
    }
}
