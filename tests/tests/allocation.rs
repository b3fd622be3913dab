//! Memory that cannot be had: whichever allocation fails, in the worker or in
//! a session, only that process ends, the others go on, and the map is never
//! wrong.
//!
//! `WALKER_ALLOCATIONS` says how many allocations of each phase, and of each
//! call of a session, are tried. They are spread over the phase; a number that
//! is large enough tries all of them.

use walker_tests::cluster::signal;
use walker_tests::crash::end_worker;
use walker_tests::faults::{Fault, Faults, What, Whose};
use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known};
use walker_tests::poll::{env_number, poll_until};
use walker_tests::process::is_alive;
use walker_tests::session::aligned;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Session};

const CONF: &str = "autovacuum = off
wal_keep_size = '256MB'
checkpoint_timeout = '1h'
shared_preload_libraries = 'walker'
walker.plugins = 'garbagemap, walstat'
walker.restart_interval = 0";

/// A server in which calls may fail, and a session that must not notice.
struct Bench {
    cluster: Cluster,
    faults: Faults,
    witness: Session,
    offset: usize,
}

impl Bench {
    fn new(name: &str) -> Self {
        let mut cluster = Cluster::new(name);
        cluster.init();
        cluster.append_conf(CONF);
        let faults = Faults::new(&mut cluster);
        cluster.start();
        cluster.create_extensions("postgres");
        cluster.safe_psql(
            "postgres",
            "CREATE EXTENSION walstat;
             CREATE TABLE t (a int PRIMARY KEY, b int, c text);
             INSERT INTO t SELECT g, 0, repeat('x', 100) FROM generate_series(1, 3000) g;
             SELECT garbage_base_scan()",
        );
        assert_map_exact_and_known(&cluster, "postgres");
        let witness = Session::open(&cluster, "postgres");
        Self {
            offset: cluster.log_offset(),
            cluster,
            faults,
            witness,
        }
    }

    /// Runs a phase without faults and says how many allocations it makes at
    /// least, then lets some of them fail, one at a time.
    fn sweep(&mut self, phase: &str, tried: u64, act: impl Fn(&mut Self, Fault)) {
        // Now and then there are more: the worker writes its state meanwhile.
        let mut seen = u64::MAX;
        for _ in 0..3 {
            act(self, Fault::none(What::Memory));
            seen = seen.min(self.faults.seen());
            self.all_is_well(&format!("{phase}, without faults"));
            self.worker_is_back();
        }
        assert!(seen > 10, "{phase}: only {seen} allocations: is it tried?");
        let values = spread(seen, tried);
        let mut hits = 0;
        for (i, n) in values.iter().enumerate() {
            act(self, Fault::nth_allocation(*n));
            hits += self.faults.hits();
            self.all_is_well(&format!("{phase}, allocation {n}"));
            self.worker_is_back();
            // A hundred shortages in a row put a plugin into quarantine.
            if i % 50 == 49 {
                self.restart_worker();
            }
        }
        eprintln!(
            "{phase}: about {seen} allocations, {} tried, {hits} failed",
            values.len()
        );
        // The number of allocations varies a little from time to time.
        assert!(
            hits >= values.len() as u64 * 2 / 3,
            "{phase}: of {} only {hits} hit",
            values.len()
        );
    }

    /// Nobody but the process concerned has noticed, and it is back.
    fn all_is_well(&mut self, when: &str) {
        self.faults.end();
        let log = self.cluster.log_from(self.offset);
        for bad in [
            "was terminated by",
            "all server processes terminated",
            "PANIC:",
        ] {
            assert!(!log.contains(bad), "{when}: {log}");
        }
        let alive = self.witness.run("SELECT 1");
        alive.unwrap_or_else(|e| panic!("{when}: another session: {e}"));
        self.offset = self.cluster.log_offset();
    }

    fn worker_is_back(&mut self) {
        let lsn = self.cluster.current_lsn();
        let back = format!("SELECT walker_wait('{lsn}', '30 s')");
        assert_eq!(aligned(&self.witness.safe(&back)), "t");
        // It may have ended just behind that.
        let states = "SELECT string_agg(state, ' ') FROM walker_plugins";
        poll_until("all plugins to run", || {
            (aligned(&self.witness.safe(states)) == "running running").then_some(())
        });
    }

