//! Clusters with walker and garbagemap, and what walker says of itself.

use crate::cluster::Cluster;
use crate::poll::{poll_until, timeout};
use crate::session::{Rows, aligned, rows};
use crate::waldump::RmgrCounts;
use std::collections::BTreeMap;

/// True if the tests are tried on a server without walker
/// (`WALKER_PLAIN=1`): then only the workloads and the scans are tested.
pub fn plain() -> bool {
    std::env::var("WALKER_PLAIN").is_ok_and(|v| v == "1")
}

/// The settings that turn walker on.
pub const PRELOAD: &str = "shared_preload_libraries = 'walker'\nwalker.plugins = 'garbagemap'";

/// `walker_status` by column name; NULL is left out.
pub type Status = BTreeMap<String, String>;

impl Cluster {
    /// A running cluster with walker and garbagemap, and the extensions in
    /// every database. `conf` is added to the configuration.
    pub fn with_walker(name: &str, initdb: &[&str], conf: &str) -> Self {
        let cluster = Self::new(name);
        cluster.init_with(initdb);
        if !plain() {
            cluster.append_conf(PRELOAD);
        }
        cluster.append_conf(conf);
        cluster.start();
        // template1 last: nothing may be connected to it while databases are
        // made from it.
        for database in ["postgres", "template1"] {
            cluster.create_extensions(database);
        }
        cluster
    }

    /// Sets `garbagemap.max_memory`, by a reload, to a size as `pg_size_pretty` prints
    /// it, and waits until the worker goes by it.
    pub fn set_max_memory(&self, size: &str) {
        self.append_conf(&format!("garbagemap.max_memory = '{size}'"));
        self.reload();
        let limit = "SELECT pg_size_pretty(memory_limit) FROM garbage_status";
        self.poll_query_until("postgres", limit, size);
    }

    /// Creates walker, garbagemap and the extensions tests look through.
    pub fn create_extensions(&self, database: &str) {
        let mut names = Vec::new();
        if !plain() {
            names.extend(["walker", "garbagemap"]);
        }
        let contrib = ["pgstattuple", "pageinspect"];
        names.extend(contrib.iter().filter(|name| self.server.has_contrib(name)));
        for name in names {
            self.safe_psql(database, &format!("CREATE EXTENSION IF NOT EXISTS {name}"));
        }
    }

    /// One row of `walker_status`.
    pub fn walker_status(&self) -> Status {
        let sql = "SELECT key, value FROM walker_status s, \
                   LATERAL jsonb_each_text(to_jsonb(s)) WHERE value IS NOT NULL";
        let rows = self
            .psql("postgres", sql)
            .unwrap_or_else(|e| panic!("walker_status: {e}"));
        let pair = |row: Vec<Option<String>>| {
            let mut cells = row.into_iter().flatten();
            Some((cells.next()?, cells.next()?))
        };
        rows.into_iter().filter_map(pair).collect()
    }

    /// Waits until the worker is in a state.
    pub fn wait_for_state(&self, states: &[&str]) -> Status {
        poll_until(&format!("walker to be {}", states.join(" or ")), || {
            let status = self.walker_status();
            status
                .get("state")
                .is_some_and(|s| states.contains(&s.as_str()))
                .then_some(status)
        })
    }

    /// Waits until the worker has seen all that was written before the call.
    pub fn walker_wait(&self) {
        let lsn = self.current_lsn();
        self.walker_wait_for(&lsn);
    }

    /// Waits until the worker has seen all up to a position.
    pub fn walker_wait_for(&self, lsn: &str) {
        let seconds = timeout().as_secs();
        let wait = format!("SELECT walker_wait('{lsn}', '{seconds} s')");
        assert_eq!(
            self.safe_psql("postgres", &wait),
            "t",
            "cluster \"{}\": walker has not reached {lsn} in {seconds} s; walker_status: {:#?}",
            self.name,
            self.walker_status()
        );
    }

    /// `walker_rmgr_stats` with the stretch of WAL it speaks of: the positions
    /// from which and up to which was counted.
    pub fn rmgr_stats(&self) -> (String, String, BTreeMap<String, RmgrCounts>) {
        let mut client = self.connect("postgres");
        // Nothing may be applied between the two positions read.
        poll_until("walker to rest", || {
            let ends = "SELECT counted_from_lsn, applied_lsn FROM walker_status";
            let before = rows(&mut client, ends).expect("walker_status");
            let sql = "SELECT rmgr, records, bytes, fpi_bytes \
                       FROM walker_rmgr_stats WHERE records > 0";
            let stats = rows(&mut client, sql).expect("walker_rmgr_stats");
            // A batch that is being shown changes the counters one by one, and
            // only then the position.
            let again = rows(&mut client, sql).expect("walker_rmgr_stats");
            let after = rows(&mut client, ends).expect("walker_status");
            if before != after || stats != again {
                return None;
            }
            let printed = aligned(&before);
            let (from, to) = printed.split_once('|').expect("two columns");
            Some((
                from.to_owned(),
                to.to_owned(),
                stats.iter().map(|r| counts(r)).collect(),
            ))
        })
    }
}

fn counts(row: &[Option<String>]) -> (String, RmgrCounts) {
    let cell = |at: usize| row[at].clone().unwrap_or_else(|| panic!("NULL in {row:?}"));
    let number = |at: usize| {
        cell(at)
            .parse()
            .unwrap_or_else(|_| panic!("no number in {row:?}"))
    };
    let counts = RmgrCounts {
        records: number(1),
        bytes: number(2),
        fpi_bytes: number(3),
    };
    (cell(0), counts)
}

/// The rows as a list, for messages.
pub fn table(rows: &Rows) -> String {
    aligned(rows)
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect()
}
