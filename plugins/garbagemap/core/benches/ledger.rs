//! What a record costs: `cargo bench -p garbagemap-core`.
//!
//! Transactions as pgbench has them, without page images: three updates on
//! the same page, one insertion, a commit; now and then a page is pruned.

use std::time::Instant;

use garbagemap_core::{Config, Ledger, Oracle, Page, RangeCounts, Sink, XidStatus};
use walker_wal::{Block, BlockNumber, ForkNumber, Lsn, Major, Record, RelFileLocator, RmgrId};

#[derive(Clone)]
struct Rec {
    rmid: RmgrId,
    info: u8,
    xid: u32,
    main: [u8; 16],
    main_len: u8,
    rel: u32,
    blkno: Option<BlockNumber>,
    data: [u8; 24],
    data_len: u8,
    lsn: u64,
}

impl Record for Rec {
    fn lsn(&self) -> Lsn {
        Lsn(self.lsn)
    }
    fn end_lsn(&self) -> Lsn {
        Lsn(self.lsn + 8)
    }
    fn prev_lsn(&self) -> Lsn {
        Lsn(0)
    }
    fn xid(&self) -> u32 {
        self.xid
    }
    fn rmid(&self) -> RmgrId {
        self.rmid
    }
    fn info(&self) -> u8 {
        self.info
    }
    fn origin(&self) -> u16 {
        0
    }
    fn total_len(&self) -> u32 {
        0
    }
    fn main_data(&self) -> &[u8] {
        &self.main[..self.main_len.into()]
    }
    fn max_block_id(&self) -> Option<u8> {
        self.blkno.map(|_| 0)
    }
    fn block(&self, id: u8) -> Option<Block<'_>> {
        let blkno = self.blkno.filter(|_| id == 0)?;
        Some(Block {
            id,
            locator: rel(self.rel),
            fork: ForkNumber::MAIN,
            blkno,
            will_init: false,
            data: (self.data_len > 0).then(|| &self.data[..self.data_len.into()]),
            image: None,
        })
    }
}

fn rel(rel_number: u32) -> RelFileLocator {
    RelFileLocator {
        spc_oid: 1663,
        db_oid: 5,
        rel_number,
    }
}

struct Nowhere;

impl Sink for Nowhere {
    type Rel = ();
    fn open(&mut self, _: RelFileLocator) -> Option<()> {
        Some(())
    }
    fn publish(&mut self, (): (), _: u32, counts: RangeCounts) -> bool {
        std::hint::black_box(counts);
        true
    }
    fn set_known_from(&mut self, (): (), _: Option<BlockNumber>) {}
    fn truncate(&mut self, (): (), _: u32) {}
    fn close(&mut self, (): ()) {}
}

struct Nobody;

impl Oracle for Nobody {
    fn xid_status(&mut self, _: u32) -> XidStatus {
        XidStatus::Aborted
    }
}

const ROWS: u16 = 60;
const SIZES: [u32; 4] = [160_000, 60, 10, 2_000];

struct Pgbench {
    records: Vec<Rec>,
    /// Versions on each page: the next free line pointer.
    next: Vec<Vec<u16>>,
    random: u64,
}

impl Pgbench {
    fn push(&mut self, rmid: RmgrId, info: u8, xid: u32, main: &[u8], place: Option<(u32, u32)>) {
        let mut rec = Rec {
            rmid,
            info,
            xid,
            main: [0; 16],
            main_len: main.len() as u8,
            rel: place.map_or(0, |p| p.0),
            blkno: place.map(|p| p.1),
            data: [0; 24],
            data_len: 0,
            lsn: self.records.len() as u64 * 8,
        };
        rec.main[..main.len()].copy_from_slice(main);
        self.records.push(rec);
    }

    fn data(&mut self, data: &[u8]) {
        let rec = self.records.last_mut().unwrap();
        rec.data[..data.len()].copy_from_slice(data);
        rec.data_len = data.len() as u8;
    }

    fn below(&mut self, n: u32) -> u32 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) as u32 % n
    }

    fn update(&mut self, rel: u32, xid: u32) {
        let blkno = self.below(SIZES[rel as usize]);
        let next = self.next[rel as usize][blkno as usize];
        if next >= ROWS + 30 {
            self.next[rel as usize][blkno as usize] = ROWS + 1;
            self.push(RmgrId::HEAP2, 0x10, 0, &[0, 0x80], Some((rel, blkno)));
            // Ten of them, which is what fits here.
            let gone: Vec<u8> = [10u16]
                .into_iter()
                .chain(ROWS + 1..=ROWS + 10)
                .flat_map(u16::to_le_bytes)
                .collect();
            self.data(&gone);
            return self.update(rel, xid);
        }
        self.next[rel as usize][blkno as usize] += 1;
        let old = if next == ROWS + 1 { 1 } else { next - 1 };
        let mut main = xid.to_le_bytes().to_vec();
        main.extend(old.to_le_bytes());
        main.extend([0, 0, 0, 0, 0, 0]);
        main.extend(next.to_le_bytes());
        self.push(RmgrId::HEAP, 0x40, xid, &main, Some((rel, blkno)));
        self.data(&[1, 0, 0, 8, 24, 1, 2, 3]);
    }
}

fn main() {
    let mut bench = Pgbench {
        records: Vec::new(),
        next: SIZES.iter().map(|&n| vec![ROWS + 1; n as usize]).collect(),
        random: 1,
    };
    let set = std::env::var("TRANSACTIONS").ok();
    let transactions = set.and_then(|n| n.parse().ok()).unwrap_or(400_000u32);
    for xid in 1000..1000 + transactions {
        (0..3).for_each(|rel| bench.update(rel, xid));
        let (at, off) = (xid / 200 % SIZES[3], (xid % 200) as u8 + 1);
        let info = if off == 1 { 0x80 } else { 0 };
        bench.push(RmgrId::HEAP, info, xid, &[off, 0, 0], Some((3, at)));
        bench.data(&[1, 0, 0, 8, 24, 1]);
        bench.push(RmgrId::XACT, 0, xid, &[0; 8], None);
    }
    for count_tuples in [true, false] {
        let config = Config {
            count_tuples,
            max_memory: 1 << 30,
            ..Config::default()
        };
        let mut ledger = Ledger::new(config, Nowhere);
        let mut restore = |_, _: &mut Page| false;
        for number in 0..4u32 {
            let mut create = bench.records[0].clone();
            (create.rmid, create.info, create.blkno) = (RmgrId::SMGR, 0x10, None);
            let main = [1663, 5, number, 0].map(u32::to_le_bytes).concat();
            create.main.copy_from_slice(&main);
            create.main_len = 16;
            ledger
                .apply(Major::V17, &create, &mut Nobody, &mut restore)
                .unwrap();
        }
        let begin = Instant::now();
        for rec in &bench.records {
            ledger
                .apply(Major::V17, rec, &mut Nobody, &mut restore)
                .unwrap();
        }
        ledger.publish(None);
        let took = begin.elapsed();
        let stats = ledger.stats();
        println!(
            "count_tuples={count_tuples}: {:.0} ns per record, {:.0} ns per transaction; \
             {} blocks known, {} with garbage, {} bytes per block with garbage",
            took.as_nanos() as f64 / bench.records.len() as f64,
            took.as_nanos() as f64 / f64::from(transactions),
            stats.blocks_known,
            stats.blocks_with_garbage,
            stats.memory_used / stats.blocks_with_garbage.max(1),
        );
    }
}