    fn restart_worker(&mut self) {
        let old = self.worker();
        self.witness.safe("SELECT walker_restart()");
        poll_until("the worker to end", || (!is_alive(old)).then_some(()));
        self.cluster.walker_wait();
    }

    fn worker(&self) -> u32 {
        self.cluster.worker_pid()
    }
}

/// Some of the numbers from 1 to `most`, the first ones among them.
fn spread(most: u64, tried: u64) -> Vec<u64> {
    let tried = env_number("WALKER_ALLOCATIONS", tried).clamp(1, most);
    (0..tried).map(|i| 1 + i * most / tried).collect()
}

/// Every kind of record the ledger looks at.
const TRAFFIC: &str = "
INSERT INTO t SELECT g, 0, repeat('y', 100) FROM generate_series(10001, 10400) g;
UPDATE t SET b = b + 1 WHERE a % 7 = 0;
DELETE FROM t WHERE a > 10000;
CREATE TABLE IF NOT EXISTS u AS SELECT g AS a FROM generate_series(1, 500) g;
DELETE FROM u WHERE a % 2 = 0;
BEGIN; UPDATE t SET b = 0 WHERE a < 50; PREPARE TRANSACTION 'two';
COMMIT PREPARED 'two';
BEGIN; SAVEPOINT s; DELETE FROM t WHERE a % 11 = 0; ROLLBACK TO s; COMMIT;
VACUUM t;
TRUNCATE u;
DROP TABLE u;
SELECT pg_logical_emit_message(true, 'x', 'y')";

/// One statement at a time: some may stand in no transaction with others.
fn run_traffic(session: &mut Session) {
    for sql in TRAFFIC.split(";\n") {
        for sql in sql.split("; ") {
            session.safe(sql);
        }
    }
}

fn start_of_the_worker(bench: &mut Bench, fault: Fault) {
    let old = bench.worker();
    bench.faults.begin(Whose::NextChild, fault);
    // Not looked at by a session: that would be the next child.
    end_worker(old);
    let back = || {
        let log = bench.cluster.log_from(bench.offset);
        let failed = bench.faults.hits() > 0;
        (failed || log.matches("walker started at").count() > 0).then_some(())
    };
    poll_until("a worker", back);
    run_traffic(&mut bench.witness);
    wait_for_hit_or_end(bench, fault);
}

fn traffic(bench: &mut Bench, fault: Fault) {
    let worker = bench.worker();
    bench.faults.begin(Whose::Process(worker), fault);
    run_traffic(&mut bench.witness);
    wait_for_hit_or_end(bench, fault);
}

/// Until the worker has failed, or read all without.
fn wait_for_hit_or_end(bench: &mut Bench, fault: Fault) {
    let lsn = bench.cluster.current_lsn();
    let reached = format!("SELECT applied_lsn >= '{lsn}' FROM walker_status");
    let (faults, witness) = (&bench.faults, &mut bench.witness);
    poll_until("the fault or the end", || {
        let done = witness.safe(&reached)[0][0].as_deref() == Some("t");
        (done || fault.count > 0 && faults.hits() > 0).then_some(())
    });
}

/// A checkpoint, and until there is a state of it, or one could not be written.
fn save_state(bench: &mut Bench, fault: Fault) {
    bench.witness.safe("CHECKPOINT");
    let saved = "SELECT state_lsn >= redo_lsn FROM garbage_status, pg_control_checkpoint()";
    let (faults, witness) = (&bench.faults, &mut bench.witness);
    poll_until("the fault or a new state", || {
        let hit = fault.count > 0 && faults.hits() > 0;
        // Without a worker there may be no status.
        let saved = witness
            .run(saved)
            .is_ok_and(|rows| rows[0][0].as_deref() == Some("t"));
        (hit || saved).then_some(())
    });
}

fn writing_state(bench: &mut Bench, fault: Fault) {
    let worker = bench.worker();
    bench.witness.safe("UPDATE t SET b = b + 1 WHERE a < 100");
    bench.cluster.walker_wait();
    bench.faults.begin(Whose::Process(worker), fault);
    save_state(bench, fault);
}

