//! Readers beside a writer at work.

use super::*;
use std::sync::atomic::AtomicBool;

/// A writer that opens, fills, truncates and closes as fast as it can, always
/// with counters from which a reader can tell whose they are.
#[test]
fn readers_see_no_other_relation() {
    let area = area(MIN_WORDS + 2000 + 60 * PAGE_WORDS);
    let mut writer = MapWriter::init(&area, WIDTH).unwrap();
    let stop = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    let rounds = if cfg!(miri) { 5 } else { 30_000 };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut first = true;
                while first || !stop.load(Relaxed) {
                    first = false;
                    let reader = MapReader::open(&area).unwrap();
                    for n in 0..8u32 {
                        let Some(rel) = reader.find(loc(n)) else {
                            continue;
                        };
                        assert_eq!(rel.locator(), loc(n));
                        for (rangeno, state) in (0..400u32).zip(rel.ranges()) {
                            let RangeState::Counts(c) = state else {
                                continue;
                            };
                            assert_eq!(u32::from(c.dead), n + 1, "relation {n} range {rangeno}");
                            assert_eq!(u32::from(c.items), rangeno);
                            seen.fetch_add(1, Relaxed);
                        }
                    }
                }
            });
        }
        let mut handles = [None; 8];
        let mut random = 1u64;
        for _ in 0..rounds {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let dice = (random >> 33) as u32;
            let n = dice % 8;
            let handle = *handles[n as usize].get_or_insert_with(|| writer.open(loc(n)).unwrap());
            match dice / 8 % 6 {
                0 => {
                    writer.close(handle);
                    handles[n as usize] = None;
                }
                1 => writer.truncate(handle, dice / 64 % 400),
                _ => {
                    for i in 0..40 {
                        let rangeno = (dice / 64 + i) % 400;
                        let counts = RangeCounts {
                            dead: n as u16 + 1,
                            items: rangeno as u16,
                            tuples: None,
                            first_unknown: 0,
                        };
                        assert!(writer.publish(handle, rangeno, counts));
                    }
                }
            }
        }
        stop.store(true, Relaxed);
    });
    assert!(cfg!(miri) || seen.load(Relaxed) > 1000);
}
