//! The set against `BTreeSet`.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Op {
    Insert(u16),
    Remove(u16),
    InsertRun(u16, u16),
    RemoveRun(u16, u16),
    InsertIn(u16),
    RemoveOffsets(u16, Vec<u16>),
    Absorb(Vec<u16>, u16, u16),
}

fn ops(top: u16) -> impl Strategy<Value = Vec<Op>> {
    let pos = 0..top;
    let op = prop_oneof![
        4 => pos.clone().prop_map(Op::Insert),
        2 => pos.clone().prop_map(Op::Remove),
        2 => (pos.clone(), 0..600u16).prop_map(|(p, n)| Op::InsertRun(p, n)),
        2 => (pos.clone(), 0..3000u16).prop_map(|(p, n)| Op::RemoveRun(p, n)),
        2 => pos.clone().prop_map(Op::InsertIn),
        2 => (0..top / MAX_OFFSET, prop::collection::vec(1..=MAX_OFFSET, 0..300))
            .prop_map(|(b, offs)| Op::RemoveOffsets(b, offs)),
        1 => (prop::collection::vec(pos.clone(), 0..20), pos, 0..2000u16)
            .prop_map(|(v, p, n)| Op::Absorb(v, p, n)),
    ];
    prop::collection::vec(op, 0..60)
}

proptest! {
    #[test]
    fn like_a_btreeset(ops in ops(128 * 291), lo in 0..37_248u16, n in 0..4000u16) {
        let top = 128 * 291;
        let (mut set, mut model) = (PosSet::new(), BTreeSet::new());
        for op in ops {
            match op {
                Op::Insert(p) => prop_assert_eq!(set.insert(p), Ok(model.insert(p))),
                Op::Remove(p) => prop_assert_eq!(set.remove(p), model.remove(&p)),
                Op::InsertRun(p, n) => for p in p..(p + n).min(top) {
                    prop_assert_eq!(set.insert(p), Ok(model.insert(p)));
                },
                Op::RemoveRun(p, n) => {
                    let gone = set.clear_range(p, p.saturating_add(n));
                    let before = model.len();
                    model.retain(|&m| m < p || m >= p.saturating_add(n));
                    prop_assert_eq!(gone as usize, before - model.len());
                }
                Op::InsertIn(p) => {
                    let lo = p / MAX_OFFSET * MAX_OFFSET;
                    let new = model.insert(p);
                    let alone = model.range(lo..lo + MAX_OFFSET).count() == 1;
                    prop_assert_eq!(set.insert_in(p, lo, lo + MAX_OFFSET), Ok((new, alone)));
                }
                Op::RemoveOffsets(b, offs) => {
                    let (lo, mut gone) = (b * MAX_OFFSET, Offsets::default());
                    offs.iter().for_each(|&off| gone.insert(off));
                    let removed = set.remove_offsets(lo, gone);
                    let taken: Vec<_> = gone.iter().filter(|off| model.remove(&(lo + off - 1))).collect();
                    prop_assert!(removed.iter().eq(taken));
                }
                Op::Absorb(list, p, n) => {
                    let mut other = PosSet::new();
                    for p in list.into_iter().chain(p..(p + n).min(top)) {
                        other.insert(p).unwrap();
                        model.insert(p);
                    }
                    set.absorb(other).unwrap();
                }
            }
            prop_assert_eq!(set.len() as usize, model.len());
            prop_assert!(set.iter().eq(model.iter().copied()));
        }
        let hi = lo.saturating_add(n);
        prop_assert!(set.iter_range(lo, hi).eq(model.range(lo..hi).copied()));
        prop_assert_eq!(set.any_in(lo, hi), model.range(lo..hi).next().is_some());
        prop_assert_eq!(set.contains(lo), model.contains(&lo));
        prop_assert!(set.try_clone().unwrap().iter().eq(model.iter().copied()));
    }
}

#[test]
fn stays_small() {
    assert!(size_of::<PosSet>() <= 32);
    let mut set = PosSet::new();
    for pos in 0..32 * 291 {
        set.insert(pos).unwrap();
        assert!(set.heap_bytes() <= 1400, "{} at {pos}", set.heap_bytes());
    }
    for pos in 4..32 * 291 {
        set.remove(pos);
    }
    assert_eq!((set.len(), set.heap_bytes()), (4, 0));
}
