//! Base scans among records, one situation at a time.

use garbagemap_core::{BaseItem, BaseOutcome, BlockView, Ledger, XidStatus};
use walker_wal::heap::*;
use walker_wal::raw::{ImageSpec, RecordBuilder};
use walker_wal::{Lsn, RelFileLocator, RmgrId};

use crate::limits::{apply, create, delete, end, fill, rel};
use crate::sim::page::Page;
use crate::sim::sink::TestSink;
use crate::told::{Told, dead, feed, ledger, main_only, spec, tuple, words};

pub fn live(n: u16) -> Vec<BaseItem> {
    items(n, 0, HEAP_XMIN_FROZEN | HEAP_XMAX_INVALID)
}

fn items(n: u16, xmax: u32, infomask: u16) -> Vec<BaseItem> {
    let item = |offnum| BaseItem {
        offnum,
        lp_flags: 1,
        xmin: 700,
        xmax,
        infomask,
    };
    (1..=n).map(item).collect()
}

#[test]
fn a_base_scan_among_writers() {
    let mut l = ledger();
    let none = &mut Told::default();
    let r = rel(1);
    assert_eq!(
        l.base_block(r, 0, Lsn(5), &live(3), Lsn(9), none),
        BaseOutcome::NoScan
    );
    assert!(l.begin_base_scan(r, true).is_some());
    // A record on an unknown block: the page read before it is stale.
    apply(&mut l, &delete(r, 0, 1, 800, 100));
    assert_eq!(
        l.base_block(r, 0, Lsn(90), &live(3), Lsn(108), none),
        BaseOutcome::Stale
    );
    let told = &mut Told::of(&[(800, XidStatus::InProgress)]);
    let mut items = live(3);
    (items[0].xmax, items[0].infomask) = (800, HEAP_XMIN_FROZEN);
    assert_eq!(
        l.base_block(r, 0, Lsn(108), &items, Lsn(108), told),
        BaseOutcome::Applied
    );
    assert_eq!(
        l.base_block(r, 0, Lsn(108), &items, Lsn(108), told),
        BaseOutcome::Known
    );
    apply(&mut l, &end(800, true, 110));
    assert_eq!(dead(&l, 1, 0), Some(vec![1]));

    // A page that is ahead: records up to its LSN are in it.
    let shown = |l: &Ledger<TestSink>| l.sink().get(r).unwrap().ranges[&0].first_unknown;
    assert_eq!(
        l.base_block(r, 1, Lsn(200), &live(4), Lsn(118), none),
        BaseOutcome::Ahead
    );
    assert_eq!(shown(&l), 1);
    assert_eq!(
        l.base_block(r, 1, Lsn(200), &live(4), Lsn(118), none),
        BaseOutcome::Ahead
    );
    apply(&mut l, &fill(r, 1, 9, 150));
    assert_eq!((shown(&l), l.block(r, 1)), (1, None));
    l.advance(Lsn(200));
    assert_eq!((shown(&l), l.block(r, 1).unwrap().normal), (2, Some(4)));
    // One that is reached by a record of its own.
    assert_eq!(
        l.base_block(r, 2, Lsn(300), &live(4), Lsn(200), none),
        BaseOutcome::Ahead
    );
    apply(&mut l, &delete(r, 2, 2, 801, 300));
    assert_eq!(l.block(r, 2).unwrap().deleted, [(2, 801)]);

    // Blocks that did not exist are known from the moment they did not.
    assert_eq!(l.block(r, 3), None);
    l.end_base_scan(r, Some((3, Lsn(500))), Lsn(308));
    assert_eq!(l.block(r, 3), None);
    apply(&mut l, &delete(r, 40, 1, 801, 600)); // and one that ought not to be
    assert_eq!(
        l.block(r, 3),
        Some(BlockView {
            normal: Some(0),
            ..BlockView::default()
        })
    );
    assert_eq!(
        l.base_block(r, 3, Lsn(1), &[], Lsn(600), none),
        BaseOutcome::NoScan
    );
}

