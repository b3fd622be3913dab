use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn touch(rangeno: u32) -> Touch {
    Touch { rel: 0, rangeno }
}

#[derive(Clone, Debug)]
enum Op {
    /// Of the youngest there was, or one that is younger by so much.
    Touch(u32),
    /// Of any, counted from the youngest.
    TouchAgain(u32),
    Take(u32),
    /// Of these, from the oldest on, as a family ends.
    TakeAll(u32, u32),
    Forget(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..3u32).prop_map(Op::Touch),
        2 => (0..20u32).prop_map(Op::TouchAgain),
        4 => (0..200u32).prop_map(Op::Take),
        1 => (0..200u32, 1..150u32).prop_map(|(from, n)| Op::TakeAll(from, n)),
        1 => (0..40u32).prop_map(Op::Forget),
    ]
}

proptest! {
    /// Also where numbers wrap around.
    #[test]
    fn like_a_map(
        mut youngest in prop_oneof![Just(1_000u32), u32::MAX - 100..u32::MAX],
        ops in prop::collection::vec(op(), 0..600),
    ) {
        let (mut places, mut mem) = (InOrder::default(), Mem::default());
        let mut model: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut rangeno = 0;
        let listed = |t: &Touches| t.iter().map(|t| t.rangeno).collect::<Vec<_>>();
        for op in ops {
            rangeno += 1;
            let (xid, n) = match op {
                Op::Touch(by) => (youngest.wrapping_add(by), 0),
                Op::TouchAgain(back) => (youngest.wrapping_sub(back), 0),
                Op::Take(back) => (youngest.wrapping_sub(back), 1),
                Op::TakeAll(back, n) => (youngest.wrapping_sub(back), n),
                Op::Forget(_) => (0, 0),
            };
            match op {
                Op::Touch(_) | Op::TouchAgain(_) => {
                    if matches!(op, Op::Touch(_)) {
                        youngest = xid;
                    }
                    let had = model.get(&xid).map_or(0, Vec::len);
                    let behind = places.places.iter().skip(places.first);
                    let behind = behind.filter(|place| place.xid > xid).count();
                    let added = places.add(xid, touch(rangeno), &mut mem).unwrap();
                    match had {
                        0 if behind < BACK => prop_assert_eq!(added, Added::First),
                        0 if behind > BACK => prop_assert_eq!(added, Added::No),
                        0 => prop_assert!(matches!(added, Added::First | Added::No)),
                        MOST => prop_assert_eq!(added, Added::TooMany),
                        _ => prop_assert_eq!(added, Added::More),
                    }
                    if matches!(added, Added::First | Added::More) {
                        model.entry(xid).or_default().push(rangeno);
                    }
                }
                Op::Forget(of) => {
                    let before = model.len();
                    model.values_mut().for_each(|list| list.retain(|r| r % 40 != of));
                    model.retain(|_, list| !list.is_empty());
                    let gone = places.retain(|_, touch| touch.rangeno % 40 != of, &mut mem);
                    prop_assert_eq!(gone, before - model.len());
                }
                Op::Take(_) | Op::TakeAll(..) => {}
            }
            for xid in (0..n).map(|i| xid.wrapping_add(i)) {
                let taken = places.take(xid, &mut mem).map(|t| listed(&t));
                prop_assert_eq!(taken, model.remove(&xid));
            }
            prop_assert!(places.xids().eq(model.keys().copied()));
            prop_assert_eq!(mem.used(), places.heap_bytes());
            let waste = places.first + places.free;
            prop_assert!(waste <= WASTE.max(model.len()), "much is free");
            let room = places.places.capacity();
            prop_assert!(room <= (4 * WASTE).max(8 * model.len()), "there is much room");
            prop_assert_eq!(mem.used() == 0, model.is_empty());
        }
        for (xid, list) in &model {
            prop_assert!(places.contains(*xid));
            prop_assert_eq!(&listed(&places.touches(*xid)), list);
        }
    }
}
