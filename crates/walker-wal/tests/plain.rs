//! The short way to read a change of tuples against the long one.

use proptest::prelude::*;
use walker_wal::heap::*;
use walker_wal::heap2::{Heap2Record, PlainPrune, XLHP_HAS_FREEZE_PLANS, plain_prune};
use walker_wal::raw::{BlockSpec, Decoder, ImageSpec, RecordBuilder};
use walker_wal::xact::{XactRecord, plain_end};
use walker_wal::{BLCKSZ, ForkNumber, Lsn, Major, RmgrId, heap, heap2, xact};

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

/// The same of pruning, as what can be compared.
fn prune_by_the_long_way(major: Major, rec: &walker_wal::raw::RawRecord<'_>) -> Option<String> {
    let Heap2Record::Prune(prune) = heap2::decode(major, rec).ok()? else {
        return None;
    };
    let frozen = major >= Major::V17 && prune.flags & XLHP_HAS_FREEZE_PLANS != 0;
    let plain = prune.block.image.is_none() && prune.block.fork == ForkNumber::MAIN && !frozen;
    let items = prune.items.filter(|_| plain)?;
    Some(shown(&PlainPrune {
        locator: prune.block.locator,
        blkno: prune.block.blkno,
        reason: prune.reason,
        redirected: items.redirected,
        nowdead: items.nowdead,
        nowunused: items.nowunused,
    }))
}

fn shown(prune: &PlainPrune<'_>) -> String {
    let lists = (
        prune.redirected.iter().collect::<Vec<_>>(),
        prune.nowdead.iter().collect::<Vec<_>>(),
        prune.nowunused.iter().collect::<Vec<_>>(),
    );
    let at = (prune.locator, prune.blkno, prune.reason);
    format!("{at:?} {lists:?}")
}

/// Data as of pruning: counts and offsets, at times a byte too few or too many.
fn prune_data() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(prop_oneof![0..4u16, 1..300u16], 0..12);
    (words, prop::bool::weighted(0.1)).prop_map(|(words, odd)| {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(bytes.len() + usize::from(odd), 1);
        bytes
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
    fn pruning_like_the_long_way(
        major in prop::sample::select(vec![Major::V15, Major::V16, Major::V17, Major::V18]),
        op in 0..8u8,
        main in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            // 15 and 16: few redirections and few dead items, and a truth value.
            (0..4u8, 0..4u8).prop_map(|(r, d)| vec![0, 0, 0, 0, r, 0, d, 0]),
            (0..4u8, 0..4u8, 0..3u8).prop_map(|(r, d, c)| vec![0, 0, 0, 0, r, 0, d, 0, c]),
            // From 17 on: what there is, with and without a horizon.
            (0..16u8).prop_map(|what| vec![0, what << 4]),
            (0..32u8).prop_map(|what| vec![0, what << 3, 1, 2, 3, 4]),
        ],
        data in prop::option::weighted(0.9, prune_data()),
        fork in prop_oneof![9 => Just(0u8), 1 => 1..3u8],
        image in prop::bool::weighted(0.1),
    ) {
        let mut block = BlockSpec::new(0, (1663, 5, 16384), 7).fork(ForkNumber(fork));
        if let Some(data) = data {
            block = block.data(&data);
        }
        if image {
            block = block.image(ImageSpec::of_page(&[0; BLCKSZ]));
        }
        let record = RecordBuilder::new(RmgrId::HEAP2, op << 4).xid(700).main_data(&main);
        let bytes = record.block(block).build();
        let mut decoder = Decoder::new();
        let rec = decoder.decode(&bytes, Lsn(8), Lsn(16)).unwrap();
        let plain = plain_prune(major, &rec);
        prop_assert_eq!(plain.as_ref().map(shown), prune_by_the_long_way(major, &rec));
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
