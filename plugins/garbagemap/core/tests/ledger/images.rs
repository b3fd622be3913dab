//! What page images say, and whom the ledger asks about their tuples.

use garbagemap_core::{ItemKind, XidStatus};
use walker_wal::heap::*;
use walker_wal::raw::{BlockSpec, ImageSpec, RecordBuilder};
use walker_wal::{Lsn, RmgrId};

use crate::limits::{apply, create, delete, fill, rel};
use crate::sim::page::{Lp, Page};
use crate::told::*;

#[test]
fn statuses_nobody_has_make_unknown() {
    use XidStatus::*;
    // Of an image.
    let mut l = ledger();
    let lps = || vec![tuple(600, 0, HEAP_XMAX_INVALID)];
    feed(&mut l, hint_image(1, 0, lps()), 20, &mut Told::default());
    assert_eq!((dead(&l, 1, 0), l.stats().images_undecided), (None, 1));
    feed(
        &mut l,
        hint_image(1, 0, lps()),
        30,
        &mut Told::of(&[(600, Aborted)]),
    );
    assert_eq!(dead(&l, 1, 0), Some(vec![1]));

    // Tuples moved by a VACUUM FULL of long ago, unless there is a hint.
    let moved = |hint| vec![tuple(600, 0, HEAP_MOVED_IN | HEAP_XMAX_INVALID | hint)];
    feed(
        &mut l,
        hint_image(1, 0, moved(0)),
        40,
        &mut Told::of(&[(600, Committed)]),
    );
    assert_eq!(dead(&l, 1, 0), None);
    feed(
        &mut l,
        hint_image(1, 0, moved(HEAP_XMIN_COMMITTED)),
        50,
        &mut Told::default(),
    );
    assert_eq!(dead(&l, 1, 0), Some(vec![]));

    // Of a transaction that was lost too long ago.
    apply(&mut l, &delete(rel(1), 0, 1, 700, 60));
    apply(&mut l, &fill(rel(1), 1, 3, 70));
    let running = [vec![0; 12], words(&[900, 800, 899])].concat();
    let running = RecordBuilder::new(RmgrId::STANDBY, 0x10).main_data(&running);
    feed(&mut l, running, 80, &mut Told::default());
    assert_eq!((dead(&l, 1, 0), dead(&l, 1, 1)), (None, Some(vec![])));
    assert_eq!(l.stats().pending_transactions, 0);
}

#[test]
fn a_mismatch_is_told_once_and_the_image_wins() {
    let mut ledger = with_garbage();
    let frozen = HEAP_XMIN_FROZEN | HEAP_XMAX_INVALID;
    for lsn in [50, 60] {
        let mut lps: Vec<Lp> = (0..10).map(|_| tuple(700, 0, frozen)).collect();
        lps[lsn as usize / 10 - 2] = tuple(700, 1, HEAP_XMIN_FROZEN | HEAP_XMAX_COMMITTED);
        feed(
            &mut ledger,
            hint_image(1, 0, lps),
            lsn,
            &mut Told::default(),
        );
    }
    assert_eq!(dead(&ledger, 1, 0), Some(vec![5]));
    assert_eq!(
        (
            ledger.stats().images_checked,
            ledger.stats().image_mismatches
        ),
        (2, 2)
    );
    let told = ledger.take_mismatches();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].locator, told[0].blkno, told[0].offnum),
        (rel(1), 0, 1)
    );
    assert_eq!(
        (told[0].end_lsn, told[0].expected),
        (Lsn(50), ItemKind::DeadTuple)
    );
    assert_eq!(told[0].found, ItemKind::Other);
    assert!(ledger.take_mismatches().is_empty());
}

#[test]
fn a_commit_that_waits_is_a_commit() {
    // The server says "in progress" while a commit waits for a standby.
    let mut ledger = with_garbage();
    let lps = vec![tuple(700, 800, HEAP_XMIN_COMMITTED)];
    let mut told = Told::of(&[(800, XidStatus::InProgress)]);
    feed(&mut ledger, hint_image(2, 0, lps), 50, &mut told);
    assert_eq!(dead(&ledger, 2, 0), Some(vec![1]));
    assert_eq!(ledger.stats().pending_transactions, 0);
}

#[test]
fn multixacts_name_their_updater() {
    let multi = HEAP_XMIN_COMMITTED | HEAP_XMAX_IS_MULTI;
    let lps = || vec![tuple(700, 33, multi)];
    // From the WAL.
    let mut l = ledger();
    let members = words(&[33, 0, 2, 900, 0, 800, 5]);
    apply(&mut l, &main_only(RmgrId::MULTIXACT, 0x20, members, 10));
    feed(
        &mut l,
        hint_image(1, 0, lps()),
        20,
        &mut Told::of(&[(800, XidStatus::InProgress)]),
    );
    assert_eq!(l.block(rel(1), 0).unwrap().deleted, [(1, 800)]);
    // From the server.
    let mut l = ledger();
    feed(&mut l, hint_image(1, 0, lps()), 20, &mut Told::default());
    assert_eq!(dead(&l, 1, 0), None);
    let mut told = Told::of(&[(800, XidStatus::Committed)]);
    told.multis.insert(33, 800);
    feed(&mut l, hint_image(1, 0, lps()), 30, &mut told);
    assert_eq!(dead(&l, 1, 0), Some(vec![1]));
    // From what was known before: lockers change nothing.
    let lps = vec![tuple(700, 34, multi)];
    feed(&mut l, hint_image(1, 0, lps), 40, &mut Told::default());
    assert_eq!(dead(&l, 1, 0), Some(vec![1]));
}

