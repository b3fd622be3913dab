//! Random histories, compared with a naive model that never forgets.

mod common;

use common::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use walker_wal::RmgrId;
use walker_wal::raw::RecordBuilder;
use walstat_core::{Counters, MIN_ENTRIES, Owner};

#[derive(Clone, Debug)]
enum Op {
    Write {
        xid: u32,
        rels: Vec<(u32, Option<u16>)>,
        op: u8,
    },
    End {
        xid: u32,
        subxacts: Vec<u32>,
        commit: bool,
        drops: Vec<u32>,
    },
    Crash,
    SaveAndLoad,
}

fn op() -> impl Strategy<Value = Op> {
    let xid = 700u32..712;
    let rel = (1u32..9, proptest::option::of(50u16..8000));
    prop_oneof![
        8 => (prop_oneof![Just(0), xid.clone()], prop::collection::vec(rel, 0..4), 0u8..4)
            .prop_map(|(xid, rels, op)| Op::Write { xid, rels, op }),
        3 => (xid.clone(), prop::collection::vec(xid, 0..3), any::<bool>(),
              prop::collection::vec(1u32..9, 0..2))
            .prop_map(|(xid, subxacts, commit, drops)| Op::End { xid, subxacts, commit, drops }),
        1 => Just(Op::Crash),
        1 => Just(Op::SaveAndLoad),
    ]
}

/// Bytes by relation number (0: nobody, negative: dropped), and what each xid
/// wrote in total.
#[derive(Default)]
struct Model {
    counters: BTreeMap<i64, Counters>,
    open: BTreeMap<u32, u64>,
    aborted: u64,
}

impl Model {
    fn count(&mut self, place: i64, records: u64, bytes: u64, fpi_bytes: u64) {
        let counters = self.counters.entry(place).or_default();
        counters.records += records;
        counters.bytes += bytes;
        counters.fpi_bytes += fpi_bytes;
    }

    fn end(&mut self, xids: BTreeSet<u32>, commit: bool) {
        for xid in xids {
            let bytes = self.open.remove(&xid).unwrap_or(0);
            self.aborted += if commit { 0 } else { bytes };
        }
    }

    fn wrote(&mut self, xid: u32, bytes: u64) {
        if xid != 0 {
            *self.open.entry(xid).or_default() += bytes;
        }
    }
}

proptest! {
    #[test]
    fn the_ledger_equals_the_model(ops in prop::collection::vec(op(), 0..120)) {
        let area = area(MIN_ENTRIES);
        let mut ledger = ledger(&area, MIN_ENTRIES);
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Write { xid, rels, op } => {
                    let mut record = RecordBuilder::new(RmgrId::BTREE, op << 4).xid(xid);
                    for (id, (rel, fpi)) in rels.iter().enumerate() {
                        let block = block(id as u8, *rel);
                        record = record.block(match fpi {
                            Some(len) => block.image(image(*len)),
                            None => block,
                        });
                    }
                    let (len, fpi) = apply(&mut ledger, &record.main_data(&[0; 5]));
                    let first = rels.first().map_or(0, |(rel, _)| i64::from(*rel));
                    model.count(first, 1, len - fpi, 0);
                    for (rel, fpi) in rels {
                        let fpi = fpi.map_or(0, u64::from);
                        model.count(rel.into(), 0, fpi, fpi);
                    }
                    model.wrote(xid, len);
                }
                Op::End { xid, subxacts, commit, drops } => {
                    let (len, _) = apply(&mut ledger, &end(commit, xid, &subxacts, &drops));
                    model.count(0, 1, len, 0);
                    model.wrote(xid, len);
                    model.end(subxacts.into_iter().chain([xid]).collect(), commit);
                    for rel in drops {
                        let gone = model.counters.remove(&rel.into()).unwrap_or_default();
                        model.count(-1, gone.records, gone.bytes, gone.fpi_bytes);
                    }
                }
                Op::Crash => {
                    let (len, _) = apply(&mut ledger, &shutdown_checkpoint());
                    model.count(0, 1, len, 0);
                    let all = model.open.keys().copied().collect();
                    model.end(all, false);
                }
                Op::SaveAndLoad => {
                    let state = ledger.save();
                    ledger = common::ledger(&area, MIN_ENTRIES);
                    ledger.load(&state).expect("its own state");
                }
            }
        }
        for (place, expected) in &model.counters {
            let owner = match place {
                0 => Owner::Nobody,
                -1 => Owner::Dropped(5),
                rel => relation(5, *rel as u32),
            };
            let found = Counters { aborted_bytes: 0, ..of(&area, owner) };
            prop_assert_eq!(found, *expected, "{:?}", owner);
        }
        prop_assert_eq!(sum(&area).aborted_bytes, model.aborted);
        prop_assert_eq!(ledger.status().open_transactions, model.open.len() as u64);
    }
}
