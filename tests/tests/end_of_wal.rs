//! Ends of WAL that are torn, forged or written over, after the server's own
//! tests 039_end_of_wal and 026_overwrite_contrecord: the server decides where
//! WAL ends, and the worker reads up to there and no further.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use walker_tests::oracle::assert_map_exact_and_known;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode, waldump};

const PAGE: u64 = 8192;
const SEGMENT: u64 = 1024 * 1024;
const CONF: &str = "autovacuum = off\nwal_keep_size = '256MB'\ncheckpoint_timeout = '1h'";

fn cluster(name: &str) -> Cluster {
    let cluster = Cluster::with_walker(name, &["--wal-segsize=1"], CONF);
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t (a int, b int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 2000) g",
    );
    assert_map_exact_and_known(&cluster, "postgres");
    cluster
}

fn insert_position(cluster: &Cluster) -> u64 {
    let sql = "SELECT pg_current_wal_insert_lsn() - '0/0'";
    cluster
        .safe_psql("postgres", sql)
        .parse()
        .expect("a position")
}

fn message(cluster: &Cluster, bytes: u64) {
    let sql = format!("SELECT pg_logical_emit_message(true, 'x', repeat('x', {bytes}))");
    cluster.safe_psql("postgres", &sql);
}

/// Length of the forged records that go over the end of a page.
const LONG: u64 = 4000;

/// Writes WAL until a record of that length would go over the end of its page.
fn advance(cluster: &Cluster) {
    while !(64..LONG - 64).contains(&(PAGE - insert_position(cluster) % PAGE)) {
        message(cluster, 1000);
    }
}

/// Writes into the WAL at a position, as nobody should.
fn scribble(cluster: &Cluster, at: u64, bytes: &[u8]) {
    let segment = at / SEGMENT;
    let per_id = 0x1_0000_0000 / SEGMENT;
    let name = format!(
        "pg_wal/{:08X}{:08X}{:08X}",
        1,
        segment / per_id,
        segment % per_id
    );
    let file = OpenOptions::new()
        .write(true)
        .open(cluster.data_dir().join(name));
    let file = file.expect("the segment of the end of WAL");
    file.write_all_at(bytes, at % SEGMENT).expect("WAL");
}

