//! Changes and settlements against sets of the standard library.

use super::*;
use crate::block::{MAX_OFFSET, Offsets, block_of, item_of};
use crate::xact::Outcome;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Set = BTreeSet<u16>;

/// What a range is to be: dead tuples, and per transaction what it inserted,
/// deleted, and how many of these by updates.
#[derive(Default)]
struct Model {
    dead: Set,
    pending: BTreeMap<u32, (Set, Set, u16)>,
}

impl Model {
    fn delete(&mut self, pos: u16, xid: u32, updated: u16) {
        let (_, del, updates) = self.pending.entry(xid).or_default();
        del.insert(pos);
        *updates += updated;
    }

    fn insert(&mut self, pos: u16, xid: u32) -> bool {
        for (ins, del, _) in self.pending.values_mut() {
            ins.remove(&pos);
            del.remove(&pos);
        }
        self.pending.entry(xid).or_default().0.insert(pos);
        self.dead.remove(&pos)
    }

    fn settle(&mut self, xid: u32, outcome: Outcome) -> u16 {
        let (ins, del, updated) = self.pending.remove(&xid).unwrap_or_default();
        self.dead.extend(match outcome {
            Outcome::Committed => del,
            _ => ins,
        });
        updated
    }

    fn blocks(&self) -> usize {
        let blocks: BTreeSet<u8> = self.dead.iter().map(|&pos| block_of(pos)).collect();
        blocks.len()
    }

    fn remove(&mut self, gone: &Set) {
        for (ins, del, _) in self.pending.values_mut() {
            ins.retain(|pos| !gone.contains(pos));
            del.retain(|pos| !gone.contains(pos));
        }
        self.dead.retain(|pos| !gone.contains(pos));
    }
}

fn check(range: &Range, model: &Model, mem: &Mem) -> Result<(), TestCaseError> {
    prop_assert!(range.garbage.iter(DEAD).eq(model.dead.iter().copied()));
    prop_assert_eq!(range.garbage.blocks() as usize, model.blocks());
    let xids = range.pending.xids().unwrap();
    prop_assert!(xids.iter().eq(model.pending.keys()));
    for (&xid, (ins, del, updated)) in &model.pending {
        prop_assert!(range.pending.has(xid));
        let looked = range.pending.with_group(xid, |group| {
            prop_assert_eq!((group.xid, group.updated), (xid, *updated));
            prop_assert!(group.sets.iter(INSERTED).eq(ins.iter().copied()));
            prop_assert!(group.sets.iter(DELETED).eq(del.iter().copied()));
            Ok(())
        });
        looked.unwrap()?;
    }
    let open: Set = model
        .pending
        .values()
        .flat_map(|(ins, del, _)| ins | del)
        .collect();
    for b in 0..4 {
        let of_block = open.iter().filter(|&&pos| block_of(pos) == b);
        let offsets = range.pending.offsets(b);
        prop_assert!(
            offsets
                .iter()
                .map(|off| position(b, off))
                .eq(of_block.copied())
        );
        let mut events = events(model, b);
        if let Some((_, xid, _)) = events.last_mut() {
            *xid += 1000;
            prop_assert!(!range.pending.are(b, &events), "by another");
            events.pop();
            prop_assert!(!range.pending.are(b, &events), "one is missing");
        }
    }
    prop_assert_eq!(mem.used(), range.heap_bytes());
    Ok(())
}

/// What is undecided in a block.
fn events(model: &Model, b: u8) -> Vec<(OffsetNumber, TransactionId, Event)> {
    let of = |xid: u32, set: &Set, event| -> Vec<_> {
        let own = set.iter().filter(|&&pos| block_of(pos) == b);
        own.map(|&pos| (item_of(pos) + 1, xid, event)).collect()
    };
    let all = model.pending.iter().flat_map(|(&xid, (ins, del, _))| {
        let mut both = of(xid, ins, Event::Insert);
        both.extend(of(xid, del, Event::Delete));
        both
    });
    all.collect()
}

