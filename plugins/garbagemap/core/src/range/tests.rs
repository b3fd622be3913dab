//! Changes and settlements against sets of the standard library.

use super::*;
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
        let blocks: Set = self.dead.iter().map(|pos| pos / MAX_OFFSET).collect();
        blocks.len()
    }
}

fn check(range: &Range, model: &Model, mem: &Mem) -> Result<(), TestCaseError> {
    prop_assert!(range.dead.iter().eq(model.dead.iter().copied()));
    prop_assert_eq!(range.garbage_blocks as usize, model.blocks());
    prop_assert_eq!(range.pending.len(), model.pending.len());
    for (group, (&xid, (ins, del, updated))) in range.pending.iter().zip(&model.pending) {
        prop_assert_eq!((group.xid, group.updated), (xid, *updated));
        prop_assert!(group.ins.iter().eq(ins.iter().copied()));
        prop_assert!(group.del.iter().eq(del.iter().copied()));
    }
    prop_assert_eq!(mem.used(), range.heap_bytes());
    Ok(())
}

proptest! {
    #[test]
    fn like_sets(
        wide in any::<bool>(),
        ops in prop::collection::vec((0..10u8, 0..4u32, 0..4u8, 1..=MAX_OFFSET, 1..=MAX_OFFSET), 0..200),
    ) {
        let (mut range, mut model, mut mem) = (Range::default(), Model::default(), Mem::default());
        for (what, xid, b, old, new) in ops {
            // Few offsets meet often, many fill the sets.
            let (old, new) = if wide { (old, new) } else { (old % 4 + 1, new % 4 + 1) };
            let (xid, del, ins) = (100 + xid, position(b, old), position(b, new));
            match what {
                0..=3 => {
                    let known = model.pending.contains_key(&xid);
                    let effect = range.update(b, (old, new), xid, &mut mem).unwrap();
                    model.delete(del, xid, 1);
                    let was_dead = model.insert(ins, xid);
                    let expected = Effect { new_group: !known, contradiction: was_dead };
                    prop_assert_eq!(effect, expected);
                }
                4 | 5 => {
                    range.insert(b, new, Some(xid), &mut mem).unwrap();
                    model.insert(ins, xid);
                }
                6 | 7 => {
                    range.add_event(b, old, xid, Event::Delete, &mut mem).unwrap();
                    model.delete(del, xid, 0);
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
