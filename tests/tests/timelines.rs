//! Standbys, promotions and other branches of history: no record lost, none
//! twice, and no state of another branch.

use walker_tests::cluster::signal;
use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known};
use walker_tests::pgbench::{Pgbench, mixed};
use walker_tests::poll::env_number;
use walker_tests::standby::REWINDABLE;
use walker_tests::waldump::every_record_is_counted;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode};

const KEEP: &str = "wal_keep_size = '2GB'\nmax_wal_size = '1GB'";

fn primary(name: &str, conf: &str) -> Cluster {
    let primary = Cluster::with_walker(name, &[], &format!("{KEEP}\n{REWINDABLE}\n{conf}"));
    Pgbench::init(&primary, "postgres", 1);
    primary
}

fn work(cluster: &Cluster) {
    mixed(cluster, "postgres", 2, 1).run();
}

#[test]
fn promotions_in_a_row() {
    if plain() {
        return;
    }
    let mut primary = primary("zero", "");
    let mut standby = Cluster::standby_with_state("one", &primary);
    for round in 1..=env_number("WALKER_PROMOTIONS", 3) {
        work(&primary);
        primary.wait_for_catchup(&standby);
        assert_map_exact_and_known(&standby, "postgres");
        let pid = standby.worker_pid();

        // Now and then the worker has much to read behind the switch.
        let behind = round % 2 == 0;
        if behind {
            assert_eq!(standby.stop_waiting_worker(), pid);
            work(&primary);
            primary.wait_for_catchup(&standby);
        }
        let clean = round % 2 == 0;
        if !clean {
            standby.stop_receiving(&primary);
            work(&primary);
        }
        primary.stop(if clean { Mode::Fast } else { Mode::Immediate });
        standby.promote();
        if behind {
            work(&standby);
            signal("CONT", &[pid]);
        }
        work(&standby);
        assert_map_exact_and_known(&standby, "postgres");
        assert_eq!(standby.worker_pid(), pid, "the worker was restarted");
        assert_eq!(standby.walker_status()["timeline"], (round + 1).to_string());
        every_record_is_counted(&standby);

        // The old primary comes back as a standby; what it wrote alone, and
        // the map of it, is not of this history.
        primary.rewind(&standby);
        primary.start();
        standby.wait_for_catchup(&primary);
        assert_map_exact(&primary, "postgres");
        work(&standby);
        standby.wait_for_catchup(&primary);
        assert_map_exact(&primary, "postgres");
        every_record_is_counted(&primary);
        primary.walker_wait();
        eprintln!("promotion {round}: timeline {}", round + 1);
        std::mem::swap(&mut primary, &mut standby);
    }
}

#[test]
fn a_cascading_standby_follows() {
    if plain() {
        return;
    }
    let primary = primary("top", "");
    let middle = Cluster::standby_with_state("middle", &primary);
    primary.backup_with_state("bottom");
    let bottom = Cluster::init_from_backup("bottom", &primary, "bottom");
    bottom.enable_streaming(&middle);
    bottom.start();
    work(&primary);
    primary.wait_for_catchup(&middle);
    primary.wait_for_catchup(&bottom);
    for standby in [&middle, &bottom] {
        assert_map_exact_and_known(standby, "postgres");
        every_record_is_counted(standby);
    }
    let pids = [middle.worker_pid(), bottom.worker_pid()];
    // Were the last record halfway into a new segment when the primary goes,
    // the bottom would have that segment already, ask the middle for what
    // comes after, and never for the one before on the new timeline: its
    // startup process panics, with and without walker. So the WAL ends where a
    // segment has just begun.
    primary.safe_psql("postgres", "SELECT pg_switch_wal()");
    primary.wait_for_catchup(&middle);
    primary.wait_for_catchup(&bottom);
    primary.stop(Mode::Immediate);
    middle.promote();
    work(&middle);
    middle.wait_for_catchup(&bottom);
    for cluster in [&middle, &bottom] {
        assert_map_exact_and_known(cluster, "postgres");
        assert_eq!(cluster.walker_status()["timeline"], "2");
        every_record_is_counted(cluster);
    }
    assert_eq!(pids, [middle.worker_pid(), bottom.worker_pid()]);

    // A standby that crashes goes on at its restartpoint, its state may be
    // ahead of that.
    work(&middle);
    bottom.safe_psql("postgres", "CHECKPOINT");
    work(&middle);
    middle.wait_for_catchup(&bottom);
    bottom.walker_wait();
    bottom.kill9();
    bottom.start();
    work(&middle);
    middle.wait_for_catchup(&bottom);
    assert_map_exact_and_known(&bottom, "postgres");
}