#[test]
fn a_scan_ends_with_its_relation() {
    let mut l = ledger();
    let none = &mut Told::default();
    assert!(l.begin_base_scan(rel(1), true).is_some());
    assert_eq!(
        l.base_block(rel(1), 0, Lsn(50), &live(1), Lsn(9), none),
        BaseOutcome::Ahead
    );
    apply(&mut l, &create(1, 20));
    assert_eq!(
        l.base_block(rel(1), 0, Lsn(50), &live(1), Lsn(9), none),
        BaseOutcome::NoScan
    );
    l.advance(Lsn(1000));
    assert_eq!(l.block(rel(1), 0).unwrap().normal, Some(0));
    l.end_base_scan(rel(1), None, Lsn(1000));

    // What is held back goes with a transaction nobody knows of.
    assert!(l.begin_base_scan(rel(2), true).is_some());
    let mut items = live(1);
    (items[0].xmax, items[0].infomask) = (800, HEAP_XMIN_FROZEN);
    let told = &mut Told::of(&[(800, XidStatus::InProgress)]);
    assert_eq!(
        l.base_block(rel(2), 0, Lsn(5000), &items, Lsn(1000), told),
        BaseOutcome::Ahead
    );
    let running = [vec![0; 12], words(&[900, 900, 899])].concat();
    let running = RecordBuilder::new(RmgrId::STANDBY, 0x10).main_data(&running);
    feed(&mut l, running, 2000, none);
    l.advance(Lsn(6000));
    assert_eq!(l.block(rel(2), 0), None);
    // An item that cannot be.
    items[0].offnum = 292;
    let outcome = l.base_block(rel(2), 0, Lsn(5000), &items, Lsn(6000), told);
    assert_eq!(outcome, BaseOutcome::Undecided);
}

/// A block behind the measured end that a record named, of which nothing is
/// known, does not become known with the others there, not even for a moment.
#[test]
fn what_a_scan_cannot_know_is_shown_at_once() {
    let mut l = ledger();
    assert!(l.begin_base_scan(rel(1), true).is_some());
    let delete = RecordBuilder::new(RmgrId::HEAP, 0x10)
        .xid(700)
        .main_data(&[0xBC, 2, 0, 0, 2, 0, 0, 0])
        .block(spec(1, 40));
    feed(&mut l, delete, 20, &mut Told::default());
    l.end_base_scan(rel(1), Some((5, Lsn(10))), Lsn(20));
    let shown = l.sink().get(rel(1)).unwrap();
    assert_eq!(
        (shown.known_from, shown.ranges[&1].first_unknown),
        (Some(5), 8)
    );
    assert_eq!(shown.ranges_before, 1);
}

/// CREATE DATABASE with STRATEGY file_copy, then a base scan of the template,
/// both while the worker is behind.
#[test]
fn a_copied_database_has_nothing_that_is_held_back() {
    let mut l = ledger();
    let told = &mut Told::of(&[(800, XidStatus::Committed)]);
    assert!(l.begin_base_scan(rel(1), true).is_some());
    for b in 0..5 {
        let outcome = l.base_block(rel(1), b, Lsn(5), &live(7), Lsn(10), told);
        assert_eq!(outcome, BaseOutcome::Applied);
    }
    // Rows that came and went after the database was copied.
    let gone = items(7, 800, HEAP_XMIN_FROZEN);
    let outcome = l.base_block(rel(1), 5, Lsn(200), &gone, Lsn(10), told);
    assert_eq!(outcome, BaseOutcome::Ahead);
    let copy = words(&[6, 1663, 5, 1663]);
    apply(&mut l, &main_only(RmgrId::DBASE, 0x00, copy, 100));
    let copied = RelFileLocator {
        db_oid: 6,
        ..rel(1)
    };
    let shown = l.sink().get(copied).unwrap().ranges[&0];
    assert_eq!((shown.first_unknown, shown.dead), (5, 0));
}

/// A scan measures the table where it begins, and says the position where it
/// ends. A block that came in between, and became unknown again, is not empty.
#[test]
fn a_block_that_came_during_a_scan() {
    let mut l = ledger();
    let none = &mut Told::default();
    assert!(l.begin_base_scan(rel(1), true).is_some()); // of 0 blocks
    apply(&mut l, &fill(rel(1), 0, 9, 20));
    // An image nobody can decide about.
    let page = Page {
        lsn: 1,
        lps: vec![tuple(700, 0, 0)],
    };
    let image = ImageSpec::of_page(&page.bytes());
    let hint = RecordBuilder::new(RmgrId::XLOG, 0xA0).block(spec(1, 0).image(image));
    feed(&mut l, hint, 40, none);
    assert_eq!(l.block(rel(1), 0), None);
    l.end_base_scan(rel(1), Some((0, Lsn(60))), Lsn(40));
    l.advance(Lsn(60));
    assert_eq!(l.block(rel(1), 0), None);
}

/// Who began before what was noted during the scan was forgotten is told from
/// who began after that.
#[test]
fn a_scan_that_was_forgotten_is_not_the_next_one() {
    let mut l = ledger();
    assert!(l.begin_base_scan(rel(1), true).is_some());
    let first = l.base_scan(rel(1));
    assert!(first.is_some());
    assert!(l.begin_base_scan(rel(1), true).is_some());
    assert_eq!(l.base_scan(rel(1)), first);
    l.mark_all_unknown();
    assert_eq!(l.base_scan(rel(1)), None);
    assert!(l.begin_base_scan(rel(1), true).is_some());
    let second = l.base_scan(rel(1));
    assert!(second.is_some() && second != first);
}
