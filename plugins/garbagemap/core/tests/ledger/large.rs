//! Large transactions, whose changes are gathered by block.

use garbagemap_core::{Config, Ledger};
use proptest::prelude::*;

use crate::limits::rel;
use crate::order::Batch;
use crate::sim::sink::TestSink;
use crate::told::{hint_image, tuple};

/// Where those who are large have been: each a range.
const BEFORE: [u32; 4] = [9, 21, 22, 23];

/// A table as [`Batch::new`] makes it, for a ledger to which a transaction is
/// large if one of its changes was noted before it ended, or, where another has its
/// place, if it has come to more than two ranges: these have both.
fn with_large(xids: &[u32]) -> Batch {
    let config = Config {
        large: 1,
        range_blocks: 1,
        ..Config::default()
    };
    let mut batch = Batch::on(Ledger::new(config, TestSink::default()));
    for blkno in BEFORE {
        batch.apply(hint_image(1, blkno, vec![tuple(2, 0, 0x0900)]));
    }
    for (&xid, off) in xids.iter().zip(2..) {
        for blkno in BEFORE {
            batch.insert_into(blkno, xid, off);
        }
        // The next one is not in its way, then.
        batch.ledger.publish(None);
    }
    batch
}

/// What is gathered is undecided when somebody looks, and decided by the end.
#[test]
fn what_is_gathered_counts_when_the_transaction_ends() {
    for (committed, dead) in [(true, vec![1, 2, 3]), (false, vec![2, 3, 4, 5])] {
        let mut batch = with_large(&[700]);
        batch.insert(700, 2);
        batch.update(700, 1, 3);
        batch.delete(700, 2);
        batch.update(700, 3, 4);
        batch.insert(700, 5);
        let block = batch.ledger.block(rel(1), 0).unwrap();
        assert_eq!((block.deleted, block.normal), (vec![], Some(1)), "gathered");
        batch.end(700, committed, None);
        assert_eq!(batch.dead(), dead);
        let block = batch.ledger.block(rel(1), 0).unwrap();
        assert_eq!((block.deleted, block.normal), (vec![], Some(5)));
        let counters = batch.ledger.sink().get(rel(1)).unwrap().counters;
        let (by_delete, by_update) = (counters.dead_by_delete, counters.dead_by_update);
        // More are of where it became large.
        let before = BEFORE.len() as u64;
        let undone = (0, 0, 4 + before);
        let expected = if committed { (1, 2, 0) } else { undone };
        assert_eq!((by_delete, by_update, counters.dead_by_abort), expected);
        assert_eq!(counters.hot_updates, 2);
    }
}

/// So do a few, for which no group is made.
#[test]
fn deletions_and_updates_are_told_apart() {
    let mut batch = with_large(&[700]);
    batch.update(700, 1, 2);
    batch.delete(700, 2);
    batch.end(700, true, None);
    assert_eq!(batch.dead(), [1, 2]);
    let counters = batch.ledger.sink().get(rel(1)).unwrap().counters;
    assert_eq!((counters.dead_by_delete, counters.dead_by_update), (1, 1));
}

/// There are few places: the blocks that came first are noted.
#[test]
fn it_comes_to_many_blocks() {
    for (committed, dead) in [(true, vec![1]), (false, vec![2])] {
        let mut batch = with_large(&[700]);
        batch.update(700, 1, 2);
        (10..20).for_each(|blkno| batch.insert_into(blkno, 700, 1));
        let block = batch.ledger.block(rel(1), 0).unwrap();
        assert_eq!(block.deleted, [(1, 700)]);
        batch.end(700, committed, None);
        assert_eq!(batch.dead(), dead);
    }
}

/// So does one whose place another has.
#[test]
fn one_beside_the_table_comes_to_many_blocks() {
    let mut batch = with_large(&[700, 956]);
    batch.update(956, 1, 2);
    assert_eq!(batch.ledger.block(rel(1), 0).unwrap().deleted, []);
    (10..20).for_each(|blkno| batch.insert_into(blkno, 956, 1));
    let block = batch.ledger.block(rel(1), 0).unwrap();
    assert_eq!(block.deleted, [(1, 956)]);
    batch.end(956, true, None);
    assert_eq!(batch.dead(), [1]);
}

/// What a small subtransaction inserted its large parent deletes.
#[test]
fn a_tuple_in_the_list_is_inserted_before_it_is_deleted() {
    for committed in [true, false] {
        let mut batch = with_large(&[700]);
        batch.insert(701, 2);
        batch.delete(700, 2);
        batch.end(700, committed, Some(701));
        assert_eq!(batch.dead(), [2]);
    }
}

