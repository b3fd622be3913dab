//! How the cost of a record grows: lines that must not bend upwards.

use crate::cases::{Nowhere, apply, ledger, map, read_map};
use crate::cpu;
use crate::data::{self, Backlog, COUNTERS};
use crate::memory;
use crate::report::{Report, Row};
use crate::stats::{ratio, summary};
use crate::stream::{Numbers, ROWS, Stream};
use crate::walk::walk;
use crate::workloads;
use garbagemap_core::Ledger;

const LEDGER: &str = "CPU of the ledger per record, by number of";

/// More plugins, on a server: each is called for every record.
pub fn plugins(rounds: usize, size: u64, to: &mut Report) {
    data::libraries();
    let workload = &workloads::ALL[4];
    let backlog = Backlog::of(workload, size);
    let names = |n: usize| -> String {
        let names: Vec<String> = (1..=n).map(|n| format!("counter{n}")).collect();
        names.join(", ")
    };
    let counts = [1, 2, 4, COUNTERS];
    let mut costs = vec![Vec::new(); counts.len()];
    for round in 0..rounds {
        eprintln!("plugins, round {}", round + 1);
        for (n, costs) in counts.iter().zip(&mut costs) {
            let cpu = walk(&backlog, &names(*n), |_| ()).cpu;
            costs.push(cpu * 1e9 / backlog.stretch.records as f64);
        }
    }
    for (n, list) in counts.iter().zip(&costs) {
        let row = Row::new(
            "CPU of a walk per record, by number of",
            &format!("plugins: {n}"),
            workload.name,
            "ns",
            summary(list),
        );
        to.rows
            .push(row.against("with one", ratio(list, &costs[0])));
    }
}

/// A ledger and what it is fed with to measure.
type Point = (Ledger<Nowhere>, Stream);

/// The pure parts: one line each.
pub fn pure(rounds: usize, _: u64, to: &mut Report) {
    line(to, rounds, "tables", &[10, 100, 1_000, 10_000], tables);
    line(
        to,
        rounds,
        "open transactions",
        &[1, 10, 100, 1_000, 5_000],
        open,
    );
    line(
        to,
        rounds,
        "open transactions that insert into a range",
        &[1, 10, 100, 1_000],
        inserting,
    );
    line(
        to,
        rounds,
        "large transactions at a time",
        &[1, 4, 16, 64, 256],
        large,
    );
    line(
        to,
        rounds,
        "savepoints of a transaction",
        &[1, 10, 100, 1_000, 10_000, 100_000],
        savepoints,
    );
    line(
        to,
        rounds,
        "ranges of a table",
        &[1_000, 10_000, 100_000],
        ranges,
    );
    line(
        to,
        rounds,
        "blocks in 100 that get garbage",
        &[1, 10, 50, 100],
        share,
    );
    memory::measure(to);
    reading(to, rounds);
}

fn line(to: &mut Report, rounds: usize, of: &str, at: &[u32], make: fn(u32) -> Point) {
    let mut costs = vec![Vec::new(); at.len()];
    for _ in 0..rounds {
        for (n, costs) in at.iter().zip(&mut costs) {
            let (mut ledger, stream) = make(*n);
            let before = cpu::of_thread();
            apply(&mut ledger, &stream);
            costs.push((cpu::of_thread() - before) * 1e9 / stream.len() as f64);
        }
    }
    for (n, list) in at.iter().zip(&costs) {
        let row = Row::new(LEDGER, &format!("{of}: {n}"), "ledger", "ns", summary(list));
        to.rows
            .push(row.against("the first", ratio(list, &costs[0])));
    }
}

/// A ledger that knows tables of so many blocks to be filled.
fn filled(tables: u32, blocks: u32) -> Ledger<Nowhere> {
    let mut ledger = ledger();
    apply(&mut ledger, &Stream::filled(0..tables, blocks, ROWS));
    ledger
}

/// 100,000 transactions, each deletes a row of any of the tables.
fn tables(n: u32) -> Point {
    let blocks = 20_000 / n;
    let (mut stream, mut numbers) = (Stream::default(), Numbers::new());
    for xid in 1_000..101_000 {
        let (rel, blkno) = (numbers.below(n), numbers.below(blocks));
        stream.delete(xid, rel, blkno, numbers.below(ROWS.into()) as u16 + 1);
        stream.commit(xid, &[]);
    }
    (filled(n, blocks), stream)
}