/// The last state is one that the worker has not begun before: after a state
/// as recent as the checkpoint, a record without a page is too little for one.
fn leaving(bench: &mut Bench, fault: Fault) {
    let worker = bench.worker();
    bench.witness.safe("UPDATE t SET b = b + 1 WHERE a < 100");
    save_state(bench, Fault::none(What::Memory));
    bench
        .witness
        .safe("SELECT pg_logical_emit_message(true, 'x', 'y')");
    bench.cluster.walker_wait();
    bench.faults.begin(Whose::Process(worker), fault);
    end_worker(worker);
}

#[test]
fn in_the_worker() {
    if plain() {
        return;
    }
    let mut bench = Bench::new("allocation");
    bench.sweep("start of the worker", 12, start_of_the_worker);
    bench.sweep("records", 12, traffic);
    bench.sweep("writing state", 12, writing_state);
    bench.sweep("leaving", 12, leaving);
    the_end(bench);
}

/// As long as it lasts nothing can be had that is larger than 4 kB.
#[test]
fn a_shortage_that_lasts() {
    if plain() {
        return;
    }
    let mut bench = Bench::new("shortage");
    for skip in [0, 3, 40] {
        let worker = bench.worker();
        let shortage = Fault::large_allocations(skip);
        bench.faults.begin(Whose::Process(worker), shortage);
        run_traffic(&mut bench.witness);
        bench.witness.safe("CHECKPOINT");
        end_worker(worker);
        bench.all_is_well(&format!("a shortage from {skip} on"));
        bench.worker_is_back();

        // The next workers have no more than the one before.
        let worker = bench.worker();
        bench.faults.begin(Whose::NewProcesses, shortage);
        signal("TERM", &[worker]);
        let begun = bench.offset;
        poll_until("some workers to fail", || {
            let log = bench.cluster.log_from(begun);
            (log.matches("exited with exit code 1").count() > 4).then_some(())
        });
        run_traffic(&mut bench.witness);
        assert!(bench.faults.hits() > 0);
        bench.all_is_well(&format!("a shortage of many workers from {skip} on"));
        bench.worker_is_back();
    }
    the_end(bench);
}

/// What sessions may call.
const CALLS: [&str; 14] = [
    "SELECT * FROM garbage_map('t')",
    "SELECT * FROM garbage_tables",
    "SELECT * FROM garbage_status",
    "SELECT * FROM garbage_candidates",
    "SELECT garbage_base_scan('t')",
    "CALL garbage_prune('t')",
    "SELECT * FROM garbage_verify('t')",
    "SELECT garbage_heatmap('t')",
    "SELECT garbage_report()",
    "SELECT * FROM walker_status",
    "SELECT * FROM walker_plugins",
    "SELECT * FROM walker_rmgr_stats",
    "SELECT * FROM walker_records(pg_current_wal_flush_lsn() - 20000, pg_current_wal_flush_lsn())",
    "SELECT * FROM wal_by_relation",
];

#[test]
fn in_a_session() {
    if plain() {
        return;
    }
    let mut bench = Bench::new("session");
    run_traffic(&mut bench.witness);
    for sql in CALLS {
        bench.sweep(sql, 4, |bench, fault| {
            let mut session = Session::open(&bench.cluster, "postgres");
            let pid = u32::try_from(session.pid).expect("a process ID");
            bench.faults.begin(Whose::Process(pid), fault);
            let answer = session.run(sql);
            bench.faults.end();
            let hit = bench.faults.hits() > 0;
            match answer {
                Ok(_) => {}
                // Broken off by a FATAL, which may come as a message, too.
                Err(error) if hit => assert!(
                    ["53200", ""].contains(&error.sqlstate.as_str()),
                    "{sql}: {error}"
                ),
                Err(error) => panic!("{sql}: {error}"),
            }
        });
    }
    the_end(bench);
}

fn the_end(bench: Bench) {
    let cluster = &bench.cluster;
    assert_map_exact(cluster, "postgres");
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    assert_map_exact_and_known(cluster, "postgres");
    assert_eq!(cluster.server_starts(), 1, "the server restarted");
    cluster.restart();
    assert_map_exact_and_known(cluster, "postgres");
}
