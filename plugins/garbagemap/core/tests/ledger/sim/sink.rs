//! A sink that remembers what it was told.

use std::collections::{BTreeMap, HashMap};

use garbagemap_core::{Counters, HorizonBucket, RangeCounts, Sink};
use walker_wal::{BlockNumber, RelFileLocator};

#[derive(Default, Debug)]
pub struct Shown {
    pub known_from: Option<BlockNumber>,
    pub ranges: BTreeMap<u32, RangeCounts>,
    pub counters: Counters,
    /// Garbage by age, by the number of the bucket.
    pub buckets: BTreeMap<usize, HorizonBucket>,
    /// Ranges that were there when `known_from` was told last.
    pub ranges_before: usize,
}

#[derive(Default)]
pub struct TestSink {
    pub rels: HashMap<u32, Shown>,
    pub by_locator: HashMap<RelFileLocator, u32>,
    next: u32,
}

impl TestSink {
    pub fn get(&self, locator: RelFileLocator) -> Option<&Shown> {
        self.rels.get(self.by_locator.get(&locator)?)
    }
}

impl Sink for TestSink {
    type Rel = u32;

    fn open(&mut self, locator: RelFileLocator) -> Option<u32> {
        let rel = *self.by_locator.entry(locator).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.rels.entry(rel).or_default();
        Some(rel)
    }

    fn publish(&mut self, rel: u32, rangeno: u32, counts: RangeCounts) -> bool {
        self.rels
            .get_mut(&rel)
            .unwrap()
            .ranges
            .insert(rangeno, counts);
        true
    }

    fn publish_bucket(&mut self, rel: u32, index: usize, bucket: HorizonBucket) {
        let shown = self.rels.get_mut(&rel).unwrap();
        shown.buckets.insert(index, bucket);
    }

    fn set_known_from(&mut self, rel: u32, known_from: Option<BlockNumber>) {
        let shown = self.rels.get_mut(&rel).unwrap();
        (shown.known_from, shown.ranges_before) = (known_from, shown.ranges.len());
    }

    fn truncate(&mut self, rel: u32, first_rangeno: u32) {
        self.rels
            .get_mut(&rel)
            .unwrap()
            .ranges
            .split_off(&first_rangeno);
    }

    fn publish_counters(&mut self, rel: u32, counters: &Counters) {
        self.rels.get_mut(&rel).unwrap().counters = *counters;
    }

    fn close(&mut self, rel: u32) {
        assert!(self.rels.remove(&rel).is_some());
        self.by_locator.retain(|_, r| *r != rel);
    }
}
