//! The ledger alone on real WAL: a workload's, as [`crate::data`] keeps it.

use crate::cases::{self, Nowhere};
use crate::data::Stretch;
use crate::stream::Stream;
use garbagemap_core::Ledger;
use std::fs;
use std::path::Path;
use walker_wal::lsn::{DEFAULT_SEGMENT_SIZE, segment_file_name};
use walker_wal::raw::WalReader;
use walker_wal::{Lsn, Major, Record};

/// Length of a state file's header; see the crate walker-state.
const STATE_HEADER: usize = 96;

/// The ledger in front of the WAL in this directory, and the WAL.
pub fn ledger_and_wal(dir: &Path) -> (Ledger<Nowhere>, Stream) {
    let text = fs::read_to_string(dir.join("stretch.json")).expect("stretch.json");
    let stretch: Stretch = serde_json::from_str(&text).expect("stretch.json");
    let [from, to] = [&stretch.from, &stretch.to].map(|lsn| lsn.parse().expect("a position"));
    let version = fs::read_to_string(dir.join("data/PG_VERSION")).expect("PG_VERSION");
    let major = match version.trim() {
        "15" => Major::V15,
        "16" => Major::V16,
        "17" => Major::V17,
        _ => Major::V18,
    };
    let mut ledger = cases::ledger();
    let state = fs::read(dir.join("data/pg_walker/garbagemap")).expect("a state");
    ledger
        .load(&mut &state[STATE_HEADER..])
        .expect("a state of this version");
    (ledger, read(&dir.join("data/pg_wal"), major, from, to))
}

fn read(dir: &Path, major: Major, from: Lsn, to: Lsn) -> Stream {
    let size = DEFAULT_SEGMENT_SIZE;
    let first = from.segment_number(size);
    let mut bytes = Vec::new();
    for segno in first..=to.segment_number(size) {
        bytes.extend(fs::read(dir.join(segment_file_name(1, segno, size))).expect("a segment"));
    }
    let start = Lsn(first * u64::from(size));
    let mut reader = WalReader::new(major, &bytes, start, size);
    let mut stream = Stream::of(major);
    while let Some(record) = reader.next_record().expect("valid WAL") {
        let wanted = Ledger::<Nowhere>::wants(record.rmid());
        if wanted && record.end_lsn() > from && record.lsn() < to {
            stream.add(record.bytes(), record.lsn(), record.end_lsn());
        }
    }
    stream
}
