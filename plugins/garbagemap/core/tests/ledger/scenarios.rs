//! One situation at a time, where random histories do not get to.

use std::collections::HashMap;

use garbagemap_core::{BaseItem, BaseOutcome, BlockView, Config, ItemKind, Ledger, Oracle};
use garbagemap_core::{Stats, XidStatus};
use walker_wal::heap::*;
use walker_wal::raw::{BlockSpec, Decoder, ImageSpec, RecordBuilder};
use walker_wal::{ForkNumber, Lsn, Major, RelFileLocator, RmgrId};

use crate::limits::{Fake, apply, create, delete, end, fill, rel};
use crate::sim::page::{Lp, Page, Tuple};
use crate::sim::server::locator_bytes;
use crate::sim::sink::TestSink;

/// Says what it was told, and that it knows nothing else.
#[derive(Default)]
pub(crate) struct Told {
    xids: HashMap<u32, XidStatus>,
    multis: HashMap<u32, u32>,
}

impl Told {
    pub(crate) fn of(list: &[(u32, XidStatus)]) -> Told {
        Told {
            xids: list.iter().copied().collect(),
            ..Told::default()
        }
    }
}

impl Oracle for Told {
    fn xid_status(&mut self, xid: u32) -> XidStatus {
        *self.xids.get(&xid).unwrap_or(&XidStatus::Unknown)
    }

    fn multixact_updater(&mut self, mxid: u32) -> Option<u32> {
        self.multis.get(&mxid).copied()
    }
}

pub(crate) fn ledger() -> Ledger<TestSink> {
    Ledger::new(Config::default(), TestSink::default())
}

/// Apply a record with the answers of `told`.
pub(crate) fn feed(
    ledger: &mut Ledger<TestSink>,
    record: RecordBuilder,
    lsn: u64,
    told: &mut Told,
) {
    read(ledger, record, lsn, told);
    ledger.publish(None);
}

/// The same in mid-batch: changes may wait for the end of their transaction.
pub(crate) fn read(
    ledger: &mut Ledger<TestSink>,
    record: RecordBuilder,
    lsn: u64,
    told: &mut Told,
) {
    let bytes = record.build();
    let mut decoder = Decoder::new();
    let rec = decoder.decode(&bytes, Lsn(lsn - 1), Lsn(lsn)).unwrap();
    let mut restore = |_, _: &mut garbagemap_core::Page| false;
    let result = ledger.apply(Major::V17, &rec, told, &mut restore);
    assert_eq!(result, Ok(()));
}

pub(crate) fn spec(number: u32, blkno: u32) -> BlockSpec {
    let RelFileLocator {
        spc_oid,
        db_oid,
        rel_number,
    } = rel(number);
    BlockSpec::new(0, (spc_oid, db_oid, rel_number), blkno)
}

pub(crate) fn tuple(xmin: u32, xmax: u32, infomask: u16) -> Lp {
    Lp::Normal(Tuple {
        xmin,
        xmax,
        infomask,
        heap_only: false,
        next: None,
    })
}

/// A hint-bit image of a page.
pub(crate) fn hint_image(number: u32, blkno: u32, lps: Vec<Lp>) -> RecordBuilder {
    let page = Page { lsn: 1, lps };
    let image = ImageSpec::of_page(&page.bytes());
    RecordBuilder::new(RmgrId::XLOG, 0xA0).block(spec(number, blkno).image(image))
}

fn dead(ledger: &Ledger<TestSink>, number: u32, blkno: u32) -> Option<Vec<u16>> {
    ledger.block(rel(number), blkno).map(|view| view.dead)
}

/// A relation with a page of ten tuples, the first two of them dead.
fn with_garbage() -> Ledger<TestSink> {
    let mut ledger = ledger();
    apply(&mut ledger, &create(1, 10));
    apply(&mut ledger, &fill(rel(1), 0, 10, 20));
    for off in [1, 2] {
        apply(&mut ledger, &delete(rel(1), 0, off, 800, 30));
    }
    apply(&mut ledger, &end(800, true, 40));
    assert_eq!(dead(&ledger, 1, 0), Some(vec![1, 2]));
    ledger
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn main_only(rmid: RmgrId, info: u8, main: Vec<u8>, lsn: u64) -> Fake {
    Fake {
        rmid: rmid.0,
        info,
        main,
        lsn,
        ..Fake::default()
    }
}

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

fn live(n: u16) -> Vec<BaseItem> {
    let infomask = HEAP_XMIN_FROZEN | HEAP_XMAX_INVALID;
    let item = |offnum| BaseItem {
        offnum,
        lp_flags: 1,
        xmin: 700,
        xmax: 0,
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
    assert!(l.begin_base_scan(r));
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
    assert!(l.begin_base_scan(rel(1)));
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
    assert!(l.begin_base_scan(rel(2)));
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

/// A block behind the measured end that a record named, of which nothing is
/// known, does not become known with the others there, not even for a moment.
#[test]
fn what_a_scan_cannot_know_is_shown_at_once() {
    let mut l = ledger();
    assert!(l.begin_base_scan(rel(1)));
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