#[test]
fn point_in_time_recovery() {
    if plain() {
        return;
    }
    let primary = Cluster::new("archived");
    primary.init();
    primary.append_conf(walker_tests::walker::PRELOAD);
    primary.append_conf(&format!(
        "{KEEP}\n{REWINDABLE}\nwalker.slot_name = 'walker'"
    ));
    primary.enable_archiving();
    primary.start();
    primary.create_extensions("postgres");
    Pgbench::init(&primary, "postgres", 1);
    work(&primary);
    primary.backup_with_state("backup");
    work(&primary);
    primary.flush_wal();
    let point = primary.safe_psql("postgres", "SELECT pg_current_wal_flush_lsn()");
    work(&primary);
    // A state from behind the point, and the WAL that would prove it.
    primary.safe_psql("postgres", "CHECKPOINT");
    primary.wait_for_saved_state();
    let file = primary.data_dir().join("pg_walker/garbagemap");
    let newer = std::fs::read(&file).expect("a state file");
    primary.safe_psql("postgres", "SELECT pg_switch_wal()");
    primary.stop(Mode::Fast);

    for (name, from_the_future) in [("pitr", false), ("future", true)] {
        let restored = Cluster::init_from_backup(name, &primary, "backup");
        restored.recover_up_to(&point, &primary.archive());
        if from_the_future {
            let file = restored.data_dir().join("pg_walker/garbagemap");
            std::fs::write(&file, &newer).expect("the state file");
            restored.server.give(&file);
        }
        restored.start();
        let promoted = "SELECT pg_is_in_recovery()";
        restored.poll_query_until("postgres", promoted, "f");
        restored.walker_wait();
        assert_map_exact(&restored, "postgres");
        work(&restored);
        assert_map_exact(&restored, "postgres");
        every_record_is_counted(&restored);
        let bad = restored.data_dir().join("pg_walker/garbagemap.bad");
        assert_eq!(
            bad.exists(),
            from_the_future,
            "state from the future: {from_the_future}"
        );
        restored.safe_psql("postgres", "SELECT garbage_base_scan()");
        assert_map_exact_and_known(&restored, "postgres");
    }
}

/// The segment in which a server was promoted is archived on the new timeline only,
/// and begins with the end of the old one. Who recovers up to there finds it in no
/// other file.
#[test]
fn the_end_of_a_timeline_is_in_the_next_ones_file() {
    if plain() {
        return;
    }
    let primary = Cluster::new("old");
    primary.init();
    primary.append_conf(walker_tests::walker::PRELOAD);
    primary.append_conf(KEEP);
    primary.enable_archiving();
    primary.start();
    primary.create_extensions("postgres");
    Pgbench::init(&primary, "postgres", 1);
    primary.backup_with_state("backup");
    let promoted = Cluster::standby_of("new", &primary);
    primary.safe_psql("postgres", "SELECT pg_switch_wal()");
    work(&primary);
    primary.wait_for_catchup(&promoted);
    let point = primary.current_lsn();
    let name = |lsn: &str| primary.safe_psql("postgres", &format!("SELECT pg_walfile_name({lsn})"));
    let file = name(&format!("'{point}'"));
    // Nobody else archives what comes before.
    primary.wait_for_archived(&name(&format!(
        "'{point}'::pg_lsn - 16::numeric * 1024 * 1024"
    )));
    primary.stop(Mode::Immediate);
    promoted.promote();
    promoted.safe_psql("postgres", "SELECT pg_switch_wal()");
    let archived = file.replacen("00000001", "00000002", 1);
    primary.wait_for_archived(&archived);
    assert!(
        !primary.archive().join(&file).exists(),
        "{file} was archived"
    );

    let restored = Cluster::init_from_backup("paused", &primary, "backup");
    restored.recover_up_to(&point, &primary.archive());
    restored.append_conf("recovery_target_action = 'pause'\nrecovery_target_inclusive = off");
    restored.start();
    let paused = "SELECT pg_get_wal_replay_pause_state()";
    restored.poll_query_until("postgres", paused, "paused");
    assert_map_exact_and_known(&restored, "postgres");
    assert_eq!(restored.walker_status()["timeline"], "1");
    restored.safe_psql("postgres", "SELECT pg_wal_replay_resume()");
    restored.poll_query_until("postgres", "SELECT pg_is_in_recovery()", "f");
    work(&restored);
    assert_map_exact_and_known(&restored, "postgres");
    let log = restored.log_from(0);
    assert!(!log.contains("walker could not read WAL"), "{log}");
}

#[test]
fn a_partial_segment() {
    if plain() {
        return;
    }
    let primary = primary("whole", "");
    let standby = Cluster::standby_with_state("partial", &primary);
    standby.enable_archiving();
    standby.restart();
    work(&primary);
    primary.wait_for_catchup(&standby);
    assert_map_exact_and_known(&standby, "postgres");
    // The worker stands before the end of a segment that is renamed under it.
    let pid = standby.stop_waiting_worker();
    work(&primary);
    primary.wait_for_catchup(&standby);
    primary.stop(Mode::Immediate);
    standby.promote();
    standby.wait_for_archived(".partial");
    signal("CONT", &[pid]);
    work(&standby);
    assert_map_exact_and_known(&standby, "postgres");
    assert_eq!(standby.worker_pid(), pid);
    let log = standby.log_from(0);
    assert!(!log.contains("walker lost"), "{log}");
}
