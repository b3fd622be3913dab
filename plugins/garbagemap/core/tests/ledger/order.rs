//! The order in which changes that wait for the end of their transaction, and
//! what else happens to their block, come to it.

use garbagemap_core::{Ledger, XidStatus};
use walker_wal::raw::{BlockSpec, ImageSpec, RecordBuilder};
use walker_wal::{Lsn, RmgrId};

use crate::limits::rel;
use crate::sim::page::Page;
use crate::sim::sink::TestSink;
use crate::told::{Told, hint_image, ledger, read, spec, tuple};

/// Applies records one after the other, and shows nothing in between.
pub struct Batch {
    pub ledger: Ledger<TestSink>,
    lsn: u64,
}

impl Batch {
    /// Of a table with one page, on which there is one old tuple.
    pub fn new() -> Self {
        Self::on(ledger())
    }

    pub fn on(ledger: Ledger<TestSink>) -> Self {
        let mut batch = Self { ledger, lsn: 0 };
        batch.apply(hint_image(1, 0, vec![tuple(2, 0, 0x0900)]));
        batch
    }

    pub fn apply(&mut self, record: RecordBuilder) {
        self.lsn += 10;
        let told = &mut Told::default();
        read(&mut self.ledger, record, self.lsn, told);
    }

    pub fn insert(&mut self, xid: u32, off: u8) {
        self.insert_into(0, xid, off);
    }

    pub fn insert_into(&mut self, blkno: u32, xid: u32, off: u8) {
        let record = RecordBuilder::new(RmgrId::HEAP, 0x00).xid(xid);
        let block = spec(1, blkno).data(&[1, 0, 0, 8, 24, 1]);
        self.apply(record.main_data(&[off, 0, 0]).block(block));
    }

    pub fn delete(&mut self, xid: u32, off: u8) {
        let main = [0xBC, 2, 0, 0, off, 0, 0, 0];
        let record = RecordBuilder::new(RmgrId::HEAP, 0x10).xid(xid);
        self.apply(record.main_data(&main).block(spec(1, 0)));
    }

    /// On the page, HOT.
    pub fn update(&mut self, xid: u32, old: u8, new: u8) {
        let main = [0xBC, 2, 0, 0, old, 0, 0, 0, 0, 0, 0, 0, new, 0];
        let block = spec(1, 0).data(&[1, 0, 0, 8, 24, 1, 2, 3]);
        let record = RecordBuilder::new(RmgrId::HEAP, 0x40).xid(xid);
        self.apply(record.main_data(&main).block(block));
    }

    /// From another page of the table to this one.
    pub fn update_from(&mut self, xid: u32, (blkno, old): (u32, u8), new: u8) {
        let main = [0xBC, 2, 0, 0, old, 0, 0, 0, 0, 0, 0, 0, new, 0];
        let record = RecordBuilder::new(RmgrId::HEAP, 0x20).xid(xid);
        let to = spec(1, 0).data(&[1, 0, 0, 8, 24, 1]);
        let from = BlockSpec::new(1, (1663, 5, 1), blkno);
        self.apply(record.main_data(&main).block(to).block(from));
    }

    /// A lock that shows that nobody deletes the tuple.
    pub fn lock(&mut self, xid: u32, off: u8) {
        // XLHL_XMAX_LOCK_ONLY
        let main = [0xBC, 2, 0, 0, off, 0, 2, 0];
        let record = RecordBuilder::new(RmgrId::HEAP, 0x60).xid(xid);
        self.apply(record.main_data(&main).block(spec(1, 0)));
    }

    /// Line pointers that are free from here on.
    fn prune(&mut self, unused: &[u8]) {
        let list = unused.iter().flat_map(|&off| [off, 0]);
        let data: Vec<u8> = [unused.len() as u8, 0].into_iter().chain(list).collect();
        let record = RecordBuilder::new(RmgrId::HEAP2, 0x10).main_data(&[0, 0x80]);
        self.apply(record.block(spec(1, 0).data(&data)));
    }

