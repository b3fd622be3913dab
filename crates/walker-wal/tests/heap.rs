//! Records of Heap, made by hand from `access/heapam_xlog.h`.

mod common;

use common::*;
use walker_wal::heap::*;
use walker_wal::raw::RecordBuilder;
use walker_wal::{ForkNumber, Major, Payload, RmgrId, WalError};

fn heap(info: u8) -> RecordBuilder {
    RecordBuilder::new(RmgrId::HEAP, info).xid(700)
}

fn with_heap<T>(
    major: Major,
    builder: &RecordBuilder,
    check: impl FnOnce(HeapRecord<'_>) -> T,
) -> T {
    with_payload(major, builder, |p| match p.expect("valid") {
        Payload::Heap(record) => check(record),
        other => panic!("{other:?}"),
    })
}

fn tuple() -> Bytes {
    Bytes::new()
        .u16(0x8003)
        .u16(0x0902)
        .u8(24)
        .raw(b"\0tupledata")
}

#[test]
fn insert() {
    let main = Bytes::new().u16(17).u8(XLH_INSERT_IS_SPECULATIVE).0;
    for major in MAJORS {
        exact_main_data(major, RmgrId::HEAP, 0x00, &[block(0, 7)], &main);
        let builder = heap(0x80)
            .block(block(0, 7).will_init().data(&tuple().0))
            .main_data(&main);
        with_heap(major, &builder, |r| {
            let HeapRecord::Insert(r) = r else {
                panic!("{r:?}")
            };
            assert!(r.init_page && r.block.will_init);
            assert_eq!((r.block.blkno, r.offnum, r.flags), (7, 17, 4));
            let tuple = r.tuple.unwrap();
            assert_eq!(tuple.header.infomask2, 0x8003);
            assert_eq!(tuple.header.infomask, Infomask(0x0902));
            assert_eq!(
                (tuple.header.hoff, tuple.data),
                (24, b"\0tupledata".as_slice())
            );
        });
        // A page image took the tuple's place.
        with_heap(
            major,
            &heap(0x00).block(block(0, 7)).main_data(&main),
            |r| {
                assert!(matches!(
                    r,
                    HeapRecord::Insert(XlHeapInsert { tuple: None, .. })
                ));
            },
        );
        // The tuple's header is cut.
        let short = heap(0x00)
            .block(block(0, 7).data(&[1, 2, 3, 4]))
            .main_data(&main);
        with_payload(major, &short, |p| assert!(p.is_err()));
        with_payload(major, &heap(0x00).main_data(&main), |p| {
            assert_eq!(p.map(drop).unwrap_err(), WalError::MissingBlock { id: 0 });
        });
    }
}

#[test]
fn delete() {
    let main = |flags| Bytes::new().u32(699).u16(3).u8(XLHL_KEYS_UPDATED).u8(flags);
    for major in MAJORS {
        exact_main_data(major, RmgrId::HEAP, 0x10, &[block(0, 7)], &main(0).0);
        let old = main(XLH_DELETE_CONTAINS_OLD_KEY).raw(&tuple().0).0;
        let vm = block(1, 0).fork(ForkNumber::VISIBILITYMAP);
        let builder = heap(0x10).block(block(0, 9)).block(vm).main_data(&old);
        with_heap(major, &builder, |r| {
            let HeapRecord::Delete(r) = r else {
                panic!("{r:?}")
            };
            assert_eq!(
                (r.xmax, r.offnum, r.infobits_set, r.block.blkno),
                (699, 3, 0x10, 9)
            );
            assert_eq!(r.old_tuple.unwrap().header.hoff, 24);
        });
    }
}

#[test]
fn update_finds_the_old_page() {
    let main = Bytes::new().u32(5).u16(1).u8(1).u8(0).u32(6).u16(11).0;
    for major in MAJORS {
        for op in [0x20, 0x40] {
            exact_main_data(major, RmgrId::HEAP, op, &[block(0, 7)], &main);
        }
        let vm = |id| block(id, 0).fork(ForkNumber::VISIBILITYMAP);
        let same = heap(0x40).block(block(0, 7)).block(vm(2)).main_data(&main);
        with_heap(major, &same, |r| {
            let HeapRecord::Update(r) = r else {
                panic!("{r:?}")
            };
            assert!(r.hot && r.other_old_block.is_none());
            assert_eq!(r.old_block().blkno, 7);
            assert_eq!((r.old_xmax, r.old_offnum, r.old_infobits_set), (5, 1, 1));
            assert_eq!((r.new_xmax, r.new_offnum), (6, 11));
        });
        let other = heap(0xA0)
            .block(block(0, 7))
            .block(block(1, 4))
            .block(vm(2))
            .block(vm(3));
        with_heap(major, &other.main_data(&main), |r| {
            let HeapRecord::Update(r) = r else {
                panic!("{r:?}")
            };
            assert!(!r.hot && r.init_page);
            assert_eq!((r.new_block.blkno, r.old_block().blkno), (7, 4));
        });
        // A map's page is never the old page.
        let map = heap(0x20).block(block(0, 7)).block(vm(1)).main_data(&main);
        with_heap(major, &map, |r| {
            assert!(matches!(
                r,
                HeapRecord::Update(XlHeapUpdate {
                    other_old_block: None,
                    ..
                })
            ));
        });
    }
}

#[test]
fn update_prefix_and_suffix() {
    let flags = XLH_UPDATE_PREFIX_FROM_OLD | XLH_UPDATE_SUFFIX_FROM_OLD;
    let main = |flags| Bytes::new().u32(5).u16(1).u8(0).u8(flags).u32(0).u16(2).0;
    let data = Bytes::new().u16(12).u16(34).raw(&tuple().0).0;
    let builder = heap(0x20)
        .block(block(0, 7).data(&data))
        .main_data(&main(flags));
    with_heap(Major::V17, &builder, |r| {
        let HeapRecord::Update(r) = r else {
            panic!("{r:?}")
        };
        assert_eq!((r.prefix_len, r.suffix_len), (12, 34));
        assert_eq!(r.new_tuple.unwrap().data, b"\0tupledata");
    });
    for cut in 1..9 {
        let cut = heap(0x20)
            .block(block(0, 7).data(&data[..cut]))
            .main_data(&main(flags));
        with_payload(Major::V17, &cut, |p| assert!(p.is_err()));
    }
}

#[test]
fn lock_confirm_truncate() {
    for major in MAJORS {
        let lock = Bytes::new().u32(9).u16(2).u8(3).u8(1).0;
        exact_main_data(major, RmgrId::HEAP, 0x60, &[block(0, 7)], &lock);
        exact_main_data(major, RmgrId::HEAP2, 0x60, &[block(0, 7)], &lock);
        exact_main_data(major, RmgrId::HEAP, 0x50, &[block(0, 7)], &[5, 0]);
        let truncate = Bytes::new().u32(5).u32(2).u8(3).pad(3).u32s(&[100, 200]).0;
        exact_main_data(major, RmgrId::HEAP, 0x30, &[], &truncate);
        with_heap(major, &heap(0x30).main_data(&truncate), |r| {
            let HeapRecord::Truncate(r) = r else {
                panic!("{r:?}")
            };
            assert_eq!((r.db_oid, r.flags), (5, 3));
            assert!(r.relids == [100, 200][..]);
        });
        // A count that would overflow when multiplied.
        let huge = Bytes::new().u32(5).u32(u32::MAX).u8(0).pad(3).u32(1).0;
        with_payload(major, &heap(0x30).main_data(&huge), |p| assert!(p.is_err()));
    }
}

#[test]
fn inplace_grew_in_18() {
    for major in [Major::V15, Major::V16, Major::V17] {
        exact_main_data(major, RmgrId::HEAP, 0x70, &[block(0, 7)], &[5, 0]);
    }
    let head = Bytes::new()
        .u16(5)
        .pad(2)
        .u32(16384)
        .u32(1663)
        .u8(1)
        .pad(3)
        .u32(2);
    let catcache = Bytes::new().u8(55).pad(3).u32(16384).u32(0xABCD).pad(4);
    let relcache = Bytes::new().u8(0xFE).pad(3).u32(16384).u32(1259).pad(4);
    let main = head.raw(&catcache.0).raw(&relcache.0).0;
    exact_main_data(Major::V18, RmgrId::HEAP, 0x70, &[block(0, 7)], &main);
    with_heap(
        Major::V18,
        &heap(0x70).block(block(0, 7)).main_data(&main),
        |r| {
            let HeapRecord::Inplace(XlHeapInplace {
                offnum: 5,
                inval: Some(inval),
                ..
            }) = r
            else {
                panic!("{r:?}")
            };
            assert!(inval.relcache_init_file_inval && inval.msgs.len() == 2);
            assert_eq!((inval.db_oid, inval.ts_oid), (16384, 1663));
        },
    );
}

#[test]
fn infomask_questions() {
    assert!(Infomask(HEAP_XMIN_FROZEN).xmin_frozen());
    assert!(!Infomask(HEAP_XMIN_FROZEN).xmin_invalid());
    assert!(Infomask(HEAP_XMIN_INVALID).xmin_invalid());
    assert!(!Infomask(HEAP_XMIN_COMMITTED).xmin_frozen());
    assert!(Infomask(HEAP_XMAX_LOCK_ONLY).xmax_is_locked_only());
    assert!(Infomask(HEAP_XMAX_EXCL_LOCK).xmax_is_locked_only());
    assert!(!Infomask(HEAP_XMAX_EXCL_LOCK | HEAP_XMAX_IS_MULTI).xmax_is_locked_only());
    assert!(!Infomask(HEAP_XMAX_SHR_LOCK).xmax_is_locked_only());
    assert!(Infomask(HEAP_XMAX_IS_MULTI | HEAP_XMAX_LOCK_ONLY).locked_upgraded());
    assert!(Infomask(HEAP_MOVED_OFF).moved());
}
