//! The server's own suites on a server with walker, with a page image in every
//! heap record, and a streaming standby that replays it all: that of all SQL, and
//! that of sessions which meet on the same rows, step by step, in every order.
//!
//! `WALKER_REGRESSION` names the source tree of the server under test, with
//! `src/test/regress` and `src/test/isolation` built; without it there is nothing
//! to run. `make check-long` sets it for the servers that were built from source.

use std::path::{Path, PathBuf};
use walker_tests::Cluster;
use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known, databases};
use walker_tests::server::{output, text};
use walker_tests::skip::skipped;
use walker_tests::walker::plain;

/// What the server's own 027_stream_regress.pl sets, and images for the audit.
const CONF: &str = "max_connections = 40\n\
    wal_consistency_checking = 'heap,heap2'\n\
    max_wal_size = '4GB'\n\
    wal_keep_size = '8GB'\n\
    max_standby_streaming_delay = '600s'\n\
    max_prepared_transactions = 20\n\
    walker.max_retained_wal = '8GB'";

fn tree() -> Option<PathBuf> {
    std::env::var_os("WALKER_REGRESSION").map(PathBuf::from)
}

/// One of the suites, below `src/test`.
struct Suite {
    directory: &'static str,
    program: &'static str,
    schedule: &'static str,
    /// Page images that are compared with the map, at least.
    images: u32,
}

const REGRESSION: Suite = Suite {
    directory: "regress",
    program: "pg_regress",
    schedule: "parallel_schedule",
    images: 100_000,
};

const ISOLATION: Suite = Suite {
    directory: "isolation",
    program: "pg_isolation_regress",
    schedule: "isolation_schedule",
    images: 500_000,
};

impl Suite {
    fn run(&self, cluster: &Cluster, tree: &Path) {
        let suite = tree.join("src/test").join(self.directory);
        let out = cluster.path(self.directory);
        std::fs::create_dir(&out).expect("a directory");
        cluster.server.give(&out);
        let mut command = std::process::Command::new(suite.join(self.program));
        command.arg(format!("--inputdir={}", suite.display()));
        command.arg(format!("--dlpath={}", suite.display()));
        command.arg(format!("--outputdir={}", out.display()));
        command.arg(format!("--bindir={}", cluster.server.ask("--bindir")));
        command.arg(format!("--host={}", cluster.host().display()));
        command.args(["--port=5432", "--user=postgres"]);
        command.arg("--max-concurrent-tests=20");
        let schedule = suite.join(self.schedule);
        command.arg(format!("--schedule={}", schedule.display()));
        let mut command = cluster.server.owned(command);
        command.env("PGUSER", "postgres");
        let done = output(&mut command);
        let said = text(&done);
        let last: Vec<&str> = said.lines().rev().take(12).collect();
        eprintln!("{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        if !done.status.success() {
            let diffs = std::fs::read_to_string(out.join("regression.diffs")).unwrap_or_default();
            panic!("the suite failed\n{}", &diffs[..diffs.len().min(20_000)]);
        }
    }

    fn audited(&self, cluster: &Cluster) {
        let sql = "SELECT images_checked, image_mismatches, degraded_relations, unknown_records \
                   FROM garbage_status";
        eprintln!(
            "{}: images checked, mismatches, degraded relations, unknown records: {}",
            cluster.name,
            cluster.safe_psql("postgres", sql)
        );
        let sql = format!(
            "SELECT images_checked > {}, image_mismatches, degraded_relations FROM garbage_status",
            self.images
        );
        assert_eq!(cluster.safe_psql("postgres", &sql), "t|0|0");
    }
}

#[test]
fn the_servers_own_suite_leaves_an_exact_map() {
    leaves_an_exact_map(&REGRESSION);
}

#[test]
fn sessions_that_meet_leave_an_exact_map() {
    leaves_an_exact_map(&ISOLATION);
}

fn leaves_an_exact_map(suite: &Suite) {
    let Some(tree) = tree() else {
        skipped("the server's own suite: WALKER_REGRESSION names no source tree");
        return;
    };
    let primary = Cluster::with_walker(suite.directory, &[], CONF);
    let standby = Cluster::standby_of(&format!("{}standby", suite.directory), &primary);
    suite.run(&primary, &tree);
    if plain() {
        return;
    }
    let databases = databases(&primary);
    // A scan would make up for what was lost on the way.
    for cluster in [&primary, &standby] {
        cluster.walker_wait();
        let status = cluster.walker_status();
        assert_eq!((&*status["gaps"], &*status["restarts"]), ("0", "0"));
    }
    for database in &databases {
        primary.create_extensions(database);
        // What the suite did not touch predates the walker.
        primary.safe_psql(database, "SELECT garbage_base_scan()");
    }
    let mut compared = 0;
    for database in &databases {
        let checks = assert_map_exact_and_known(&primary, database);
        let unknown: Vec<_> = checks
            .iter()
            .filter(|c| !c.exact)
            .map(|c| &c.name)
            .collect();
        assert!(unknown.is_empty(), "after a base scan: {unknown:?}");
        compared += checks.len();
    }
    eprintln!("{compared} heap relations compared on the primary");
    suite.audited(&primary);

    primary.wait_for_catchup(&standby);
    let mut compared = 0;
    for database in &databases {
        standby.safe_psql(database, "SELECT garbage_base_scan()");
        compared += assert_map_exact(&standby, database).len();
    }
    eprintln!("{compared} heap relations compared on the standby");
    suite.audited(&standby);
    let log = primary.log_from(0) + &standby.log_from(0);
    for word in ["PANIC", "was terminated by signal", "TRAP:"] {
        assert!(!log.contains(word), "a server's log says {word}");
    }
}
