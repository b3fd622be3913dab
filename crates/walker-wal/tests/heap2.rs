//! Records of Heap2, made by hand from `access/heapam_xlog.h`.

mod common;

use common::*;
use walker_wal::heap::Infomask;
use walker_wal::heap2::*;
use walker_wal::raw::RecordBuilder;
use walker_wal::{ForkNumber, Major, Payload, RmgrId};

fn heap2(info: u8) -> RecordBuilder {
    RecordBuilder::new(RmgrId::HEAP2, info).xid(700)
}

fn with_heap2<T>(
    major: Major,
    builder: &RecordBuilder,
    check: impl FnOnce(Heap2Record<'_>) -> T,
) -> T {
    with_payload(major, builder, |p| match p.expect("valid") {
        Payload::Heap2(record) => check(record),
        other => panic!("{other:?}"),
    })
}

#[test]
fn prune_of_15_and_16() {
    let v15 = Bytes::new().u32(690).u16(1).u16(2);
    let v16 = v15.clone().u8(1);
    let data = Bytes::new().u16s(&[3, 5, 7, 8, 9]).0;
    for (major, main) in [(Major::V15, v15.0), (Major::V16, v16.0)] {
        exact_main_data(major, RmgrId::HEAP2, 0x10, &[block(0, 7)], &main);
        with_heap2(
            major,
            &heap2(0x10).block(block(0, 7).data(&data)).main_data(&main),
            |r| {
                let Heap2Record::Prune(r) = r else {
                    panic!("{r:?}")
                };
                assert_eq!(
                    (r.reason, r.snapshot_conflict_horizon),
                    (PruneReason::Any, 690)
                );
                assert_eq!(r.counts, Some((1, 2)));
                assert_eq!(r.flags & XLHP_IS_CATALOG_REL != 0, major == Major::V16);
                let items = r.items.unwrap();
                assert!(items.redirected == [(3, 5)][..]);
                assert!(items.nowdead == [7, 8][..]);
                assert!(items.nowunused == [9][..]);
            },
        );
        // Cut before the unused ones, which are not counted: shorter but valid.
        // Cut into the counted ones, or amid a number: not.
        for (cut, valid) in [(8, true), (9, false), (7, false), (6, false), (2, false)] {
            let builder = heap2(0x10)
                .block(block(0, 7).data(&data[..cut]))
                .main_data(&main);
            with_payload(major, &builder, |p| assert_eq!(p.is_ok(), valid, "{cut}"));
        }
    }
}

#[test]
fn vacuum_of_15_and_16() {
    for major in [Major::V15, Major::V16] {
        let (main, data) = (Bytes::new().u16(3).0, Bytes::new().u16s(&[4, 5, 6]).0);
        exact_main_data(major, RmgrId::HEAP2, 0x20, &[block(0, 7)], &main);
        exact_block_data(major, RmgrId::HEAP2, 0x20, &main, &data);
        with_heap2(
            major,
            &heap2(0x20).block(block(0, 7).data(&data)).main_data(&main),
            |r| {
                let Heap2Record::Vacuum(r) = r else {
                    panic!("{r:?}")
                };
                assert!(r.nowunused.unwrap() == [4, 5, 6][..]);
            },
        );
    }
}

#[test]
fn freeze_page_of_15_and_16() {
    let tuple = |off| {
        Bytes::new()
            .u32(0)
            .u16(off)
            .u16(0x8002)
            .u16(0x0B02)
            .u8(2)
            .pad(1)
            .0
    };
    let (main, data) = (
        Bytes::new().u32(690).u16(2).0,
        [tuple(4), tuple(9)].concat(),
    );
    exact_main_data(Major::V15, RmgrId::HEAP2, 0x30, &[block(0, 7)], &main);
    exact_block_data(Major::V15, RmgrId::HEAP2, 0x30, &main, &data);
    with_heap2(
        Major::V15,
        &heap2(0x30).block(block(0, 7).data(&data)).main_data(&main),
        |r| {
            let Heap2Record::FreezePage(r) = r else {
                panic!("{r:?}")
            };
            let Some(Frozen::Tuples(tuples)) = r.frozen else {
                panic!("{r:?}")
            };
            assert_eq!(tuples.iter().map(|t| t.offnum).collect::<Vec<_>>(), [4, 9]);
            assert_eq!(tuples.get(1).unwrap().infomask, Infomask(0x0B02));
        },
    );

    let main = Bytes::new().u32(690).u16(2).u8(0).0;
    let data = freeze_plans(&[1, 2]).u16s(&[4, 5, 6]).0;
    exact_main_data(Major::V16, RmgrId::HEAP2, 0x30, &[block(0, 7)], &main);
    exact_block_data(Major::V16, RmgrId::HEAP2, 0x30, &main, &data);
    with_heap2(
        Major::V16,
        &heap2(0x30).block(block(0, 7).data(&data)).main_data(&main),
        |r| {
            let Heap2Record::FreezePage(r) = r else {
                panic!("{r:?}")
            };
            let Some(Frozen::Plans(plans)) = r.frozen else {
                panic!("{r:?}")
            };
            let tuples: Vec<_> = plans.tuples().map(|(off, p)| (off, p.xmax)).collect();
            assert_eq!(tuples, [(4, 0), (5, 1), (6, 1)]);
        },
    );
}

/// One plan for each number of tuples, with its index as xmax.
fn freeze_plans(ntuples: &[u16]) -> Bytes {
    ntuples.iter().enumerate().fold(Bytes::new(), |b, (i, n)| {
        b.u32(i as u32).u16(0x8002).u16(0x0B02).u8(0).pad(1).u16(*n)
    })
}

#[test]
fn prune_from_17() {
    for major in [Major::V17, Major::V18] {
        for (op, reason) in [
            (0x10, PruneReason::OnAccess),
            (0x20, PruneReason::VacuumScan),
            (0x30, PruneReason::VacuumCleanup),
        ] {
            let main = Bytes::new().u8(op >> 4).u8(0xFE).u32(690).0;
            let data = Bytes::new()
                .u16(2)
                .pad(2)
                .raw(&freeze_plans(&[2, 1]).0)
                .u16(1)
                .u16s(&[3, 5])
                .u16(2)
                .u16s(&[7, 8])
                .u16(1)
                .u16s(&[9])
                .u16s(&[10, 11, 12])
                .0;
            exact_main_data(major, RmgrId::HEAP2, op, &[block(0, 7)], &main);
            exact_block_data(major, RmgrId::HEAP2, op, &main, &data);
            with_heap2(
                major,
                &heap2(op).block(block(0, 7).data(&data)).main_data(&main),
                |r| {
                    let Heap2Record::Prune(r) = r else {
                        panic!("{r:?}")
                    };
                    assert_eq!((r.reason, r.snapshot_conflict_horizon), (reason, 690));
                    let items = r.items.unwrap();
                    assert!(items.redirected == [(3, 5)][..] && items.nowdead == [7, 8][..]);
                    assert!(items.nowunused == [9][..]);
                    let frozen: Vec<_> = items
                        .frozen
                        .tuples()
                        .map(|(off, p)| (off, p.xmax))
                        .collect();
                    assert_eq!(frozen, [(10, 0), (11, 0), (12, 1)]);
                },
            );
        }
        // Only what the flags announce is there.
        let main = Bytes::new().u8(2).u8(XLHP_HAS_NOW_UNUSED_ITEMS).0;
        let data = Bytes::new().u16(2).u16s(&[1, 2]).0;
        exact_main_data(major, RmgrId::HEAP2, 0x30, &[block(0, 7)], &main);
        exact_block_data(major, RmgrId::HEAP2, 0x30, &main, &data);
    }
}

#[test]
fn multi_insert() {
    // Tuples of odd length are followed by a byte of padding, the last is not.
    let data = Bytes::new()
        .u16(4)
        .u16(3)
        .u16(0x0B00)
        .u8(24)
        .raw(b"even")
        .pad(1)
        .u16(3)
        .u16(3)
        .u16(0x0802)
        .u8(24)
        .raw(b"odd")
        .u16(2)
        .u16(3)
        .u16(0x0802)
        .u8(24)
        .raw(b"xy")
        .0;
    let listed = Bytes::new().u8(2).pad(1).u16(3).u16s(&[5, 9, 200]).0;
    let counted = Bytes::new().u8(2).pad(1).u16(3).0;
    for major in MAJORS {
        exact_main_data(major, RmgrId::HEAP2, 0x50, &[block(0, 7)], &listed);
        exact_main_data(major, RmgrId::HEAP2, 0xD0, &[block(0, 7)], &counted);
        exact_block_data(major, RmgrId::HEAP2, 0x50, &listed, &data);
        for (op, main, offsets) in [(0x50, &listed, [5, 9, 200]), (0xD0, &counted, [1, 2, 3])] {
            let builder = heap2(op).block(block(0, 7).data(&data)).main_data(main);
            with_heap2(major, &builder, |r| {
                let Heap2Record::MultiInsert(r) = r else {
                    panic!("{r:?}")
                };
                assert_eq!(r.init_page, op == 0xD0);
                let tuples: Vec<_> = r.tuples().collect();
                assert_eq!(tuples.iter().map(|t| t.offnum).collect::<Vec<_>>(), offsets);
                assert!(tuples[0].tuple.unwrap().header.infomask.xmin_frozen());
                assert!(!tuples[1].tuple.unwrap().header.infomask.xmin_frozen());
                assert_eq!(tuples[2].tuple.unwrap().data, b"xy");
                assert_eq!((r.offset(3), r.offset(2)), (None, Some(offsets[2])));
            });
            // The same offsets without the tuples, when there is an image.
            with_heap2(major, &heap2(op).block(block(0, 7)).main_data(main), |r| {
                let Heap2Record::MultiInsert(r) = r else {
                    panic!("{r:?}")
                };
                assert!(r.tuples().all(|t| t.tuple.is_none()) && r.tuples().count() == 3);
            });
        }
    }
}

#[test]
fn visible_new_cid_rewrite() {
    let vm = || block(0, 0).fork(ForkNumber::VISIBILITYMAP).data(&[]);
    for major in MAJORS {
        let main = Bytes::new().u32(690).u8(3).0;
        exact_main_data(major, RmgrId::HEAP2, 0x40, &[vm(), block(1, 33)], &main);
        with_heap2(
            major,
            &heap2(0x40).block(vm()).block(block(1, 33)).main_data(&main),
            |r| {
                let Heap2Record::Visible(r) = r else {
                    panic!("{r:?}")
                };
                assert_eq!(
                    (r.vm_block.fork, r.block.blkno),
                    (ForkNumber::VISIBILITYMAP, 33)
                );
            },
        );
        let cid = Bytes::new().u32s(&[700, 1, u32::MAX, u32::MAX, 1663, 5, 1249]);
        let cid = cid.u16s(&[1, 2, 3]).0;
        exact_main_data(major, RmgrId::HEAP2, 0x70, &[], &cid);
        with_heap2(major, &heap2(0x70).main_data(&cid), |r| {
            let Heap2Record::NewCid(r) = r else {
                panic!("{r:?}")
            };
            assert_eq!((r.target_tid.blkno, r.target_tid.offnum), (0x1_0002, 3));
            assert_eq!(r.target_locator.rel_number, 1249);
        });
        let head = Bytes::new()
            .u32s(&[700, 5, 1259])
            .pad(4)
            .u64(72)
            .u32(2)
            .pad(4)
            .u64(0x1234);
        let rewrite = head.pad(72).0;
        exact_main_data(major, RmgrId::HEAP2, 0x00, &[], &rewrite);
    }
}
