//! One situation at a time, where random histories do not get to.

use garbagemap_core::{BlockView, Stats, XidStatus};
use walker_wal::heap::*;
use walker_wal::raw::{BlockSpec, ImageSpec, RecordBuilder};
use walker_wal::{ForkNumber, Major, RelFileLocator, RmgrId};

use crate::limits::{Fake, apply, create, delete, end, fill, rel};
use crate::sim::page::Page;
use crate::sim::server::locator_bytes;
use crate::told::{Told, dead, feed, ledger, main_only, spec, with_garbage, words};

#[test]
fn a_database_moves_between_tablespaces() {
    let mut ledger = with_garbage();
    apply(&mut ledger, &delete(rel(1), 0, 3, 801, 50));
    let copy = words(&[5, 7000, 5, 1663]);
    apply(&mut ledger, &main_only(RmgrId::DBASE, 0x00, copy, 60));
    let moved = RelFileLocator {
        spc_oid: 7000,
        ..rel(1)
    };
    assert_eq!(ledger.block(moved, 0), ledger.block(rel(1), 0));
    let shown = ledger.sink().get(moved).unwrap();
    assert_eq!((shown.known_from, shown.ranges[&0].dead), (Some(0), 2));

    // Only what is in the listed tablespaces goes.
    apply(
        &mut ledger,
        &main_only(RmgrId::DBASE, 0x20, words(&[5, 1, 1663]), 70),
    );
    assert_eq!(ledger.block(rel(1), 0), None);
    assert_eq!(ledger.stats().dead_tuples, 2);
    // The undecided event was copied as well.
    apply(&mut ledger, &end(801, true, 80));
    assert_eq!(ledger.block(moved, 0).unwrap().dead, [1, 2, 3]);

    apply(
        &mut ledger,
        &main_only(RmgrId::TBLSPC, 0x10, words(&[7000]), 90),
    );
    let stats = ledger.stats();
    assert_eq!(
        (stats.relations, stats.dead_tuples, stats.memory_used),
        (0, 0, 0)
    );
}

#[test]
fn minimal_wal_promises_nothing() {
    let mut ledger = ledger();
    ledger.set_wal_minimal(true);
    apply(&mut ledger, &create(1, 10));
    assert_eq!(ledger.block(rel(1), 0), None);
    // What was written without WAL is not empty behind the cut.
    let cut = |lsn| {
        let main = [words(&[3]), locator_bytes(rel(1)), words(&[7])].concat();
        main_only(RmgrId::SMGR, 0x20, main, lsn)
    };
    apply(&mut ledger, &fill(rel(1), 4, 10, 20));
    apply(&mut ledger, &cut(30));
    assert_eq!(ledger.block(rel(1), 4), None);

    let mut parameters = vec![0; 28];
    parameters[20] = 1;
    apply(&mut ledger, &main_only(RmgrId::XLOG, 0x60, parameters, 40));
    apply(&mut ledger, &cut(50));
    assert_eq!(ledger.block(rel(1), 2), None);
    assert!(ledger.block(rel(1), 3).is_some());
    apply(&mut ledger, &create(2, 60));
    assert!(ledger.block(rel(2), 0).is_some());
}

#[test]
fn other_forks_are_nothing() {
    let mut ledger = with_garbage();
    let vm_only = [words(&[0]), locator_bytes(rel(1)), words(&[2])].concat();
    apply(&mut ledger, &main_only(RmgrId::SMGR, 0x20, vm_only, 50));
    let init_fork = [locator_bytes(rel(1)), words(&[3])].concat();
    apply(&mut ledger, &main_only(RmgrId::SMGR, 0x10, init_fork, 60));
    let page = Page {
        lsn: 1,
        lps: vec![],
    }
    .bytes();
    let block = spec(1, 0)
        .fork(ForkNumber::VISIBILITYMAP)
        .image(ImageSpec::of_page(&page));
    let fpi = RecordBuilder::new(RmgrId::XLOG, 0xB0).block(block);
    feed(&mut ledger, fpi, 70, &mut Told::default());
    assert_eq!(dead(&ledger, 1, 0), Some(vec![1, 2]));
}