/// A record header: `xl_tot_len`, `xl_xid`, `xl_prev`, info, rmid, `xl_crc`.
fn record_header(len: u32, prev: u64, rmid: u8, crc: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(len.to_le_bytes());
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(prev.to_le_bytes());
    bytes.extend([0, rmid, 0, 0]);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// A page header: magic, info, timeline, address, rest of a record.
fn page_header(magic: u16, info: u16, tli: u32, address: u64, rest: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(magic.to_le_bytes());
    bytes.extend(info.to_le_bytes());
    bytes.extend(tli.to_le_bytes());
    bytes.extend(address.to_le_bytes());
    bytes.extend(rest.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

fn magic(cluster: &Cluster) -> u16 {
    match cluster.server.major {
        15 => 0xD110,
        16 => 0xD113,
        17 => 0xD116,
        18 => 0xD118,
        other => panic!("the WAL magic of {other} is not known"),
    }
}

/// What stands behind the end: at the end itself, and on the next page.
struct Forgery {
    name: &'static str,
    /// It is to go over the end of a page.
    across: bool,
    at_end: fn(prev: u64) -> Vec<u8>,
    next_page: fn(magic: u16, address: u64, rest: u32) -> Vec<u8>,
}

fn nothing(_: u16, _: u64, _: u32) -> Vec<u8> {
    vec![]
}

const CONT: u16 = 1;
const OVERWRITE: u16 = 8;

const FORGERIES: [Forgery; 14] = [
    Forgery {
        name: "a length of 1",
        across: false,
        at_end: |_| vec![1, 0, 0, 0],
        next_page: nothing,
    },
    Forgery {
        name: "a length of 23",
        across: false,
        at_end: |_| record_header(23, 0, 0, 0),
        next_page: nothing,
    },
    Forgery {
        name: "a huge length",
        across: false,
        at_end: |p| record_header(u32::MAX, p, 0, 0),
        next_page: nothing,
    },
    Forgery {
        name: "a wrong prev",
        across: false,
        at_end: |_| record_header(100, 0xdead, 0, 0),
        next_page: nothing,
    },
    Forgery {
        name: "a wrong checksum",
        across: false,
        at_end: |p| record_header(100, p, 0, 0xdead_beef),
        next_page: nothing,
    },
    Forgery {
        name: "a manager of nobody",
        across: false,
        at_end: |p| record_header(100, p, 127, 0),
        next_page: nothing,
    },
    Forgery {
        name: "noise",
        across: false,
        at_end: |_| (0..200u8).map(|n| n.wrapping_mul(37) | 1).collect(),
        next_page: nothing,
    },
    Forgery {
        name: "a record over a page of zeros",
        across: true,
        at_end: |p| record_header(4000, p, 0, 0),
        next_page: nothing,
    },
    Forgery {
        name: "a page of another magic",
        across: true,
        at_end: |p| record_header(4000, p, 0, 0),
        next_page: |_, a, r| page_header(0xD000, CONT, 1, a, r),
    },
    Forgery {
        name: "a page of another address",
        across: true,
        at_end: |p| record_header(4000, p, 0, 0),
        next_page: |m, a, r| page_header(m, CONT, 1, a + PAGE, r),
    },
    Forgery {
        name: "a page without the rest",
        across: true,
        at_end: |p| record_header(4000, p, 0, 0),
        next_page: |m, a, _| page_header(m, 0, 1, a, 0),
    },
    Forgery {
        name: "a rest of another length",
        across: true,
        at_end: |p| record_header(4000, p, 0, 0),
        next_page: |m, a, _| page_header(m, CONT, 1, a, 123_456),
    },
    Forgery {
        name: "a page of a bad info",
        across: true,
        at_end: |p| record_header(4000, p, 0, 0),
        next_page: |m, a, r| page_header(m, 0x1234, 1, a, r),
    },
    Forgery {
        name: "a record said to be written over",
        across: true,
        at_end: |p| record_header(4000, p, 0, 0),
        next_page: |m, a, _| page_header(m, OVERWRITE, 1, a, 0),
    },
];

#[test]
fn forged_ends() {
    if plain() {
        return;
    }
    let cluster = cluster("forged");
    for forgery in &FORGERIES {
        message(&cluster, 10);
        if forgery.across {
            advance(&cluster);
        }
        cluster.walker_wait();
        let offset = cluster.log_offset();
        let end = insert_position(&cluster);
        cluster.stop(Mode::Immediate);
        scribble(&cluster, end, &(forgery.at_end)(end - 40));
        let next = (end / PAGE + 1) * PAGE;
        let rest = LONG.saturating_sub(next - end) as u32;
        if !next.is_multiple_of(SEGMENT) {
            scribble(
                &cluster,
                next,
                &(forgery.next_page)(magic(&cluster), next, rest),
            );
        }
        cluster.start();
        cluster.safe_psql("postgres", "UPDATE t SET b = b + 1 WHERE a < 100");
        assert_map_exact_and_known(&cluster, "postgres");
        let log = cluster.log_from(offset);
        for word in ["WARNING:", "ERROR:", "PANIC:"] {
            assert!(!log.contains(word), "{}: {log}", forgery.name);
        }
        let (from, to, counted) = cluster.rmgr_stats();
        assert_eq!(
            counted,
            waldump::stats(&cluster, &from, &to),
            "{}",
            forgery.name
        );
    }
}

/// A record whose end was never written: the server writes over it and says
/// so in the WAL. The worker, and that of a standby, go on behind it.
#[test]
fn an_unfinished_record_is_written_over() {
    if plain() {
        return;
    }
    let primary = cluster("contrecord");
    let standby = Cluster::standby_of("contstandby", &primary);
    // The record begins in one segment and ends in the next.
    while !(SEGMENT / 3..SEGMENT / 2).contains(&(insert_position(&primary) % SEGMENT)) {
        message(&primary, 100_000);
    }
    primary.wait_for_catchup(&standby);
    standby.walker_wait();
    standby.stop(Mode::Immediate);
    let first = insert_position(&primary) / SEGMENT;
    message(&primary, 900_000);
    let last = insert_position(&primary) / SEGMENT;
    assert_eq!(last, first + 1);
    primary.stop(Mode::Immediate);
    let name = format!("pg_wal/{:08X}{:08X}{:08X}", 1, 0, last);
    std::fs::remove_file(primary.data_dir().join(name)).expect("the last segment");

    let offset = primary.log_offset();
    primary.start();
    standby.start();
    primary.safe_psql(
        "postgres",
        "UPDATE t SET b = b + 1; CREATE TABLE after AS SELECT 1 AS a",
    );
    primary.wait_for_catchup(&standby);
    for cluster in [&primary, &standby] {
        cluster.walker_wait();
        assert_map_exact_and_known(cluster, "postgres");
        let (from, to, counted) = cluster.rmgr_stats();
        assert_eq!(
            counted,
            waldump::stats(cluster, &from, &to),
            "{}",
            cluster.name
        );
        assert!(!cluster.log_from(0).contains("walker lost"));
    }
    assert!(!primary.log_from(offset).contains("WARNING:"));
    let skipped = "successfully skipped missing contrecord";
    assert!(
        standby.log_from(0).contains(skipped),
        "no record was written over"
    );
}