/// And the other way round.
#[test]
fn a_tuple_that_is_gathered_is_inserted_before_it_is_deleted() {
    for committed in [true, false] {
        let mut batch = with_large(&[701]);
        batch.insert(701, 2);
        batch.delete(700, 2);
        batch.end(700, committed, Some(701));
        assert_eq!(batch.dead(), [2]);
    }
}

/// What is gathered of a block comes before what the list has of it, also if the
/// large transaction goes on there.
#[test]
fn what_was_gathered_first_is_noted_first() {
    for (committed, dead) in [(true, vec![2]), (false, vec![2, 3])] {
        let mut batch = with_large(&[700]);
        batch.insert(700, 2);
        batch.delete(701, 2);
        batch.insert(700, 3);
        batch.end(700, committed, Some(701));
        assert_eq!(batch.dead(), dead);
    }
    for (committed, dead) in [(true, vec![2]), (false, vec![2, 3, 4])] {
        let mut batch = with_large(&[700]);
        batch.insert(700, 2);
        batch.update(701, 2, 3);
        batch.insert(700, 4);
        batch.end(700, committed, Some(701));
        assert_eq!(batch.dead(), dead);
    }
}

/// Both are large, and what was inserted first has a later place.
#[test]
fn two_of_a_family_in_one_block() {
    for before in 0..4 {
        let mut batch = with_large(&[700, 701]);
        (10..10 + before).for_each(|blkno| batch.insert_into(blkno, 701, 1));
        batch.insert(701, 2);
        batch.delete(700, 2);
        batch.end(700, true, Some(701));
        assert_eq!(batch.dead(), [2], "behind {before}");
    }
}

/// A lock rests on what is gathered of the tuple's chain.
#[test]
fn a_lock_comes_behind_what_is_gathered() {
    for (committed, dead) in [(true, vec![2]), (false, vec![2, 3])] {
        let mut batch = with_large(&[700]);
        batch.insert(700, 2);
        batch.update(700, 2, 3);
        batch.lock(700, 3);
        assert!(batch.ledger.block(rel(1), 0).unwrap().normal == Some(3));
        batch.end(700, committed, None);
        assert_eq!(batch.dead(), dead);
    }
}

/// Others end while a large transaction goes on, in the same block.
#[test]
fn a_small_transaction_ends_meanwhile() {
    for (committed, dead) in [(true, vec![1, 2]), (false, vec![2, 3, 5])] {
        let mut batch = with_large(&[700]);
        batch.update(700, 1, 3);
        batch.insert(702, 2);
        batch.insert(700, 5);
        batch.end(702, false, None);
        batch.insert(703, 4);
        batch.end(703, true, None);
        batch.end(700, committed, None);
        assert_eq!(batch.dead(), dead);
        let block = batch.ledger.block(rel(1), 0).unwrap();
        assert_eq!(block.normal, Some(5));
    }
}

/// What a subtransaction deleted is no older than it, whatever its parent did in
/// the same block.
#[test]
fn garbage_is_as_young_as_who_deleted_it() {
    let mut batch = Batch::new();
    (2..6).for_each(|off| batch.insert(650, off));
    batch.end(650, true, None);
    batch.delete(700, 1);
    (2..6).for_each(|off| batch.delete(1500, off));
    batch.end(700, true, Some(1500));
    assert_eq!(batch.dead(), [1, 2, 3, 4, 5]);
    let buckets = &batch.ledger.sink().get(rel(1)).unwrap().buckets;
    assert_eq!(buckets.values().map(|b| b.count).sum::<u32>(), 5);
    let old = buckets.values().filter(|b| b.xid < 1000);
    assert!(old.map(|b| b.count).sum::<u32>() <= 1, "{buckets:?}");
}

/// An item of the block: who inserted it and who deleted it, if anybody did.
struct Item {
    off: u8,
    inserted: u32,
    deleted: Option<u32>,
}

/// A transaction with subtransactions, and others that come and go beside it,
/// all in one block.
struct Family {
    batch: Batch,
    items: Vec<Item>,
    /// Whose turn it is: the parent's or that of its last subtransaction.
    at: u32,
    /// Those of its subtransactions that did not abort alone.
    subs: Vec<u32>,
    /// From one xid of the family to the next: 256 have the same place.
    stride: u32,
    last: u32,
    /// One beside it that has not ended.
    other: Option<u32>,
    others: u32,
    aborted: Vec<u32>,
}

