//! Any bytes as a saved ledger: what is taken over can be gone on with, and is
//! written and read again.
#![no_main]

use garbagemap_core::{Config, Ledger, RangeCounts, Sink};
use walker_wal::{BlockNumber, RelFileLocator};

/// Shows nothing.
struct Nowhere;

impl Sink for Nowhere {
    type Rel = ();
    fn open(&mut self, _: RelFileLocator) -> Option<()> {
        Some(())
    }
    fn publish(&mut self, (): (), _: u32, _: RangeCounts) -> bool {
        true
    }
    fn set_known_from(&mut self, (): (), _: Option<BlockNumber>) {}
    fn truncate(&mut self, (): (), _: u32) {}
    fn close(&mut self, (): ()) {}
}

fn ledger() -> Ledger<Nowhere> {
    let config = Config {
        range_blocks: 4,
        max_memory: 1 << 20,
        ..Config::default()
    };
    Ledger::new(config, Nowhere)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut loaded = ledger();
    let accepted = loaded.load(&mut &*data).is_ok();
    let mut again = Vec::new();
    loaded.save(&mut again).expect("room");
    if accepted {
        ledger()
            .load(&mut again.as_slice())
            .expect("what was just written");
    }
    loaded.mark_all_unknown();
    assert_eq!(loaded.stats().memory_used, 0);
});