#[test]
fn an_image_that_cannot_be_restored() {
    let mut ledger = with_garbage();
    let image = ImageSpec::stored(&[1, 2, 3], 0, 0, 0x02 | 0x08);
    let fpi = RecordBuilder::new(RmgrId::XLOG, 0xA0).block(spec(1, 0).image(image));
    feed(&mut ledger, fpi, 50, &mut Told::default());
    assert_eq!(ledger.block(rel(1), 0), None);
    assert_eq!(ledger.stats().images_undecided, 1);

    let mut ledger = with_garbage();
    let image = ImageSpec::stored(&[1, 2, 3], 0, 0, 0x02 | 0x08);
    let main = [words(&[801]), vec![3, 0, 0, 0]].concat();
    let delete = RecordBuilder::new(RmgrId::HEAP, 0x10)
        .xid(801)
        .main_data(&main);
    feed(
        &mut ledger,
        delete.block(spec(1, 0).image(image)),
        50,
        &mut Told::default(),
    );
    assert_eq!(ledger.block(rel(1), 0), None);
}

#[test]
fn the_server_is_not_asked_what_is_known() {
    let mut l = with_garbage();
    let nobody = &mut Told::default();
    // The record's own transaction.
    let page = Page {
        lsn: 1,
        lps: vec![tuple(801, 0, HEAP_XMAX_INVALID)],
    };
    let block = spec(2, 0).image(ImageSpec::of_page(&page.bytes()));
    let insert = RecordBuilder::new(RmgrId::HEAP, 0)
        .xid(801)
        .main_data(&[1, 0, 0]);
    feed(&mut l, insert.block(block), 50, nobody);
    assert_eq!(l.block(rel(2), 0).unwrap().inserted, [(1, 801)]);
    // One that is undecided elsewhere, and one that has ended.
    let lps = vec![tuple(800, 801, 0), tuple(801, 801, 0)];
    feed(&mut l, hint_image(3, 0, lps), 60, nobody);
    let view = l.block(rel(3), 0).unwrap();
    assert_eq!(
        (view.inserted, view.deleted),
        (vec![(2, 801)], vec![(1, 801), (2, 801)])
    );
    // Hints.
    let lps = vec![
        tuple(600, 601, HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID),
        tuple(600, 601, HEAP_XMIN_COMMITTED | HEAP_XMAX_COMMITTED),
        tuple(600, 601, HEAP_XMIN_COMMITTED | HEAP_XMAX_LOCK_ONLY),
        tuple(600, 601, HEAP_XMIN_INVALID),
    ];
    feed(&mut l, hint_image(5, 0, lps), 65, nobody);
    assert_eq!(dead(&l, 5, 0), Some(vec![2, 4]));
    // Frozen, bootstrap and no transaction.
    let lps = vec![
        tuple(2, 0, HEAP_XMAX_INVALID),
        tuple(1, 0, 0),
        tuple(0, 0, 0),
    ];
    feed(&mut l, hint_image(4, 0, lps), 70, nobody);
    assert_eq!(dead(&l, 4, 0), Some(vec![3]));
}

#[test]
fn a_logged_page_may_be_anything() {
    // A page that was rewritten (CLUSTER, pg_surgery) is no mismatch.
    let mut l = with_garbage();
    let lps = vec![
        tuple(700, 701, HEAP_XMIN_COMMITTED | HEAP_XMAX_COMMITTED),
        Lp::Dead,
    ];
    let image = ImageSpec::of_page(&Page { lsn: 1, lps }.bytes());
    let fpi = RecordBuilder::new(RmgrId::XLOG, 0xB0);
    let other = BlockSpec::new(1, (1663, 5, 1), 7).image(image.clone());
    let fpi = fpi.block(spec(1, 0).image(image)).block(other);
    feed(&mut l, fpi, 50, &mut Told::default());
    for blkno in [0, 7] {
        let view = l.block(rel(1), blkno).unwrap();
        assert_eq!(
            (view.dead, view.items, view.normal),
            (vec![1], vec![2], Some(1))
        );
    }
    let stats = l.stats();
    assert_eq!((stats.images_checked, stats.image_mismatches), (0, 0));
}

/// SET TABLESPACE, CREATE DATABASE, VACUUM FULL and CLUSTER log pages with old
/// tuples as a new relation's. A multixact from before the WAL that was read
/// says who deleted them, and not what the block was, which is empty until then.
#[test]
fn copied_tuples_with_an_old_multixact() {
    let mut l = ledger();
    let mut told = Told::of(&[(800, XidStatus::Committed)]);
    told.multis.insert(33, 800);
    apply(&mut l, &create(1, 10));
    for blkno in 0..3 {
        let page = Page {
            lsn: 1,
            lps: vec![tuple(700, 33, HEAP_XMIN_COMMITTED | HEAP_XMAX_IS_MULTI)],
        };
        let image = ImageSpec::of_page(&page.bytes());
        let fpi = RecordBuilder::new(RmgrId::XLOG, 0xB0)
            .xid(900)
            .block(spec(1, blkno).image(image));
        feed(&mut l, fpi, 20 + 10 * u64::from(blkno), &mut told);
    }
    let all: Vec<_> = (0..3).map(|b| dead(&l, 1, b).map(|d| d.len())).collect();
    assert_eq!(all, [Some(1); 3]);
}