#[test]
fn unknown_opcodes_are_counted() {
    let mut ledger = with_garbage();
    for (rmid, info) in [
        (2, 0x70),
        (4, 0x70),
        (5, 0x70),
        (0, 0xF0),
        (8, 0x70),
        (6, 0x70),
        (1, 0x70),
    ] {
        apply(&mut ledger, &main_only(RmgrId(rmid), info, vec![], 50));
    }
    apply(&mut ledger, &main_only(RmgrId(200), 0, vec![1], 60));
    assert_eq!(ledger.stats().unknown_records, 7);
    assert_eq!(dead(&ledger, 1, 0), Some(vec![1, 2]));
}

#[test]
fn malformed_records_cost_their_blocks() {
    let mut ledger = with_garbage();
    apply(&mut ledger, &fill(rel(1), 1, 10, 50));
    let mut restore = |_, _: &mut garbagemap_core::Page| false;
    let bad = delete(rel(1), 0, 292, 801, 60);
    let result = ledger.apply(Major::V17, &bad, &mut Told::default(), &mut restore);
    ledger.publish(None);
    assert!(result.is_err());
    assert_eq!(
        (dead(&ledger, 1, 0), dead(&ledger, 1, 1)),
        (None, Some(vec![]))
    );
    assert_eq!(
        ledger.sink().get(rel(1)).unwrap().ranges[&0].first_unknown,
        0
    );
    assert_eq!(ledger.stats().malformed_records, 1);
}

#[test]
fn what_indexes_have_is_dropped() {
    let mut ledger = ledger();
    apply(&mut ledger, &create(1, 10));
    let mut page = Page::default().bytes();
    page[14..18].copy_from_slice(&[0xF0, 0x1F, 0xF0, 0x1F]);
    let fpi = RecordBuilder::new(RmgrId::XLOG, 0xB0);
    let fpi = fpi.block(spec(1, 0).image(ImageSpec::of_page(&page)));
    feed(&mut ledger, fpi, 20, &mut Told::default());
    assert_eq!(ledger.stats(), Stats::default());
}

#[test]
fn prepared_transactions_outlive_a_shutdown() {
    let mut ledger = with_garbage();
    for (off, xid) in [(3, 801), (4, 802)] {
        apply(&mut ledger, &delete(rel(1), 0, off, xid, 50));
    }
    let mut checkpoint = vec![0; 88];
    checkpoint[20] = 1;
    let shutdown = RecordBuilder::new(RmgrId::XLOG, 0x00).main_data(&checkpoint);
    let statuses = [(801, XidStatus::InProgress), (802, XidStatus::Aborted)];
    feed(&mut ledger, shutdown, 60, &mut Told::of(&statuses));
    assert_eq!(ledger.stats().pending_transactions, 1);
    let main = [vec![0; 8], words(&[1 << 4, 801])].concat();
    apply(&mut ledger, &main_only(RmgrId::XACT, 0x30 | 0x80, main, 70));
    assert_eq!(dead(&ledger, 1, 0), Some(vec![1, 2, 3]));
}

/// Nobody is told what a new file is for, until a sequence or a BRIN index is written.
#[test]
fn what_is_no_heap_goes() {
    for (rmid, info) in [(RmgrId::SEQ, 0x00), (RmgrId::BRIN, 0x00)] {
        let mut ledger = with_garbage();
        apply(&mut ledger, &create(2, 50));
        assert_eq!(ledger.stats().relations, 2);
        let page = RecordBuilder::new(rmid, info).block(spec(2, 0));
        feed(&mut ledger, page, 60, &mut Told::default());
        assert_eq!(ledger.stats().relations, 1);
        assert!(ledger.sink().get(rel(2)).is_none());
        assert_eq!(dead(&ledger, 1, 0), Some(vec![1, 2]));
    }
}

