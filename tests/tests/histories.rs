//! Random histories of several sessions, compared at rest.
//!
//! `WALKER_HISTORIES` says how many; a failed one is played again by
//! `WALKER_SEED=<its seed> WALKER_HISTORIES=1`.

use std::time::{SystemTime, UNIX_EPOCH};
use walker_tests::Cluster;
use walker_tests::history::generate;
use walker_tests::oracle::assert_map_exact_and_known;
use walker_tests::player::Player;
use walker_tests::poll::env_number;

/// Names the history if the test fails while it is played.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "history FAILED: WALKER_SEED={} WALKER_HISTORIES=1 repeats it",
                self.0
            );
        }
    }
}

#[test]
fn random_histories() {
    let conf = "autovacuum_naptime = 1\ndeadlock_timeout = '20ms'\ncheckpoint_timeout = '30s'";
    let primary = Cluster::with_walker("history", &[], conf);
    let standby = Cluster::standby_of("historystandby", &primary);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_secs();
    let first = env_number("WALKER_SEED", now % 1_000_000 * 1000);

    for seed in first..first + env_number("WALKER_HISTORIES", 15) {
        let named = Named(seed);
        let history = generate(seed);
        let listing: Vec<String> = history.events.iter().map(|e| format!("{e:?}")).collect();
        std::fs::write(primary.path(&format!("history-{seed}")), listing.join("\n"))
            .expect("the cluster's directory");
        let player = Player::new(&primary, "postgres", &history);
        let schema = player.schema();
        let outcomes = player.play();
        assert_map_exact_and_known(&primary, "postgres");
        primary.wait_for_catchup(&standby);
        assert_map_exact_and_known(&standby, "postgres");
        eprintln!(
            "history: seed {seed}, {} sessions, {} events ... ok {outcomes:?}",
            history.sessions,
            history.events.len()
        );
        // Every other one stays, so that old tables are compared again.
        if seed % 2 == 0 {
            primary.safe_psql(
                "postgres",
                &format!("SET client_min_messages = error; DROP SCHEMA {schema} CASCADE"),
            );
        }
        drop(named);
    }
}
