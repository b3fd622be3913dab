use super::*;
use proptest::prelude::*;

fn total(h: &mut Horizon) -> u32 {
    h.buckets().iter().map(|b| b.count).sum()
}

/// By how much a transaction that ends is older than the youngest.
fn back() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 1 => 0u32..1_000, 1 => 0u32..10_000_000]
}

proptest! {
    /// Nothing is lost, and nothing counts as older than it is.
    #[test]
    fn never_older_than_it_is(
        steps in proptest::collection::vec((1u32..100_000, back(), 1u32..50), 1..400),
    ) {
        let mut horizon = Horizon::default();
        let (mut youngest, mut sum) = (100, 0);
        let mut truth = Vec::new();
        for (step, back, n) in steps {
            youngest += step;
            let xid = youngest.saturating_sub(back).max(3);
            horizon.add(xid, n);
            sum += n;
            truth.push((xid, n));
            prop_assert_eq!(total(&mut horizon), sum);
        }
        for limit in truth.iter().map(|(xid, _)| *xid) {
            let really: u32 = truth.iter().filter(|(x, _)| *x < limit).map(|(_, n)| n).sum();
            let shown: u32 =
                horizon.buckets().iter().filter(|b| b.xid < limit).map(|b| b.count).sum();
            prop_assert!(shown <= really, "{shown} of {really} before {limit}");
        }
    }
}

/// As [`Horizon::merge`] says it, with fractions as they are.
fn merge_narrowest(buckets: &mut Vec<HorizonBucket>) {
    let youngest = u128::from(buckets.last().unwrap().xid);
    let fraction = |i: usize| {
        let last = u128::from(buckets[i + 1].xid);
        let before = u128::from(buckets[i.saturating_sub(1)].xid);
        (last - before, youngest - last + 1)
    };
    let at = (0..buckets.len() - 1).reduce(|a, b| {
        let (a_of, b_of) = (fraction(a), fraction(b));
        if b_of.0 * a_of.1 < a_of.0 * b_of.1 {
            b
        } else {
            a
        }
    });
    let gone = buckets.remove(at.unwrap());
    buckets[at.unwrap()].count += gone.count;
}

proptest! {
    #[test]
    fn the_narrowest_for_their_age_are_merged(
        steps in proptest::collection::vec((1u32..20, 0u32..16, 1u32..50), 1..200),
    ) {
        let (mut horizon, mut xid, mut young_from) = (Horizon::default(), 100, 0);
        let mut expected: Vec<HorizonBucket> = Vec::new();
        for (by, scale, n) in steps {
            xid += by << scale;
            horizon.add(xid, n);
            match expected.last_mut() {
                Some(last) if xid - young_from < YOUNG_SPAN => {
                    last.count += n;
                    last.xid = xid;
                }
                _ => {
                    if expected.len() + 1 == AGED {
                        merge_narrowest(&mut expected);
                    }
                    expected.push(HorizonBucket { xid, count: n });
                    young_from = xid;
                }
            }
            let used = usize::from(horizon.used);
            prop_assert_eq!(&horizon.buckets()[1..=used], expected.as_slice());
        }
    }
}

/// As [`Horizon::remove`] says it.
fn without(h: &mut Horizon, mut n: u32) -> [HorizonBucket; HORIZON_BUCKETS] {
    let mut buckets = *h.buckets();
    let unknown = buckets[HORIZON_UNKNOWN].xid;
    let (older, younger): (Vec<_>, Vec<_>) =
        (1..HORIZON_UNKNOWN).partition(|&place| precedes(buckets[place].xid, unknown));
    let order = [vec![0], older, vec![HORIZON_UNKNOWN], younger];
    for place in order.concat() {
        let taken = buckets[place].count.min(n);
        n -= taken;
        buckets[place].count -= taken;
    }
    buckets
}

proptest! {
    /// Wherever the oldest bucket with anything in it is thought to be.
    #[test]
    fn removals_begin_at_the_oldest(
        steps in proptest::collection::vec((0u32..4, 1u32..3_000, 1u32..50), 1..400),
    ) {
        let (mut horizon, mut xid) = (Horizon::default(), 100);
        for (what, step, n) in steps {
            xid += step;
            match what {
                0 => horizon.add(xid, n),
                1 => horizon.add(0, n),
                2 => horizon.learned(n.into(), xid),
                _ => {
                    // Some more than there are, at times.
                    let left = without(&mut horizon, n * 8);
                    horizon.remove(u64::from(n) * 8);
                    prop_assert_eq!(&horizon.buckets, &left);
                }
            }
        }
    }
}

#[test]
fn the_oldest_go_first() {
    let mut horizon = Horizon::default();
    horizon.add(1000, 5);
    horizon.add(0, 2);
    horizon.add(9000, 7);
    horizon.remove(6);
    let left: Vec<_> = horizon
        .buckets()
        .iter()
        .filter(|b| b.count > 0)
        .map(|b| (b.xid, b.count))
        .collect();
    assert_eq!(left, [(1000, 1), (9000, 7)]);
    horizon.remove(8);
    assert_eq!((total(&mut horizon), horizon.used), (0, 0));
}

/// It is as young as it may be, until it is gone.
#[test]
fn what_was_learned_is_apart() {
    let mut horizon = Horizon::default();
    let unknown = |h: &mut Horizon| {
        let bucket = h.buckets()[HORIZON_UNKNOWN];
        (bucket.xid, bucket.count)
    };
    horizon.learned(5, 1000);
    horizon.add(900, 3);
    assert_eq!(unknown(&mut horizon), (1000, 5));
    horizon.learned(1, 990);
    assert_eq!(unknown(&mut horizon), (1000, 6));
    horizon.learned(1, 1010);
    // The three of 900 are older.
    horizon.learned(-4, 1020);
    assert_eq!(unknown(&mut horizon), (1010, 6));
    horizon.changed_by(-6, 0);
    assert_eq!(total(&mut horizon), 0);
    // And those of 960 younger.
    horizon.learned(1, 950);
    horizon.add(960, 3);
    horizon.changed_by(-1, 0);
    assert_eq!((unknown(&mut horizon), total(&mut horizon)), ((950, 0), 3));
}

/// A relation can have more dead tuples than a bucket can count.
#[test]
fn more_than_can_be_counted() {
    let mut horizon = Horizon::default();
    horizon.changed_by(3 << 31, 1000);
    horizon.changed_by(3 << 31, 9000);
    let counts = horizon.buckets().map(|bucket| bucket.count);
    assert_eq!(counts[..3], [0, u32::MAX, u32::MAX]);
    horizon.changed_by(-(3 << 31), 0);
    let counts = horizon.buckets().map(|bucket| bucket.count);
    assert_eq!(counts[..3], [0, 0, u32::MAX / 2 - 1]);
    horizon.changed_by(5, 9000);
    horizon.changed_by(i64::MIN, 0);
    assert_eq!((total(&mut horizon), horizon.used), (0, 0));
}