    /// The end of a transaction, with a subtransaction or without.
    pub fn end(&mut self, xid: u32, committed: bool, sub: Option<u32>) {
        self.end_family(xid, committed, sub.as_slice());
    }

    pub fn end_family(&mut self, xid: u32, committed: bool, subs: &[u32]) {
        let mut main = vec![0; 8];
        let mut info = if committed { 0x00 } else { 0x20 };
        if !subs.is_empty() {
            info |= 0x80;
            main.extend([2, 0, 0, 0, subs.len() as u8, 0, 0, 0]);
            main.extend(subs.iter().flat_map(|sub| sub.to_le_bytes()));
        }
        let record = RecordBuilder::new(RmgrId::XACT, info).xid(xid);
        self.apply(record.main_data(&main));
    }

    /// The dead tuples of the page, at the end of the batch.
    pub fn dead(&mut self) -> Vec<u16> {
        self.ledger.publish(None);
        let stats = self.ledger.stats();
        assert_eq!((stats.contradictions, stats.image_mismatches), (0, 0));
        let dead = |blkno| self.ledger.block(rel(1), blkno).map(|block| block.dead);
        let all = (0..50).filter_map(dead).map(|dead| dead.len() as u64);
        assert_eq!(stats.dead_tuples, all.sum::<u64>());
        dead(0).expect("a known block")
    }
}

/// What is shown once a batch is still shown before a promise about everything
/// that is not: a range would read as known and empty otherwise.
#[test]
fn nothing_reads_as_empty_too_early() {
    let mut l = ledger();
    assert!(l.begin_base_scan(rel(1), true).is_some());
    let image = hint_image(1, 0, vec![tuple(3, 0, 0x0200), tuple(2, 0, 0x0900)]);
    read(&mut l, image, 10, &mut Told::default());
    assert!(l.sink().get(rel(1)).unwrap().ranges.is_empty());
    l.end_base_scan(rel(1), Some((0, Lsn(10))), Lsn(10));
    let shown = l.sink().get(rel(1)).unwrap();
    assert_eq!((shown.known_from, shown.ranges[&0].dead), (Some(0), 1));
    assert_eq!(shown.ranges_before, 1);
}

/// An insertion that waits for its transaction must not take away the deletion
/// of a subtransaction that was noted before it.
#[test]
fn a_family_is_settled_in_order() {
    let mut batch = Batch::new();
    batch.insert(700, 2);
    let page = Page {
        lsn: 1,
        lps: vec![tuple(2, 0, 0x0900), tuple(700, 701, 0)],
    };
    let delete = RecordBuilder::new(RmgrId::HEAP, 0x10)
        .xid(701)
        .main_data(&[0xBD, 2, 0, 0, 2, 0, 0, 0])
        .block(spec(1, 0).image(ImageSpec::of_page(&page.bytes())));
    batch.apply(delete);
    batch.end(700, true, Some(701));
    assert_eq!(batch.dead(), [2]);
}

/// A subtransaction inserts a tuple and its parent deletes it, both of which
/// wait: the parent, who comes first in the commit record, must not be first.
#[test]
fn a_tuple_is_inserted_before_it_is_deleted() {
    for committed in [true, false] {
        let mut batch = Batch::new();
        batch.insert(701, 2);
        batch.delete(700, 2);
        batch.end(700, committed, Some(701));
        assert_eq!(batch.dead(), [2]);
    }
}

/// A lock concerns one tuple of a chain, and that rests on those before.
#[test]
fn what_a_locked_tuple_rests_on_is_noted_with_it() {
    for (committed, dead) in [(true, vec![2]), (false, vec![2, 3])] {
        let mut batch = Batch::new();
        batch.insert(700, 2);
        batch.update(700, 2, 3);
        batch.lock(700, 3);
        batch.end(700, committed, None);
        assert_eq!(batch.dead(), dead);
    }
}

