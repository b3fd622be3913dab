//! What a directory of WAL segments says of garbage: a development tool.
//!
//! `garbage_of_wal <major> <directory> <segment size> [<restart every n records>]`
//! prints per relation from which block on blocks are known to be empty unless
//! a range says otherwise, and per range its number, the first unknown block,
//! dead tuples, dead items and tuples (`-` if not counted). The statistics go
//! to standard error. With the last argument the ledger is saved and loaded on
//! the way.

use std::collections::HashMap;
use std::error::Error;

use garbagemap_core::{Config, Ledger, Oracle, Page, RangeCounts, Sink, XidStatus};
use walker_wal::raw::WalReader;
use walker_wal::xact::{self, XactRecord};
use walker_wal::{BlockNumber, Lsn, Major, Record, RelFileLocator, RmgrId};

#[derive(Default)]
struct Place {
    locator: RelFileLocator,
    known_from: Option<BlockNumber>,
    ranges: HashMap<u32, RangeCounts>,
}

#[derive(Default)]
struct Map {
    places: Vec<Place>,
}

impl Sink for Map {
    type Rel = usize;
    fn open(&mut self, locator: RelFileLocator) -> Option<usize> {
        self.places.push(Place {
            locator,
            ..Place::default()
        });
        Some(self.places.len() - 1)
    }
    fn publish(&mut self, rel: usize, rangeno: u32, counts: RangeCounts) -> bool {
        self.places[rel].ranges.insert(rangeno, counts);
        true
    }
    fn set_known_from(&mut self, rel: usize, known_from: Option<BlockNumber>) {
        self.places[rel].known_from = known_from;
    }
    fn truncate(&mut self, rel: usize, first_rangeno: u32) {
        self.places[rel]
            .ranges
            .retain(|&rangeno, _| rangeno < first_rangeno);
    }
    fn close(&mut self, rel: usize) {
        self.places[rel] = Place::default();
    }
}

/// Knows the ends of all transactions in the WAL, those that are still to come
/// included. What did not end was lost, unless it is prepared.
#[derive(Default)]
struct Foresight(HashMap<u32, XidStatus>);

impl Oracle for Foresight {
    fn xid_status(&mut self, xid: u32) -> XidStatus {
        *self.0.get(&xid).unwrap_or(&XidStatus::Aborted)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [major, directory, size, rest @ ..] = &args[..] else {
        return Err("usage: garbage_of_wal <major> <directory> <segment size>".into());
    };
    let major = match major.as_str() {
        "15" => Major::V15,
        "16" => Major::V16,
        "17" => Major::V17,
        "18" => Major::V18,
        other => return Err(format!("unsupported major version {other}").into()),
    };
    let size: u32 = size.parse()?;
    let restart: u64 = rest.first().map_or(Ok(u64::MAX), |n| n.parse())?;
    let mut names: Vec<_> = std::fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit()))
        .collect();
    names.sort();
    let first = names.first().ok_or("no WAL segments")?;
    let per_id = 0x1_0000_0000 / u64::from(size);
    let segno =
        u64::from_str_radix(&first[8..16], 16)? * per_id + u64::from_str_radix(&first[16..], 16)?;
    let start = Lsn(segno * u64::from(size));
    let mut bytes = Vec::new();
    for name in &names {
        bytes.extend(std::fs::read(format!("{directory}/{name}"))?);
    }

    let mut foresight = Foresight::default();
    let mut wal = WalReader::new(major, &bytes, start, size);
    while let Ok(Some(rec)) = wal.next_record() {
        if rec.rmid() != RmgrId::XACT {
            continue;
        }
        let (xids, status) = match xact::decode(major, &rec)? {
            XactRecord::Commit(end) | XactRecord::CommitPrepared(end) => {
                (end.xids().collect(), XidStatus::Committed)
            }
            XactRecord::Abort(end) | XactRecord::AbortPrepared(end) => {
                (end.xids().collect(), XidStatus::Aborted)
            }
            XactRecord::Prepare(prepare) => {
                let xids: Vec<u32> = prepare.subxacts.iter().chain([prepare.xid]).collect();
                (xids, XidStatus::InProgress)
            }
            _ => continue,
        };
        foresight
            .0
            .extend(xids.into_iter().map(|xid| (xid, status)));
    }

    let mut ledger = Ledger::new(Config::default(), Map::default());
    let mut wal = WalReader::new(major, &bytes, start, size);
    let (mut records, mut last) = (0u64, Lsn(0));
    let begin = std::time::Instant::now();
    while let Ok(Some(rec)) = wal.next_record() {
        let mut restore = |_, _: &mut Page| false;
        if let Err(e) = ledger.apply(major, &rec, &mut foresight, &mut restore) {
            eprintln!("{}: {e}", rec.lsn());
        }
        records += 1;
        last = rec.end_lsn();
        if records % 512 == 0 {
            ledger.publish(None);
        }
        if records % restart == 0 {
            let mut state = Vec::new();
            ledger.save(&mut state)?;
            ledger = Ledger::new(Config::default(), Map::default());
            ledger.load(&mut state.as_slice())?;
        }
    }
    ledger.publish(None);
    eprintln!("{records} records to {last} in {:?}", begin.elapsed());
    let places = ledger.sink().places.iter();
    for Place {
        locator,
        known_from,
        ranges,
    } in places.filter(|p| p.locator.rel_number != 0)
    {
        if let Some(blkno) = known_from {
            println!("{locator} from {blkno}");
        }
        for (rangeno, counts) in ranges {
            println!(
                "{locator} {rangeno} {} {} {} {}",
                counts.first_unknown,
                counts.dead,
                counts.items,
                counts.tuples.map_or("-".to_owned(), |n| n.to_string()),
            );
        }
    }
    for mismatch in ledger.take_mismatches() {
        eprintln!("{mismatch:?}");
    }
    eprintln!("{:#?}", ledger.stats());
    Ok(())
}
