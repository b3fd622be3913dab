//! `pg_waldump` as an independent reader of the same WAL.

use crate::cluster::Cluster;
use crate::server::{output, run, text};
use std::collections::BTreeMap;
use std::process::Command;

/// What was read of one resource manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RmgrCounts {
    /// Records.
    pub records: u64,
    /// Their bytes, with page images.
    pub bytes: u64,
    /// The bytes of page images among them.
    pub fpi_bytes: u64,
}

/// `pg_waldump --stats` of the records between two positions, by resource
/// manager; those without any record are left out.
pub fn stats(cluster: &Cluster, from: &str, to: &str) -> BTreeMap<String, RmgrCounts> {
    stats_by(cluster, "--stats", from, to)
}

/// As [`stats`], by resource manager and record type: `Heap/INSERT`.
pub fn record_stats(cluster: &Cluster, from: &str, to: &str) -> BTreeMap<String, RmgrCounts> {
    stats_by(cluster, "--stats=record", from, to)
}

/// As [`stats`]; pg_waldump's complaint if it cannot read that WAL (any more).
pub fn try_stats(
    cluster: &Cluster,
    from: &str,
    to: &str,
) -> Result<BTreeMap<String, RmgrCounts>, String> {
    let output = output(&mut stats_command(cluster, "--stats", from, to));
    match output.status.success() {
        true => Ok(parse_stats(&text(&output))),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// As [`stats`] of the WAL of one timeline.
pub fn stats_of_timeline(
    cluster: &Cluster,
    timeline: u32,
    from: &str,
    to: &str,
) -> BTreeMap<String, RmgrCounts> {
    let mut command = stats_command_on(cluster, timeline, "--stats", from, to);
    parse_stats(&text(&run(&mut command)))
}

/// Adds the counts of one stretch of WAL to those of another.
pub fn add(to: &mut BTreeMap<String, RmgrCounts>, more: BTreeMap<String, RmgrCounts>) {
    for (name, counts) in more {
        let sum = to.entry(name).or_default();
        sum.records += counts.records;
        sum.bytes += counts.bytes;
        sum.fpi_bytes += counts.fpi_bytes;
    }
}

/// What the worker counted is what pg_waldump finds, from wherever the worker
/// began, over all timelines.
pub fn every_record_is_counted(cluster: &Cluster) {
    let (from, to, counted) = cluster.rmgr_stats();
    let now: u32 = cluster.walker_status()["timeline"]
        .parse()
        .expect("a number");
    let mut dumped = BTreeMap::new();
    let mut begin = from.clone();
    for timeline in first_timeline(cluster, &from, now)..=now {
        let end = match timeline == now {
            true => to.clone(),
            false => cluster.switch_point(timeline + 1),
        };
        let part = stats_of_timeline(cluster, timeline, &begin, &end);
        add(&mut dumped, part);
        begin = end;
    }
    assert_eq!(
        counted, dumped,
        "walker_rmgr_stats and pg_waldump differ from {from} to {to}"
    );
}

/// The timeline a position belongs to.
fn first_timeline(cluster: &Cluster, lsn: &str, now: u32) -> u32 {
    let later = |timeline: &u32| {
        let switch = cluster.switch_point(timeline + 1);
        let sql = format!("SELECT '{lsn}'::pg_lsn < '{switch}'::pg_lsn");
        cluster.safe_psql("postgres", &sql) == "t"
    };
    (1..now).find(later).unwrap_or(now)
}

fn stats_by(cluster: &Cluster, what: &str, from: &str, to: &str) -> BTreeMap<String, RmgrCounts> {
    parse_stats(&text(&run(&mut stats_command(cluster, what, from, to))))
}

fn stats_command(cluster: &Cluster, what: &str, from: &str, to: &str) -> Command {
    stats_command_on(cluster, 1, what, from, to)
}

fn stats_command_on(cluster: &Cluster, timeline: u32, what: &str, from: &str, to: &str) -> Command {
    let wal = cluster.data_dir().join("pg_wal");
    let mut command = cluster.server.command("pg_waldump");
    command.args([what, "--start", from, "--end", to]);
    command.args(["--timeline", &timeline.to_string()]);
    command.arg("--path").arg(&wal);
    // Without a segment's name it looks for the segment size in whichever file
    // it finds first, which may be one that has not been written to yet.
    let size = "SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'";
    let size = cluster.safe_psql("postgres", size).parse();
    let size: u64 = size.expect("a number");
    let (first, last) = (position(from), position(to).saturating_sub(1));
    let names = [first, last.max(first)].map(|lsn| segment_name(timeline, lsn / size, size));
    if names.iter().all(|name| wal.join(name).exists()) {
        command.args(names);
    }
    command
}

fn position(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').expect("a position");
    let half = |hex| u64::from_str_radix(hex, 16).expect("a position");
    half(high) << 32 | half(low)
}

fn segment_name(timeline: u32, segment: u64, size: u64) -> String {
    let per_id = 0x1_0000_0000 / size;
    let (id, number) = (segment / per_id, segment % per_id);
    format!("{timeline:08X}{id:08X}{number:08X}")
}

fn parse_stats(printed: &str) -> BTreeMap<String, RmgrCounts> {
    let mut counts = BTreeMap::new();
    // Type  N (%)  Record size (%)  FPI size (%)  Combined size (%)
    for line in printed.lines() {
        let line = line.replace(['(', ')'], " ");
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() != 9 || words[0] == "Total" {
            continue;
        }
        let number = |at: usize| words[at].parse::<u64>().ok();
        if let (Some(records), Some(fpi_bytes), Some(bytes)) = (number(1), number(5), number(7))
            && records > 0
        {
            counts.insert(
                words[0].to_owned(),
                RmgrCounts {
                    records,
                    bytes,
                    fpi_bytes,
                },
            );
        }
    }
    assert!(
        !counts.is_empty(),
        "pg_waldump's table is not understood:\n{printed}"
    );
    counts
}

/// The last records that touch a relation's main fork, as pg_waldump prints
/// them; for the message of a failed test. `locator` is `spc/db/rel`.
pub fn records_of(cluster: &Cluster, locator: &str, blocks: &[u32], last: usize) -> String {
    let wal = cluster.data_dir().join("pg_wal");
    let mut segments: Vec<_> = std::fs::read_dir(&wal)
        .into_iter()
        .flatten()
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| name.len() == 24)
        .collect();
    segments.sort();
    let Some(first) = segments.first() else {
        return String::new();
    };
    let mut lines = Vec::new();
    for block in blocks {
        let mut command = cluster.server.command("pg_waldump");
        command
            .arg("--path")
            .arg(&wal)
            .args(["--relation", locator, "--fork", "main"]);
        command.args(["--block", &block.to_string(), first]);
        let printed = text(&output(&mut command));
        lines.extend(printed.lines().map(str::to_owned));
    }
    let skip = lines.len().saturating_sub(last);
    lines[skip..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_table_of_pg_waldump() {
        let printed = "\
WAL statistics between 0/152B848 and 0/1952728:
Type                                           N      (%)          Record size      (%)             FPI size      (%)        Combined size      (%)
----                                           -      ---          -----------      ---             --------      ---        -------------      ---
XLOG                                          45 (  0.36)                 2272 (  0.23)               118032 ( 12.40)               120304 (  6.23)
CommitTs                                       0 (  0.00)                    0 (  0.00)                    0 (  0.00)                    0 (  0.00)
                                        --------                      --------                      --------                      --------
Total                                      12515                        980512 [50.74%]               951896 [49.26%]              1932408 [100%]
";
        let expected = RmgrCounts {
            records: 45,
            bytes: 120304,
            fpi_bytes: 118032,
        };
        assert_eq!(
            parse_stats(printed),
            BTreeMap::from([("XLOG".to_owned(), expected)])
        );
    }
}
