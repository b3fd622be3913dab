//! The state in a file: it comes back, and nothing that looks like it harms.

use garbagemap_core::{Config, Ledger, LoadError, Stats};
use walker_wal::raw::{BlockSpec, Decoder, ImageSpec, RecordBuilder};
use walker_wal::{Lsn, Major, RmgrId};

use crate::limits::{Fake, Nobody, apply, create, end, rel};
use crate::model::{World, run};
use crate::sim::page::Page;
use crate::sim::sink::TestSink;
use crate::told::tuple;

fn ledger() -> Ledger<TestSink> {
    let config = Config {
        range_blocks: 4,
        ..Config::default()
    };
    Ledger::new(config, TestSink::default())
}

/// A state with a bit of everything.
fn world() -> (World, Vec<u8>) {
    let mut world = World::new(Major::V17, 700, (4, 256));
    run(&mut world, 4711, 600);
    for op in [24, 24, 14, 24, 10, 70, 24, 24] {
        world.step(op, 99 + u32::from(op));
    }
    world.drain();
    let mut state = Vec::new();
    world.ledger.save(&mut state).unwrap();
    (world, state)
}

/// What a restart does not keep: figures about the past, and transactions of
/// which only dropped relations knew.
fn kept(stats: Stats) -> Stats {
    Stats {
        images_checked: 0,
        images_undecided: 0,
        degradations: 0,
        pending_transactions: 0,
        memory_used: 0,
        ..stats
    }
}

#[test]
fn comes_back() {
    let (mut world, state) = world();
    let mut loaded = ledger();
    loaded.load(&mut state.as_slice()).unwrap();
    world.ledger.publish(Some(1));
    loaded.publish(Some(2));
    assert!(world.ledger.stats().pending_transactions > 0);
    assert_eq!(kept(loaded.stats()), kept(world.ledger.stats()));
    let mut counted = 0;
    for (&rel, pages) in &world.server.rels {
        for blkno in 0..pages.len() as u32 + 5 {
            assert_eq!(loaded.block(rel, blkno), world.ledger.block(rel, blkno));
        }
        let (a, b) = (loaded.sink().get(rel), world.ledger.sink().get(rel));
        let (Some(a), Some(b)) = (a, b) else {
            assert!(a.is_none() && b.is_none());
            continue;
        };
        assert_eq!((a.known_from, &a.ranges), (b.known_from, &b.ranges));
        assert_eq!(a.counters, b.counters);
        counted += a.counters.created() + a.counters.removed();
    }
    assert!(counted > 0, "nothing was counted");
    loaded.mark_all_unknown();
    assert_eq!(
        loaded.stats().memory_used,
        0,
        "all memory was accounted for"
    );
    assert!(loaded.sink().rels.is_empty());
}

#[test]
fn other_geometry_is_told() {
    let (_, state) = world();
    let mut other = Ledger::new(Config::default(), TestSink::default());
    let result = other.load(&mut state.as_slice());
    assert!(
        matches!(result, Err(LoadError::RangeBlocks(4))),
        "{result:?}"
    );
    let result = other.load(&mut &b"\x10\0\0\0something else.."[..]);
    assert!(matches!(result, Err(LoadError::Foreign)), "{result:?}");
}

#[test]
fn every_truncation_is_an_error() {
    let (_, state) = world();
    let mut loaded = ledger();
    for len in 0..state.len() {
        assert!(loaded.load(&mut &state[..len]).is_err(), "{len}");
        assert_eq!(loaded.stats(), Stats::default());
    }
    loaded.load(&mut state.as_slice()).unwrap();
}

#[test]
fn damage_is_survived() {
    let (_, state) = world();
    let mut random = 1u64;
    let mut next = |n: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize % n
    };
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut damaged = state.clone();
        for _ in 0..=next(3) {
            let at = next(damaged.len());
            damaged[at] = match next(3) {
                0 => damaged[at] ^ 1 << next(8),
                1 => 0xFF,
                _ => next(256) as u8,
            };
        }
        let mut loaded = ledger();
        accepted += u32::from(loaded.load(&mut damaged.as_slice()).is_ok());
        // Whatever it took for true, it can go on, and account for it.
        let mut again = Vec::new();
        loaded.save(&mut again).unwrap();
        ledger().load(&mut again.as_slice()).unwrap();
        loaded.mark_all_unknown();
        assert_eq!(loaded.stats().memory_used, 0);
    }
    assert!(accepted > 0);
}

#[test]
fn noise_is_refused() {
    let mut random = 7u64;
    for len in 0..3000 {
        let noise: Vec<u8> = (0..len % 300)
            .map(|i| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // Plausible frame lengths get further.
                if (1..4).contains(&i) {
                    0
                } else {
                    (random >> 40) as u8
                }
            })
            .collect();
        assert!(ledger().load(&mut noise.as_slice()).is_err());
    }
}

#[test]
fn what_the_wal_told_comes_back() {
    let mut before = ledger();
    let words = |list: &[u32]| {
        list.iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let members = words(&[33, 0, 1, 800, 5]);
    let multi = Fake {
        rmid: 6,
        info: 0x20,
        main: members,
        ..Fake::default()
    };
    apply(&mut before, &multi);
    apply(&mut before, &end(800, true, 10));
    apply(&mut before, &end(801, false, 20));
    before.set_wal_minimal(true);
    let mut state = Vec::new();
    before.save(&mut state).unwrap();

    let mut after = ledger();
    after.load(&mut state.as_slice()).unwrap();
    let lps = vec![
        tuple(801, 0, 0x0800),
        tuple(700, 33, 0x1100),
        tuple(800, 0, 0x0800),
    ];
    let image = ImageSpec::of_page(&Page { lsn: 1, lps }.bytes());
    let block = BlockSpec::new(0, (1663, 5, 1), 0).image(image);
    let bytes = RecordBuilder::new(RmgrId::XLOG, 0xA0).block(block).build();
    let mut decoder = Decoder::new();
    let rec = decoder.decode(&bytes, Lsn(30), Lsn(40)).unwrap();
    let mut restore = |_, _: &mut garbagemap_core::Page| false;
    after
        .apply(Major::V17, &rec, &mut Nobody, &mut restore)
        .unwrap();
    assert_eq!(after.block(rel(1), 0).unwrap().dead, [1, 2]);
    apply(&mut after, &create(2, 50));
    assert_eq!(after.block(rel(2), 0), None, "minimal WAL promises nothing");
}
