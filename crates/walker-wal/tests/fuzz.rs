//! A smoke test of the fuzz entry: random bytes, and good records with a few
//! bytes changed. Nothing may panic.

mod common;

use common::*;
use proptest::prelude::*;
use walker_wal::fuzz::fuzz_one;
use walker_wal::raw::{ImageSpec, RecordBuilder};
use walker_wal::{RmgrId, raw};

fn record() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    (
        0u8..24,
        any::<u8>(),
        bytes(120),
        bytes(200),
        any::<bool>(),
        bytes(300),
    )
        .prop_map(|(rmid, info, main, data, image, page)| {
            let mut b0 = block(0, 7).data(&data);
            if image {
                let mut whole = page;
                whole.resize(8192, 0);
                whole[18..20].copy_from_slice(&0x2004u16.to_le_bytes());
                b0 = b0.image(ImageSpec::of_page(&whole));
            }
            let builder = RecordBuilder::new(RmgrId(rmid), info)
                .block(b0)
                .block(block(1, 8));
            builder.main_data(&main).build()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 5 } else { 500 }, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(data in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz_one(&data);
    }

    #[test]
    fn random_payloads(
        version in 0u8..4,
        rmid in 0u8..24,
        info in any::<u8>(),
        blocks in any::<u8>(),
        data in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..300),
        split in 0u8..80,
    ) {
        let head = [1, version, rmid, info, blocks, split];
        fuzz_one(&[&head[..], &data].concat());
    }

    #[test]
    fn changed_records(
        version in 0u8..4,
        mut bytes in record(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        prop_assert!(raw::check_crc(&bytes).is_ok());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        fuzz_one(&[&[0, version][..], &bytes].concat());
        fuzz_one(&[&[3, version][..], &bytes].concat());
    }
}
