//! Both against sets of the standard library.

use super::*;
use crate::block::{MAX_OFFSET, block_of, item_of};
use crate::mem::MALLOC_OVERHEAD;
use proptest::prelude::*;
use std::collections::BTreeSet;

type Set = BTreeSet<u16>;

#[derive(Clone, Debug)]
enum Op {
    Insert(Which, u8, u16),
    InsertOffsets(Which, u8, Vec<u16>),
    Remove(u8, u16),
    Exchange(u8, u16, u16),
    Take(u8, [Vec<u16>; 2]),
    Set(u8, [Vec<u16>; 2]),
    Clear(u8, u8),
}

/// Of so many blocks and items, and so many at once at most.
fn ops(blocks: u8, offs: u16, most: usize) -> impl Strategy<Value = Vec<Op>> {
    let (b, off) = (0..blocks, 1..=offs);
    let which = prop_oneof![Just(Which::One), Just(Which::Other)];
    let some = || prop::collection::vec(1..=offs, 0..most);
    let op = prop_oneof![
        6 => (which.clone(), b.clone(), off.clone()).prop_map(|(w, b, o)| Op::Insert(w, b, o)),
        1 => (which, b.clone(), some()).prop_map(|(w, b, o)| Op::InsertOffsets(w, b, o)),
        2 => (b.clone(), off.clone()).prop_map(|(b, o)| Op::Remove(b, o)),
        4 => (b.clone(), off.clone(), off).prop_map(|(b, o, n)| Op::Exchange(b, o, n)),
        2 => (b.clone(), [some(), some()]).prop_map(|(b, o)| Op::Take(b, o)),
        1 => (b.clone(), [some(), some()]).prop_map(|(b, o)| Op::Set(b, o)),
        2 => (b, 1..blocks.max(2)).prop_map(|(b, n)| Op::Clear(b, n)),
    ];
    prop::collection::vec(op, 0..160)
}

fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    prop_oneof![
        ops(128, MAX_OFFSET, 30),
        ops(3, 20, 30),
        ops(32, 70, 30),
        ops(1, 4, 30),
        // Few of each block, for which there are words.
        ops(16, MAX_OFFSET, 3),
        ops(32, 8, 2),
    ]
}

fn offsets(list: &[u16]) -> Offsets {
    let mut offsets = Offsets::default();
    list.iter().for_each(|&off| offsets.insert(off));
    offsets
}

fn both([one, other]: &[Vec<u16>; 2]) -> Both {
    Both {
        one: offsets(one),
        other: offsets(other),
    }
}

/// The positions of a block, by their offsets.
fn at(b: u8, list: &[u16]) -> impl Iterator<Item = u16> {
    list.iter().map(move |&off| position(b, off))
}