/// Few changes, and many of as many transactions.
#[test]
fn what_is_undecided_is_recognised() {
    let (mut range, mut model, mut mem) = (Range::default(), Model::default(), Mem::default());
    for n in 0..200 {
        let (xid, b, off) = (100 + u32::from(n), (n % 4) as u8, n / 4 + 1);
        range
            .update(b, (off, off + 100), xid, &mut mem)
            .expect("memory");
        model.delete(position(b, off), xid, 1);
        model.insert(position(b, off + 100), xid);
        for b in 0..4 {
            let mut events = events(&model, b);
            assert!(range.pending.are(b, &events));
            events.reverse();
            assert!(range.pending.are(b, &events), "in another order");
        }
    }
    assert_eq!(mem.used(), range.heap_bytes());
    // A state that is loaded takes as much, and is the same.
    let (mut loaded, mut own) = (Range::default(), Mem::default());
    for xid in range.pending.xids().unwrap() {
        let copied = range.pending.with_group(xid, |group| Group {
            xid,
            sets: group.sets.try_clone(&mut Mem::default()).unwrap(),
            updated: group.updated,
        });
        loaded.known = BlockMask::from(0, 4);
        assert!(loaded.add_group(copied.unwrap(), 4, &mut own).unwrap());
    }
    check(&loaded, &model, &own).unwrap();
    assert!(own.used() <= 2 * mem.used(), "{own:?} for {mem:?}");
    // They end in turns from both ends, and in between.
    for n in 0..200 {
        let xid = 100 + [n / 2, 199 - n / 2][n as usize % 2];
        let expected = Ok(model.settle(xid, Outcome::Committed));
        assert_eq!(range.resolve(xid, Outcome::Committed, &mut mem), expected);
        assert_eq!(loaded.resolve(xid, Outcome::Committed, &mut own), expected);
        check(&range, &model, &mem).unwrap();
        check(&loaded, &model, &own).unwrap();
    }
}

proptest! {
    #[test]
    fn like_sets(
        wide in any::<bool>(),
        xids in prop_oneof![Just(1), Just(4), Just(20), Just(1000)],
        ops in prop::collection::vec((0..13u8, any::<u32>(), 0..4u8, 1..=MAX_OFFSET, 1..=MAX_OFFSET), 0..200),
    ) {
        let (mut range, mut model, mut mem) = (Range::default(), Model::default(), Mem::default());
        for (what, xid, b, old, new) in ops {
            // Few offsets meet often, many fill the sets.
            let (old, new) = if wide { (old, new) } else { (old % 4 + 1, new % 4 + 1) };
            let (xid, del, ins) = (100 + xid % xids, position(b, old), position(b, new));
            match what {
                0..=3 => {
                    let known = model.pending.contains_key(&xid);
                    let effect = range.update(b, (old, new), xid, &mut mem).unwrap();
                    model.delete(del, xid, u16::from(old != new));
                    let was_dead = model.insert(ins, xid);
                    let expected = Effect { new_touch: !known, contradiction: was_dead };
                    prop_assert_eq!(effect, expected);
                }
                4 | 5 => {
                    range.insert(b, new, Some(xid), &mut mem).unwrap();
                    model.insert(ins, xid);
                }
                6 | 7 => {
                    range.delete(b, old, xid, Event::Delete, &mut mem).unwrap();
                    model.delete(del, xid, 0);
                }
                8 => {
                    let gone: Set = (old.min(new)..=old.max(new)).map(|off| position(b, off)).collect();
                    let mut offsets = Offsets::default();
                    gone.iter().for_each(|pos| offsets.insert(item_of(*pos) + 1));
                    let none = Offsets::default();
                    let pruned = Pruned { gone: offsets, nowdead: none, nowunused: offsets };
                    range.prune(b, &pruned, &mut mem).unwrap();
                    model.remove(&gone);
                }
                9 => {
                    range.clear_deleters(b, old, &mut mem);
                    model.pending.values_mut().for_each(|(_, dels, _)| {
                        dels.remove(&del);
                    });
                }
                10 => {
                    range.kill(b, old, &mut mem).unwrap();
                    model.remove(&Set::from([del]));
                    model.dead.insert(del);
                }
                _ => {
                    let outcome = [Outcome::Committed, Outcome::Aborted][what as usize % 2];
                    let updated = range.resolve(xid, outcome, &mut mem);
                    prop_assert_eq!(updated, Ok(model.settle(xid, outcome)));
                }
            }
            check(&range, &model, &mem)?;
        }
    }
}

/// A file with many groups in another order would take for ever to load.
#[test]
fn groups_are_loaded_in_order_only() {
    let (mut range, mut mem) = (Range::default(), Mem::default());
    let mut load = |xid| range.add_group(Group::new(xid), 4, &mut mem).unwrap();
    assert!(load(100) && load(101) && load(200));
    assert!(!load(200), "two of one transaction");
    assert!(!load(150), "one that does not follow");
    assert!(load(201));
    let xids = range.pending.xids().unwrap();
    assert_eq!(xids, [100, 101, 200, 201]);
}

/// More than a number of 16 bits can count.
#[test]
fn a_group_of_all_there_can_be_is_loaded() {
    let blocks = crate::MAX_RANGE_BLOCKS as u8;
    let (mut group, mut own) = (Group::new(100), Mem::default());
    for b in 0..blocks {
        for which in [DELETED, INSERTED] {
            let all = group.sets.insert_offsets(which, b, Offsets::ALL, &mut own);
            all.unwrap();
        }
    }
    let (mut range, mut mem) = (Range::default(), Mem::default());
    range.known = BlockMask::from(0, blocks);
    assert!(range.add_group(group, blocks, &mut mem).unwrap());
    assert!(range.pending.has(100));
    assert_eq!(mem.used(), range.heap_bytes());
}