/// Pruning comes to the page while changes of other items wait, and frees an
/// item that another transaction takes before those end.
#[test]
fn pruning_passes_what_waits_for_other_items() {
    for (committed, dead) in [(true, vec![1]), (false, vec![3])] {
        let mut batch = Batch::new();
        batch.insert(700, 2);
        batch.end(700, false, None);
        batch.update(701, 1, 3);
        batch.prune(&[2]);
        batch.insert(702, 2);
        batch.end(702, true, None);
        batch.end(701, committed, None);
        assert_eq!(batch.dead(), dead);
        let block = batch.ledger.block(rel(1), 0).unwrap();
        assert_eq!(block.normal, Some(3));
    }
}

/// Many changes of a block come to it at once when their transaction ends.
#[test]
fn changes_of_a_block_are_made_together() {
    for (committed, dead, normal) in [(true, vec![1, 2, 3], 4), (false, vec![2, 3, 4], 4)] {
        let mut batch = Batch::new();
        batch.insert(700, 2);
        batch.update(700, 1, 3);
        batch.delete(700, 2);
        batch.update(700, 3, 4);
        batch.end(700, committed, None);
        assert_eq!(batch.dead(), dead);
        assert_eq!(batch.ledger.block(rel(1), 0).unwrap().normal, Some(normal));
        let counters = batch.ledger.sink().get(rel(1)).unwrap().counters;
        let expected = if committed { (1, 2, 0) } else { (0, 0, 3) };
        let (by_delete, by_update) = (counters.dead_by_delete, counters.dead_by_update);
        assert_eq!((by_delete, by_update, counters.dead_by_abort), expected);
        assert_eq!(counters.hot_updates, 2);
    }
}

/// What comes from another page deletes nothing on this one.
#[test]
fn half_an_update_is_no_deletion() {
    let mut batch = Batch::new();
    batch.apply(hint_image(1, 40, vec![tuple(2, 0, 0x0900)]));
    batch.update_from(700, (40, 1), 2);
    batch.delete(700, 1);
    batch.end(700, true, None);
    batch.ledger.publish(None);
    let counters = batch.ledger.sink().get(rel(1)).unwrap().counters;
    let deaths = (counters.dead_by_delete, counters.dead_by_update);
    assert_eq!((deaths, counters.other_updates), ((1, 1), 1));
}

/// What a transaction changed before somebody looked is undecided, what it
/// changes afterwards waits.
#[test]
fn a_transaction_may_wait_with_a_part() {
    for (committed, dead) in [(true, vec![1, 3]), (false, vec![2, 3, 4])] {
        let mut batch = Batch::new();
        batch.insert(700, 2);
        batch.update(700, 1, 3);
        batch.ledger.publish(None);
        assert_eq!(batch.ledger.block(rel(1), 0).unwrap().deleted, [(1, 700)]);
        batch.update(700, 3, 4);
        assert_eq!(batch.ledger.block(rel(1), 0).unwrap().deleted, [(1, 700)]);
        batch.end(700, committed, None);
        assert_eq!(batch.dead(), dead);
        assert_eq!(batch.ledger.block(rel(1), 0).unwrap().normal, Some(4));
    }
}

/// When WAL is lost nobody knows what became of what waits.
#[test]
fn what_waits_is_lost_with_wal() {
    let mut batch = Batch::new();
    batch.delete(700, 1);
    batch.ledger.mark_all_unknown();
    // The transaction has ended meanwhile; the oracle says that it committed.
    let image = hint_image(1, 0, vec![tuple(2, 700, 0x0100)]);
    let told = &mut Told::of(&[(700, XidStatus::Committed)]);
    read(&mut batch.ledger, image, batch.lsn + 10, told);
    batch.ledger.publish(None);
    let block = batch.ledger.block(rel(1), 0).expect("a known block");
    assert_eq!((block.dead, block.deleted), (vec![1], vec![]));
}
