//! Records that nobody wrote: no panic, no lasting harm.

use garbagemap_core::{Config, Ledger, Oracle, XidStatus};
use proptest::prelude::*;
use walker_wal::heap::{HEAP_XMAX_INVALID, HEAP_XMIN_COMMITTED};
use walker_wal::raw::{BlockSpec, Decoder, ImageSpec, RecordBuilder};
use walker_wal::{ForkNumber, Lsn, Major, RmgrId};

use crate::limits::{apply, create, rel};
use crate::model::{World, run};
use crate::sim::page::Page;
use crate::sim::sink::TestSink;
use crate::told::{Told, ledger, tuple};

/// Answers anything.
struct Noise(u32);

impl Oracle for Noise {
    fn xid_status(&mut self, xid: u32) -> XidStatus {
        match xid.wrapping_mul(self.0) >> 5 & 3 {
            0 => XidStatus::Committed,
            1 => XidStatus::Aborted,
            2 => XidStatus::InProgress,
            _ => XidStatus::Unknown,
        }
    }

    fn multixact_updater(&mut self, mxid: u32) -> Option<u32> {
        (!mxid.is_multiple_of(3)).then(|| mxid.wrapping_mul(self.0))
    }
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    // Small numbers are counts and offsets that can be right.
    prop::collection::vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..max)
}

fn block() -> impl Strategy<Value = (u8, BlockSpec)> {
    let image = prop_oneof![
        4 => Just(None),
        1 => bytes(100).prop_map(|b| {
            // A page with some line pointers in a sea of zeroes.
            let mut page = vec![0; 8192];
            page[24..24 + b.len()].copy_from_slice(&b);
            page[8192 - b.len()..].copy_from_slice(&b);
            page[12..14].copy_from_slice(&(24 + b.len() as u16 / 4 * 4).to_le_bytes());
            page[14..20].copy_from_slice(&[0, 30, 0, 32, 4, 32]);
            Some(ImageSpec::of_page(&page))
        }),
        1 => (bytes(300), 0..9000u16, 0..9000u16, any::<u8>())
            .prop_map(|(b, at, len, info)| Some(ImageSpec::stored(&b, at, len, info))),
    ];
    let place = (
        0..3u8,
        0..3u32,
        prop_oneof![4 => 0..6u32, 1 => any::<u32>()],
        0..6u8,
    );
    (place, bytes(60), image, any::<bool>()).prop_map(
        |((id, rel, blkno, fork), data, image, init)| {
            let mut spec = BlockSpec::new(id, (1663, 5, 16384 + rel * 6), blkno).data(&data);
            if fork > 3 {
                spec = spec.fork(ForkNumber(fork - 3));
            }
            if init {
                spec = spec.will_init();
            }
            if let Some(image) = image {
                spec = spec.image(image);
            }
            (id, spec)
        },
    )
}

type Draft = (u8, u8, u32, Vec<u8>, Vec<(u8, BlockSpec)>);

fn record() -> impl Strategy<Value = Draft> {
    let rmid =
        prop_oneof![8 => Just(10u8), 8 => Just(9), 4 => 0..7u8, 2 => Just(8), 1 => any::<u8>()];
    let xid = prop_oneof![700..720u32, any::<u32>()];
    let blocks = prop::collection::vec(block(), 0..3);
    (rmid, any::<u8>(), xid, bytes(90), blocks)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(crate::model::cases(150))
    })]

    #[test]
    fn any_record_is_survived(
        seed in 0..50u64,
        noise in any::<u32>(),
        max_memory in prop_oneof![Just(1usize << 20), 2000..6000usize],
        records in prop::collection::vec(record(), 0..120),
    ) {
        let major = [Major::V15, Major::V16, Major::V17, Major::V18][seed as usize % 4];
        let mut world = World::new(major, 700, (8, 2));
        run(&mut world, seed, 130);
        world.drain();
        let mut state = Vec::new();
        world.ledger.save(&mut state).unwrap();
        let config = Config { range_blocks: 8, max_memory, large: 1, ..Config::default() };
        let mut ledger = Ledger::new(config, TestSink::default());
        ledger.load(&mut state.as_slice()).unwrap();

        let mut lsn = Lsn(world.server.lsn);
        let mut decoder = Decoder::new();
        for (rmid, info, xid, main, mut blocks) in records {
            blocks.sort_by_key(|(id, _)| *id);
            blocks.dedup_by_key(|(id, _)| *id);
            let draft = RecordBuilder::new(RmgrId(rmid), info).xid(xid).main_data(&main);
            let bytes = blocks.into_iter().fold(draft, |draft, (_, spec)| draft.block(spec)).build();
            let end = Lsn(lsn.0 + 100);
            if let Ok(rec) = decoder.decode(&bytes, lsn, end) {
                let mut restore = |id: u8, page: &mut garbagemap_core::Page| {
                    page[20] = id;
                    noise % 2 == 0
                };
                let _ = ledger.apply(major, &rec, &mut Noise(noise), &mut restore);
                prop_assert!(ledger.stats().memory_used <= max_memory as u64);
            }
            lsn = end;
        }
        let mut again = Vec::new();
        ledger.save(&mut again).unwrap();
        let mut loaded = Ledger::new(config, TestSink::default());
        loaded.load(&mut again.as_slice()).unwrap();
        ledger.mark_all_unknown();
        prop_assert_eq!(ledger.stats().memory_used, 0);
        prop_assert_eq!(ledger.stats().dead_tuples, 0);
        prop_assert_eq!(ledger.stats().blocks_known, 0);
    }
}

#[test]
fn an_image_of_more_tuples_than_a_page_can_have() {
    let lps = vec![tuple(600, 0, HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID)];
    for pointers in [291, 292] {
        let mut page = Page {
            lsn: 1,
            lps: lps.clone(),
        }
        .bytes();
        let pointer = page[24..28].repeat(pointers);
        page[24..24 + pointer.len()].copy_from_slice(&pointer);
        page[12..14].copy_from_slice(&(24 + pointer.len() as u16).to_le_bytes());
        let image = BlockSpec::new(0, (1663, 5, 1), 0).image(ImageSpec::of_page(&page));
        let mut ledger = ledger();
        apply(&mut ledger, &create(1, 10));
        let bytes = RecordBuilder::new(RmgrId::XLOG, 0xB0).block(image).build();
        let mut decoder = Decoder::new();
        let record = decoder.decode(&bytes, Lsn(19), Lsn(20)).unwrap();
        let none = &mut |_, _: &mut _| false;
        let result = ledger.apply(Major::V15, &record, &mut Told::default(), none);
        assert_eq!(result.is_ok(), pointers == 291, "{pointers}");
        let normal = ledger.block(rel(1), 0).and_then(|view| view.normal);
        assert_eq!(normal, (pointers == 291).then_some(291), "{pointers}");
        let malformed = ledger.stats().malformed_records;
        assert_eq!(malformed, u64::from(pointers > 291), "{pointers}");
    }
}