proptest! {
    #[test]
    fn like_sets(ops in any_ops()) {
        let (mut sets, mut mem) = (Sets::default(), Mem::default());
        let mut model = [Set::new(), Set::new()];
        for op in ops {
            match op {
                Op::Insert(which, b, off) => {
                    sets.insert(which, position(b, off), &mut mem).unwrap();
                    model[which as usize].insert(position(b, off));
                }
                Op::InsertOffsets(which, b, list) => {
                    sets.insert_offsets(which, b, offsets(&list), &mut mem).unwrap();
                    model[which as usize].extend(at(b, &list));
                }
                Op::Remove(b, off) => {
                    let pos = position(b, off);
                    let removed = sets.remove(pos, &mut mem);
                    prop_assert_eq!(removed, (model[0].remove(&pos), model[1].remove(&pos)));
                }
                Op::Exchange(b, absent, off) => {
                    let (absent, pos) = (position(b, absent), position(b, off));
                    let free = !model.iter().any(|set| set.contains(&absent));
                    let item = Some(item_of(pos)).filter(|item| item % 4 != 0);
                    if sets.exchange(b, item_of(absent), item) {
                        prop_assert!(free);
                        model[0].extend(item.map(|_| pos));
                    } else if free {
                        prop_assert!(item.is_some());
                        // There was no place for it, which another way makes.
                        sets.insert(Which::One, pos, &mut mem).unwrap();
                        model[0].insert(pos);
                        prop_assert!(absent == pos || sets.exchange(b, item_of(absent), item));
                    }
                }
                Op::Take(b, lists) => {
                    let removed = sets.take(b, both(&lists), &mut mem);
                    for ((set, list), removed) in
                        model.iter_mut().zip(&lists).zip([removed.one, removed.other])
                    {
                        let gone: Set = at(b, list).filter(|pos| set.remove(pos)).collect();
                        prop_assert!(removed.iter().map(|off| position(b, off)).eq(gone));
                    }
                }
                Op::Set(b, lists) => {
                    sets.set_block(b, both(&lists), &mut mem).unwrap();
                    for (set, list) in model.iter_mut().zip(&lists) {
                        set.retain(|&pos| block_of(pos) != b);
                        set.extend(at(b, list));
                    }
                }
                Op::Clear(b, n) => for b in b..(b + n).min(128) {
                    sets.clear_block(b, &mut mem);
                    model.iter_mut().for_each(|set| set.retain(|&pos| block_of(pos) != b));
                },
            }
            for (which, set) in [Which::One, Which::Other].into_iter().zip(&model) {
                prop_assert_eq!(usize::from(sets.len(which)), set.len());
                prop_assert!(sets.iter(which).eq(set.iter().copied()));
                prop_assert_eq!(sets.last(which), set.last().copied());
            }
            prop_assert_eq!(mem.used(), sets.heap_bytes());
            let blocks: BTreeSet<u8> = model[0].iter().map(|&pos| block_of(pos)).collect();
            prop_assert_eq!(sets.blocks() as usize, blocks.len());
        }
        for b in [0, 1, 2, 63, 64, 127] {
            let block = sets.block(b);
            for (set, offsets) in model.iter().zip([block.one, block.other]) {
                let of_block = set.iter().filter(|&&pos| block_of(pos) == b);
                prop_assert!(offsets.iter().eq(of_block.map(|&pos| item_of(pos) + 1)));
            }
            let pos = position(b, 7);
            prop_assert_eq!(sets.contains(Which::One, pos), model[0].contains(&pos));
        }
        for (which, set) in [Which::One, Which::Other].into_iter().zip(&model) {
            let all = sets.by_block(which);
            let all = all.flat_map(|(b, offsets)| offsets.iter().map(move |off| position(b, off)));
            prop_assert!(all.eq(set.iter().copied()));
        }
        let copy = sets.try_clone(&mut mem).unwrap();
        prop_assert!(copy.iter(Which::Other).eq(model[1].iter().copied()));
        prop_assert_eq!(mem.used(), sets.heap_bytes() + copy.heap_bytes());
    }
}

/// Words hold six positions of each block, whosever they are, and give way to
/// bitmaps for a seventh; where there is little they are not made.
#[test]
fn words_are_for_few_positions_of_many_blocks() {
    let (mut sets, mut mem) = (Sets::default(), Mem::default());
    let packed = |sets: &Sets| matches!(sets.0, Repr::Packed(_));
    for b in 0..10 {
        for which in [Which::One, Which::Other] {
            for item in [0, 255, 290] {
                let pos = position_of(b, item);
                sets.insert(which, pos, &mut mem).unwrap();
                sets.insert(which, pos, &mut mem).unwrap(); // no second time
            }
        }
        assert_eq!(packed(&sets), b >= 3, "at block {b}");
    }
    // They have grown twice.
    assert_eq!(sets.heap_bytes(), 16 * 8 + MALLOC_OVERHEAD);
    assert_eq!(mem.used(), sets.heap_bytes());
    assert_eq!((sets.len(Which::One), sets.len(Which::Other)), (30, 30));
    assert!(!sets.exchange(9, 255, Some(1)) && !sets.exchange(9, 1, Some(2)));
    assert!(sets.exchange(9, 1, Some(255)) && sets.exchange(9, 1, None));
    sets.insert(Which::Other, position_of(9, 1), &mut mem)
        .unwrap();
    assert!(matches!(sets.0, Repr::Many(_)));
    assert_eq!(
        sets.block(9).other.iter().collect::<Vec<_>>(),
        [1, 2, 256, 291]
    );

    // Blocks that are far apart, from the first and later.
    let (mut sets, mut mem) = (Sets::default(), Mem::default());
    for b in (0..120).step_by(5) {
        sets.insert(Which::One, position_of(b, 7), &mut mem)
            .unwrap();
    }
    assert!(matches!(sets.0, Repr::Many(_)));
    let (mut sets, mut mem) = few_of_each(5, 4);
    assert!(packed(&sets));
    sets.insert(Which::One, position_of(31, 0), &mut mem)
        .unwrap();
    assert!(matches!(sets.0, Repr::Many(_)));
    assert_eq!(mem.used(), sets.heap_bytes());
}