const PARENT: u32 = 700;
const OTHERS: u32 = 100_000;

impl Family {
    fn new(large: &[u32], stride: u32) -> Family {
        let old = Item {
            off: 1,
            inserted: 0,
            deleted: None,
        };
        Family {
            batch: with_large(large),
            items: vec![old],
            at: PARENT,
            subs: Vec::new(),
            stride,
            last: PARENT,
            other: None,
            others: OTHERS,
            aborted: Vec::new(),
        }
    }

    fn insert(&mut self, xid: u32) -> u8 {
        let off = self.items.len() as u8 + 1;
        self.items.push(Item {
            off,
            inserted: xid,
            deleted: None,
        });
        off
    }

    /// A tuple that the family may change or lock.
    fn tuple(&mut self, which: u8) -> Option<&mut Item> {
        let (other, aborted) = (self.other, &self.aborted);
        let mut visible: Vec<&mut Item> = self.items.iter_mut().collect();
        visible.retain(|item| {
            item.deleted.is_none()
                && Some(item.inserted) != other
                && !aborted.contains(&item.inserted)
        });
        let n = visible.len();
        (n > 0).then(|| visible.swap_remove(usize::from(which) % n))
    }

    fn step(&mut self, what: u8, which: u8) {
        let at = self.at;
        match what {
            0 => {
                let off = self.insert(at);
                self.batch.insert(at, off);
            }
            1 | 2 => {
                let Some(old) = self.tuple(which) else { return };
                old.deleted = Some(at);
                let old = old.off;
                if what == 1 {
                    self.batch.delete(at, old);
                } else {
                    let new = self.insert(at);
                    self.batch.update(at, old, new);
                }
            }
            3 => {
                let off = self.tuple(which).map(|item| item.off);
                off.into_iter().for_each(|off| self.batch.lock(at, off));
            }
            4 => self.batch.insert_into(10 + u32::from(which % 6), at, 1),
            5 if at == PARENT => {
                self.last += self.stride;
                self.at = self.last;
                self.subs.push(self.at);
            }
            5 => self.at = PARENT,
            7 if at != PARENT => {
                self.batch.end(at, false, None);
                let undone = self.items.iter_mut().filter(|i| i.deleted == Some(at));
                undone.for_each(|item| item.deleted = None);
                self.aborted.push(at);
                self.subs.retain(|sub| *sub != at);
                self.at = PARENT;
            }
            6 => self.batch.ledger.publish(None),
            _ => match self.other.take() {
                None => {
                    self.others += 1;
                    self.other = Some(self.others);
                    let off = self.insert(self.others);
                    self.batch.insert(self.others, off);
                }
                Some(other) => {
                    self.batch.end(other, which.is_multiple_of(2), None);
                    self.aborted
                        .extend(Some(other).filter(|_| !which.is_multiple_of(2)));
                }
            },
        }
    }

    fn end(&mut self, committed: bool) {
        if let Some(other) = self.other.take() {
            self.batch.end(other, false, None);
            self.aborted.push(other);
        }
        self.batch.end_family(PARENT, committed, &self.subs);
        let dead = self.items.iter().filter(|item| match committed {
            true => item.deleted.is_some() || self.aborted.contains(&item.inserted),
            false => {
                (PARENT..OTHERS).contains(&item.inserted) || self.aborted.contains(&item.inserted)
            }
        });
        let dead: Vec<u16> = dead.map(|item| item.off.into()).collect();
        assert_eq!(self.batch.dead(), dead);
        let normal = self.batch.ledger.block(rel(1), 0).unwrap().normal;
        assert_eq!(normal, Some(self.items.len() as u16));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(crate::model::cases(3000))
    })]

    /// Whatever a family does in a block, in whatever turns, and whoever of it is
    /// large.
    #[test]
    fn a_family_in_a_block(
        large in prop::sample::subsequence(vec![0, 1, 2, 3], 0..5),
        stride in prop_oneof![Just(1u32), Just(256)],
        steps in prop::collection::vec((0..9u8, any::<u8>()), 0..60),
        committed in any::<bool>(),
    ) {
        let xid = |n: u32| if n == 3 { OTHERS + 1 } else { PARENT + n * stride };
        let large: Vec<u32> = large.into_iter().map(xid).collect();
        let mut family = Family::new(&large, stride);
        steps.into_iter().for_each(|(what, which)| family.step(what, which));
        family.end(committed);
    }
}
