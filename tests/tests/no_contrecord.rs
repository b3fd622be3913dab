//! Timelines that begin where a record was left unfinished, after the server's
//! own test 043_no_contrecord_switch: the end of the record never reached the
//! standbys, one of which is promoted.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use walker_tests::oracle::assert_map_exact_and_known;
use walker_tests::waldump::every_record_is_counted;
use walker_tests::walker::{PRELOAD, plain};
use walker_tests::{Cluster, Mode};
use walker_wal::lsn::segment_file_name;

const PAGE: u64 = 8192;
const SEGMENT: u64 = 1024 * 1024;

/// Where the unfinished record begins, as an offset in its page and segment.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    /// In the last page of a segment: what is missing is the next segment.
    at_segment_end: bool,
}

fn insert_position(cluster: &Cluster) -> u64 {
    let sql = "SELECT pg_current_wal_insert_lsn() - '0/0'";
    let position = cluster.safe_psql("postgres", sql).parse();
    position.expect("a position")
}

fn message(cluster: &Cluster, bytes: u64) {
    // Alone in the WAL, without a commit record behind it.
    let sql = format!("SELECT pg_logical_emit_message(false, 'x', repeat('x', {bytes}))");
    cluster.safe_psql("postgres", &sql);
}

/// Writes WAL up to a place where the next record will go over the end.
fn advance(cluster: &Cluster, place: Place) {
    let left = |position: u64| match place.at_segment_end {
        true => SEGMENT - position % SEGMENT,
        false => PAGE - position % PAGE,
    };
    // A position right behind a page header is no place for this.
    while !(200..2000).contains(&left(insert_position(cluster))) {
        let left = left(insert_position(cluster));
        message(cluster, if left > 20_000 { 10_000 } else { 500 });
    }
    cluster.flush_wal();
    // The flush itself may have gone over it.
    if !(100..2000).contains(&left(insert_position(cluster))) {
        advance(cluster, place);
    }
}

fn segment(cluster: &Cluster, timeline: u32, number: u64) -> PathBuf {
    let name = segment_file_name(timeline, number, SEGMENT as u32);
    cluster.data_dir().join("pg_wal").join(name)
}

/// By hand: a server that archives takes the last segment of a timeline away,
/// and pg_waldump shall still read it.
fn archive(primary: &Cluster, from: PathBuf) {
    let to = primary.archive().join(from.file_name().expect("a name"));
    fs::copy(&from, &to).expect("the archive");
    primary.server.give(&to);
}

fn standby(name: &str, primary: &Cluster) -> Cluster {
    let standby = Cluster::init_from_backup(name, primary, "backup");
    standby.append_conf(&format!(
        "archive_mode = off\nrestore_command = 'cp \"{}/%f\" \"%p\"'",
        primary.archive().display()
    ));
    standby.enable_streaming(primary);
    standby
}

fn play(place: Place) {
    let primary = Cluster::new(place.name);
    primary.init_with(&["--wal-segsize=1"]);
    primary.append_conf(PRELOAD);
    primary.append_conf("autovacuum = off\nwal_keep_size = '256MB'\ncheckpoint_timeout = '1h'");
    primary.enable_archiving();
    primary.start();
    primary.create_extensions("postgres");
    primary.safe_psql(
        "postgres",
        "CREATE TABLE t (a int, b int);
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 2000) g;
         DELETE FROM t WHERE a % 5 = 0",
    );
    primary.backup_with_state("backup");
    primary.safe_psql("postgres", "UPDATE t SET b = 1 WHERE a % 3 = 0");

    advance(&primary, place);
    let end = insert_position(&primary);
    let missing = (end / PAGE + 1) * PAGE;
    assert_eq!(missing.is_multiple_of(SEGMENT), place.at_segment_end);
    message(&primary, 4000);
    primary.flush_wal();
    primary.stop(Mode::Immediate);
    // The record's second page was never written.
    let (last, file) = (end / SEGMENT, segment(&primary, 1, missing / SEGMENT));
    if place.at_segment_end {
        fs::remove_file(&file).expect("the next segment");
    } else {
        let file = OpenOptions::new().write(true).open(&file);
        let file = file.expect("the last segment");
        let zeros = [0; PAGE as usize];
        file.write_all_at(&zeros, missing % SEGMENT).expect("WAL");
    }
    archive(&primary, segment(&primary, 1, last));

    let promoted = standby("promoted", &primary);
    let follower = standby("follower", &primary);
    let reached = format!("SELECT pg_last_wal_replay_lsn() - '0/0' = {end}");
    for standby in [&promoted, &follower] {
        standby.start();
        standby.poll_query_until("postgres", &reached, "t");
        if !place.at_segment_end {
            standby.wait_for_log("invalid magic number 0000", 0);
        }
        standby.walker_wait();
        assert_map_exact_and_known(standby, "postgres");
    }
    let workers = [promoted.worker_pid(), follower.worker_pid()];
    promoted.promote();
    let switch = format!("SELECT '{}'::pg_lsn - '0/0'", promoted.switch_point(2));
    let switch = promoted.safe_psql("postgres", &switch);
    assert_eq!(switch, end.to_string(), "where the timeline begins");
    promoted.safe_psql("postgres", "UPDATE t SET b = 2 WHERE a % 7 = 0");
    promoted.safe_psql("postgres", "SELECT pg_switch_wal()");
    promoted.safe_psql(
        "postgres",
        "INSERT INTO t SELECT g, 0 FROM generate_series(3000, 4000) g; DELETE FROM t WHERE a % 11 = 0",
    );
    archive(&primary, segment(&promoted, 2, last));
    follower.enable_streaming(&promoted);
    follower.reload();
    promoted.wait_for_catchup(&follower);
    for cluster in [&promoted, &follower] {
        cluster.walker_wait();
        assert_map_exact_and_known(cluster, "postgres");
        assert_eq!(cluster.walker_status()["timeline"], "2");
        every_record_is_counted(cluster);
        let log = cluster.log_from(0);
        assert!(!log.contains("walker lost"), "{log}");
        assert!(!log.contains("walker could not read"), "{log}");
    }
    assert_eq!(workers, [promoted.worker_pid(), follower.worker_pid()]);
}

#[test]
fn within_a_segment() {
    if !plain() {
        play(Place {
            name: "page",
            at_segment_end: false,
        });
    }
}

#[test]
fn at_the_end_of_a_segment() {
    if !plain() {
        play(Place {
            name: "segment",
            at_segment_end: true,
        });
    }
}