/// So many blocks with so many positions each.
fn few_of_each(blocks: u8, each: u16) -> (Sets, Mem) {
    let (mut sets, mut mem) = (Sets::default(), Mem::default());
    for item in 0..each {
        for b in 0..blocks {
            sets.insert(Which::One, position_of(b, item), &mut mem)
                .unwrap();
        }
    }
    (sets, mem)
}

/// Where most blocks have nothing left, words go; where one block had too much
/// for them once, they come again.
#[test]
fn words_go_and_come() {
    for (each, inline) in [(3, true), (4, false)] {
        let (mut sets, mut mem) = few_of_each(32, each);
        for b in 5..32 {
            assert!(matches!(sets.0, Repr::Packed(_)), "at block {b}");
            sets.clear_block(b, &mut mem);
        }
        assert_eq!(matches!(sets.0, Repr::Few(_)), inline);
        assert_eq!(matches!(sets.0, Repr::Many(_)), !inline);
        assert_eq!(usize::from(sets.len(Which::One)), 5 * usize::from(each));
        assert_eq!(mem.used(), sets.heap_bytes());
    }

    let (mut sets, mut mem) = few_of_each(32, 2);
    for item in 2..7 {
        assert!(matches!(sets.0, Repr::Packed(_)));
        sets.insert(Which::One, position_of(9, item), &mut mem)
            .unwrap();
    }
    assert_eq!(sets.remove(position_of(9, 6), &mut mem), (true, false));
    for n in 0..300 {
        assert_eq!(matches!(sets.0, Repr::Packed(_)), n >= 255, "after {n}");
        sets.remove(position_of(3, 1), &mut mem);
        sets.insert(Which::One, position_of(3, 1), &mut mem)
            .unwrap();
    }
    assert_eq!(sets.len(Which::One), 2 * 32 + 4);
    assert_eq!(mem.used(), sets.heap_bytes());
}

/// Both may hold all there is, which is more than 16 bits can count.
#[test]
fn both_may_be_full() {
    let (mut sets, mut mem) = (Sets::default(), Mem::default());
    for b in 0..128 {
        for off in 1..=MAX_OFFSET {
            sets.insert(Which::One, position(b, off), &mut mem).unwrap();
            sets.insert(Which::Other, position(b, off), &mut mem)
                .unwrap();
        }
    }
    let all = 128 * MAX_OFFSET;
    for gone in 1..=9000 {
        let pos = position((gone % 128) as u8, gone / 128 + 1);
        assert_eq!(sets.remove(pos, &mut mem), (true, true));
        let left = all - gone;
        assert_eq!((sets.len(Which::One), sets.len(Which::Other)), (left, left));
    }
    assert_eq!(sets.iter(Which::Other).count(), usize::from(all) - 9000);
}

/// Bytes per block that has positions, however they are spread.
#[test]
fn stays_small() {
    assert!(size_of::<Sets>() <= 48);
    for (step, offs, most) in [(1, 256, 64), (7, 256, 64), (2, 60, 16), (60, 60, 16)] {
        let (mut sets, mut mem) = (Sets::default(), Mem::default());
        for b in 0..32 {
            for off in (1..=offs).step_by(step) {
                sets.insert(Which::One, position(b, off), &mut mem).unwrap();
            }
            let (bytes, blocks) = (sets.heap_bytes(), usize::from(sets.blocks()));
            assert!(bytes <= 80 + most * blocks, "{bytes} for {blocks} blocks");
        }
        // Room may stay for four blocks per position.
        for b in 0..32 {
            sets.clear_block(b, &mut mem);
            let (bytes, left) = (sets.heap_bytes(), usize::from(sets.len(Which::One)));
            assert!(
                bytes <= 80 + 4 * most * left,
                "{bytes} for {left} positions"
            );
        }
        assert_eq!(
            (sets.len(Which::One), sets.heap_bytes(), mem.used()),
            (0, 0, 0)
        );
    }
}