/// So many transactions at a time, ten rows each, in turns.
fn open(n: u32) -> Point {
    let (mut stream, mut numbers) = (Stream::default(), Numbers::new());
    let groups = 20_000 / n;
    for group in 0..groups {
        let xids = 1_000 + group * n..1_000 + (group + 1) * n;
        for _ in 0..10 {
            for xid in xids.clone() {
                let off = numbers.below(ROWS.into()) as u16 + 1;
                stream.delete(xid, 0, numbers.below(5_000), off);
            }
        }
        xids.for_each(|xid| stream.commit(xid, &[]));
    }
    (filled(1, 5_000), stream)
}

/// So many transactions at a time, in turns: all fill the pages of a range, and
/// the next ones begin the same pages anew.
fn inserting(n: u32) -> Point {
    let mut stream = Stream::default();
    stream.create(0);
    let mut xid = 1_000;
    while stream.len() < 100_000 {
        let rows = 32 * u32::from(ROWS);
        for row in 0..rows {
            let (blkno, off) = (row / u32::from(ROWS), row % u32::from(ROWS) + 1);
            stream.insert(xid + row % n, 0, blkno, off as u16);
        }
        (xid..xid + n).for_each(|xid| stream.commit(xid, &[]));
        xid += n;
    }
    (ledger(), stream)
}

/// So many transactions, row by row in turns, each of which puts thousands of
/// rows from pages of its own to others.
fn large(n: u32) -> Point {
    const BLOCKS: u32 = 2_048;
    let mut stream = Stream::default();
    let each = BLOCKS / n;
    for row in 0..each * u32::from(ROWS) {
        let (block, off) = (row / u32::from(ROWS), (row % u32::from(ROWS) + 1) as u16);
        for of in 0..n {
            let (xid, blkno) = (1_000 + of, of * each + block);
            stream.delete(xid, 0, blkno, off);
            stream.insert(xid, 0, BLOCKS + blkno, off);
        }
    }
    (0..n).for_each(|of| stream.commit(1_000 + of, &[]));
    (filled(1, BLOCKS), stream)
}

/// A row for each subtransaction.
fn savepoints(n: u32) -> Point {
    let (mut stream, mut numbers) = (Stream::default(), Numbers::new());
    let mut xid = 1_000;
    while stream.len() < 200_000 {
        let top = xid;
        let subxacts: Vec<u32> = (top + 1..=top + n).collect();
        for sub in &subxacts {
            let off = numbers.below(ROWS.into()) as u16 + 1;
            stream.delete(*sub, 0, numbers.below(5_000), off);
        }
        stream.commit(top, &subxacts);
        xid += n + 1;
    }
    (filled(1, 5_000), stream)
}

/// One row in a range, all over the table.
fn ranges(n: u32) -> Point {
    let mut stream = Stream::default();
    let mut numbers = Numbers::new();
    let mut ledger = ledger();
    let mut create = Stream::default();
    create.create(0);
    apply(&mut ledger, &create);
    for xid in 1_000..101_000 {
        let blkno = numbers.below(n) * 32;
        let off = numbers.below(ROWS.into()) as u16 + 1;
        stream.delete(xid, 0, blkno, off);
        stream.commit(xid, &[]);
    }
    (ledger, stream)
}

/// A mass delete of a third of the rows of as many blocks each time, in tables of
/// which they are so many per cent: the fewer, the larger the table.
fn share(per_cent: u32) -> Point {
    const GARBAGE: u32 = 2_500;
    let (mut stream, mut rows) = (Stream::default(), Stream::default());
    rows.create(0);
    let blocks = (0..).filter(|b| b % 100 < per_cent).take(GARBAGE as usize);
    for (n, blkno) in (1..).zip(blocks) {
        let xid = 1_000 + n / 50;
        (1..=ROWS).for_each(|off| rows.insert(900, 0, blkno, off));
        for off in (1..=ROWS).step_by(3) {
            stream.delete(xid, 0, blkno, off);
        }
        if n % 50 == 49 || n == GARBAGE {
            stream.commit(xid, &[]);
        }
    }
    rows.commit(900, &[]);
    let mut ledger = ledger();
    apply(&mut ledger, &rows);
    (ledger, stream)
}

/// All ranges of a table, as SQL functions read them: 4 million are a TB.
fn reading(to: &mut Report, rounds: usize) {
    for ranges in [4_000, 40_000, 400_000, 4_000_000] {
        let area = map(ranges);
        let times: Vec<f64> = (0..rounds)
            .map(|_| {
                let before = cpu::of_thread();
                read_map(&area, ranges);
                (cpu::of_thread() - before) * 1e3
            })
            .collect();
        to.rows.push(Row::new(
            "CPU to read the counters of a table, without SQL",
            &format!("{} GB, {} ranges", ranges / 4_000, ranges),
            "map reader",
            "ms",
            summary(&times),
        ));
    }
}
