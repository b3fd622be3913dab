//! The list against one that is searched from the front.

use super::*;
use crate::recent::How;
use proptest::prelude::*;

/// A change that bears a number.
fn change(n: usize, xid: u32, rel: u32, blkno: u32) -> Change {
    Change {
        rel,
        blkno,
        xid,
        inserted: n as u16,
        deleted: (n >> 16) as u16,
        how: How::Plain,
        visible_lost: 0,
    }
}

fn number(change: &Change) -> usize {
    usize::from(change.inserted) | usize::from(change.deleted) << 16
}

proptest! {
    /// Against a list that is searched from the front.
    #[test]
    fn like_a_plain_list(
        most in prop_oneof![Just(5), Just(40), Just(100_000)],
        ops in prop::collection::vec((0..100u8, 0..12u32, 0..3u32, 0..4u32), 0..3000),
    ) {
        let (mut list, mut model) = (List::default(), Vec::<Change>::new());
        // Of transactions that have an entry, noted or not.
        let mut known = std::collections::BTreeSet::new();
        for (n, (what, xid, rel, blkno)) in (1..).zip(ops) {
            // Two of them come to the same place.
            let xid = 100 + xid % 11 + xid / 11 * 256;
            let of_block = |c: &Change| (c.rel, c.blkno) == (rel, blkno);
            match what {
                0..70 if model.len() < most => {
                    let taken = known.iter().any(|k| k % 256 == xid % 256 && *k != xid);
                    let change = change(n, xid, rel, blkno);
                    prop_assert_eq!(list.push(change), !taken);
                    if !taken {
                        model.push(change);
                        known.insert(xid);
                    }
                }
                0..90 => {
                    let mut all = Vec::new();
                    if let Some(mut settling) = list.end(xid) {
                        while let Some(change) = list.settle(&mut settling) {
                            all.push(number(&change));
                        }
                    }
                    let of_xid = model.extract_if(.., |c| c.xid == xid);
                    prop_assert_eq!(all, of_xid.map(|c| number(&c)).collect::<Vec<_>>());
                    known.remove(&xid);
                }
                90..92 => {
                    // One that comes twice has ended.
                    let family = [xid, xid + 1, xid + 256, xid];
                    let mut all = Vec::new();
                    if let Some(mut settling) = list.end_all(family.into_iter()).unwrap() {
                        while let Some(change) = list.settle(&mut settling) {
                            all.push(number(&change));
                        }
                    }
                    let of_all = model.extract_if(.., |c| family.contains(&c.xid));
                    prop_assert_eq!(all, of_all.map(|c| number(&c)).collect::<Vec<_>>());
                    family.iter().for_each(|xid| {
                        known.remove(xid);
                    });
                }
                92..96 => {
                    let (mut noting, mut all) = (list.begin_noting(rel, blkno), Vec::new());
                    while let Some(change) = list.note_next(&mut noting) {
                        all.push(number(&change));
                    }
                    let of_block = model.extract_if(.., |c| of_block(c));
                    prop_assert_eq!(all, of_block.map(|c| number(&c)).collect::<Vec<_>>());
                }
                96..98 => {
                    list.forget(rel);
                    model.retain(|c| c.rel != rel);
                }
                _ => {
                    let all = list.drain();
                    prop_assert!(all.iter().map(|c| number(&c)).eq(model.iter().map(number)));
                    list.give_back(all);
                    model.clear();
                    known.clear();
                }
            }
            prop_assert_eq!(list.any_of(rel, blkno, |_| true), model.iter().any(of_block));
            prop_assert!(list.waiting == model.len() && list.entries.len() <= MOST);
            // Who has nothing that waits may be forgotten when all are put
            // together again.
            known.retain(|xid| list.has(*xid));
            prop_assert!(model.iter().all(|c| list.has(c.xid)));
        }
    }
}

#[test]
fn what_waits_long_does_not_fill_it() {
    let mut list = List::default();
    assert!(list.push(change(0, 3, 0, 0)));
    for n in 1..100_000 {
        let xid = 4 + n as u32 % 200;
        assert!(list.push(change(n, xid, 0, n as u32)), "{n}");
        let mut settling = list.end(xid).unwrap();
        assert_eq!(list.settle(&mut settling).map(|c| number(&c)), Some(n));
        assert!(list.settle(&mut settling).is_none());
    }
    assert!(list.entries.len() <= FIRST && list.has(3));
    for n in 0..2 * MOST {
        if !list.push(change(n, 5, 1, 0)) {
            assert!(list.is_full() && n > MOST / 2);
            return;
        }
    }
    panic!("it never was full");
}