#[test]
fn what_makes_a_block_known() {
    let mut l = ledger();
    // A page that is made anew, by each record that can.
    let insert = RecordBuilder::new(RmgrId::HEAP, 0x80).xid(800);
    let insert = insert.main_data(&[1, 0, 0]);
    let insert = insert.block(spec(1, 0).will_init().data(&[1, 0, 0, 8, 24, 1]));
    feed(&mut l, insert, 20, &mut Told::default());
    assert_eq!(l.block(rel(1), 0).unwrap().inserted, [(1, 800)]);

    let main = [words(&[800]), vec![9, 0, 0, 0], words(&[0]), vec![1, 0]].concat();
    let old = BlockSpec::new(1, (1663, 5, 1), 0);
    let update = RecordBuilder::new(RmgrId::HEAP, 0x20 | 0x80)
        .xid(800)
        .main_data(&main);
    let new = spec(1, 1).will_init().data(&[1, 0, 0, 8, 24, 1]);
    feed(
        &mut l,
        update.block(new).block(old),
        30,
        &mut Told::default(),
    );
    assert_eq!(l.block(rel(1), 1).unwrap().inserted, [(1, 800)]);
    assert_eq!(l.block(rel(1), 0).unwrap().deleted, [(9, 800)]);

    apply(&mut l, &fill(rel(1), 2, 5, 40));
    assert_eq!(l.block(rel(1), 2).unwrap().normal, Some(5));

    // A page that is all-visible: without garbage, and not counted.
    let visible = RecordBuilder::new(RmgrId::HEAP2, 0x40).main_data(&[0, 0, 0, 0, 1]);
    let vm = spec(1, 0).fork(ForkNumber::VISIBILITYMAP);
    let heap = BlockSpec::new(1, (1663, 5, 1), 3);
    feed(
        &mut l,
        visible.block(vm).block(heap),
        50,
        &mut Told::default(),
    );
    assert_eq!(l.block(rel(1), 3), Some(BlockView::default()));
    assert_eq!(l.sink().get(rel(1)).unwrap().ranges[&0].first_unknown, 4);
    assert_eq!(l.sink().get(rel(1)).unwrap().ranges[&0].tuples, None);

    // Nothing else does.
    apply(&mut l, &delete(rel(1), 4, 1, 800, 60));
    assert_eq!(l.block(rel(1), 4), None);
    assert_eq!(l.block(rel(2), 0), None);
}

#[test]
fn a_lock_shows_that_the_updater_aborted() {
    let mut l = with_garbage();
    apply(&mut l, &delete(rel(1), 0, 3, 801, 50));
    let lock = |bits: u8| Fake {
        rmid: 10,
        info: 0x60,
        xid: 802,
        main: [words(&[802]), vec![3, 0, bits, 0]].concat(),
        locator: rel(1),
        blkno: Some(0),
        lsn: 60,
        ..Fake::default()
    };
    apply(&mut l, &lock(XLHL_XMAX_IS_MULTI | XLHL_XMAX_KEYSHR_LOCK));
    assert_eq!(l.block(rel(1), 0).unwrap().deleted, [(3, 801)]);
    apply(&mut l, &lock(XLHL_XMAX_IS_MULTI | XLHL_XMAX_LOCK_ONLY));
    assert_eq!(l.block(rel(1), 0).unwrap().deleted, []);
    assert_eq!(dead(&l, 1, 0), Some(vec![1, 2]));
}

#[test]
fn files_go_with_their_transaction() {
    for op in [0x00, 0x20] {
        let mut l = with_garbage();
        let rels = [vec![0; 8], words(&[1 << 2, 1]), locator_bytes(rel(1))].concat();
        let end = main_only(RmgrId::XACT, op | 0x80, rels, 50);
        apply(&mut l, &Fake { xid: 801, ..end });
        assert_eq!((l.stats().relations, l.stats().dead_tuples), (0, 0));
        assert!(l.sink().rels.is_empty());
    }
}
