//! Cycles of a workload and a blow at a random moment. Afterwards the map must
//! be right: with a slot, exact for all that was exact before; without one,
//! never wrong where it says exact.
//!
//! `WALKER_CRASHES` says how many cycles, `WALKER_SEED` repeats a run (as far
//! as time allows).

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use walker_tests::crash::Blow;
use walker_tests::oracle::{RelCheck, assert_map_exact};
use walker_tests::pgbench::{Pgbench, Running, mixed};
use walker_tests::plugins::Library;
use walker_tests::poll::env_number;
use walker_tests::rng::Rng;
use walker_tests::walker::plain;
use walker_tests::{Cluster, waldump};

/// As little WAL is kept as can be, so that nothing but the slot keeps any.
const CONF: &str = "wal_keep_size = 0
max_wal_size = '64MB'
min_wal_size = '32MB'
checkpoint_completion_target = 0
autovacuum_naptime = 1
walker.restart_interval = '1s'
walker.flush_wal = '8MB'";

const TWO_PHASE: &str = r"
\set id random(1, 1000000000)
\set aid random(1, 100000 * :scale)
BEGIN;
UPDATE pgbench_accounts SET filler = 'two' WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
    VALUES (3, 3, :aid, 0, CURRENT_TIMESTAMP);
PREPARE TRANSACTION 'c:client_id.:id';
\sleep 20 ms
COMMIT PREPARED 'c:client_id.:id';
";

const MAINTENANCE: &str = r"
\set what random(1, 4)
\if :what = 1
VACUUM pgbench_history;
\elif :what = 2
VACUUM (INDEX_CLEANUP on) pgbench_accounts;
\elif :what = 3
SELECT garbage_base_scan('pgbench_accounts');
\else
CHECKPOINT;
\endif
";

/// Of both tests together.
fn cycles() -> u64 {
    env_number("WALKER_CRASHES", 20)
}

fn load(cluster: &Cluster) -> Running {
    mixed(cluster, "postgres", env_number("WALKER_CLIENTS", 4), 1000)
        .script("twophase", 2, TWO_PHASE)
        .script("maintenance", 1, &maintenance())
        .start()
}

fn maintenance() -> String {
    // Rarely, or there would be nothing else.
    format!("\\set now random(1, 50)\n\\if :now = 1\n{MAINTENANCE}\\endif\n")
}

/// Until a random amount of WAL has been written.
fn let_it_run(cluster: &Cluster, rng: &mut Rng) {
    let bytes = rng.between(200_000, 12_000_000);
    let lsn = cluster.current_lsn();
    let sql = format!("SELECT pg_current_wal_insert_lsn() - '{lsn}'::pg_lsn > {bytes}");
    cluster.poll_query_until("postgres", &sql, "t");
}

/// Prepared transactions that the blow left: most are ended, some stay.
fn end_prepared(cluster: &Cluster, rng: &mut Rng) -> usize {
    let gids = cluster.safe_psql("postgres", "SELECT gid FROM pg_prepared_xacts");
    let mut kept = 0;
    for gid in gids.lines() {
        match rng.below(3) {
            0 if kept < 4 => kept += 1,
            1 => drop(cluster.safe_psql("postgres", &format!("ROLLBACK PREPARED '{gid}'"))),
            _ => drop(cluster.safe_psql("postgres", &format!("COMMIT PREPARED '{gid}'"))),
        }
    }
    kept
}

fn exact(checks: &[RelCheck]) -> BTreeSet<String> {
    let exact = checks.iter().filter(|c| c.exact);
    exact.map(|c| c.name.clone()).collect()
}

fn play(name: &str, conf: &str, cycles: u64, with_slot: bool) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock").as_secs();
    let seed = env_number("WALKER_SEED", now % 1_000_000);
    eprintln!("crash cycles, {name}: WALKER_SEED={seed}");
    let mut rng = Rng::new(seed);
    let mut cluster = Cluster::with_walker(name, &[], &format!("{CONF}\n{conf}"));
    cluster.build_libraries(&[Library::c("slow_disk")]);
    cluster.interpose("slow_disk");
    cluster.restart();
    Pgbench::init(&cluster, "postgres", env_number("WALKER_SCALE", 1));
    for cycle in 0..cycles {
        cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
        if cycle == 0 {
            // What it told of the catalogs is in no WAL, and safe only with the
            // next checkpoint. From then on nothing is news.
            cluster.safe_psql("postgres", "CHECKPOINT");
            cluster.wait_for_saved_state();
        }
        let before = exact(&assert_map_exact(&cluster, "postgres"));
        let load = load(&cluster);
        let_it_run(&cluster, &mut rng);

        let blow = Blow::of_cycle(cycle, seed);
        let accepting = blow.strike(&cluster, &mut rng);
        load.wait_any();
        cluster.worker_pid();
        cluster.walker_wait();
        let caught_up = accepting.elapsed();

        let checks = assert_map_exact(&cluster, "postgres");
        let after = exact(&checks);
        // A scan that was cut off leaves nothing worse than it was.
        let lost: Vec<_> = before.difference(&after).collect();
        let counted = every_record_is_counted(&cluster, blow);
        let kept = end_prepared(&cluster, &mut rng);
        let dead: i64 = checks.iter().map(|c| c.scan).sum();
        eprintln!(
            "cycle {cycle}: {blow:?}, caught up after {caught_up:?}, {counted} records counted, \
             {dead} dead tuples, {} of {} relations exact, {kept} prepared",
            after.len(),
            checks.len()
        );
        // Where nothing keeps WAL, that of after the worker's end may go with the
        // last checkpoint (see restart.rs), which is told then.
        let told = cluster.walker_status()["gaps"] != "0";
        assert!(
            lost.is_empty() || (!with_slot && (blow.is_crash() || told)),
            "no longer exact after {blow:?}: {lost:?}"
        );
        let limit = Duration::from_secs(env_number("WALKER_CATCH_UP", 5));
        assert!(caught_up <= limit, "caught up only after {caught_up:?}");
    }
    if with_slot {
        let gaps = &cluster.walker_status()["gaps"];
        assert_eq!(gaps, "0", "gaps in spite of the slot");
    }
}

/// What the worker has counted is what pg_waldump finds, which does not know
/// of crashes. Without a crash counting goes on from where it began long ago,
/// and that WAL may be gone.
fn every_record_is_counted(cluster: &Cluster, blow: Blow) -> u64 {
    let (from, to, counted) = cluster.rmgr_stats();
    match waldump::try_stats(cluster, &from, &to) {
        Ok(dumped) => assert_eq!(
            counted, dumped,
            "walker_rmgr_stats and pg_waldump differ from {from} to {to}"
        ),
        Err(why) => assert!(!blow.is_crash(), "from {from} to {to}: {why}"),
    }
    counted.values().map(|c| c.records).sum()
}

#[test]
fn with_a_slot_nothing_is_lost() {
    if !plain() {
        let conf = "walker.slot_name = 'walker'";
        play("slot", conf, cycles() - cycles() / 3, true);
    }
}

#[test]
fn without_a_slot_nothing_is_wrong() {
    if !plain() {
        play("noslot", "", cycles() / 3, false);
    }
}
