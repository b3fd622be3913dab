//! pgbench as a workload.

use crate::cluster::Cluster;
use crate::server::{run, text};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// What pgbench is to do.
#[derive(Debug)]
pub struct Pgbench<'a> {
    cluster: &'a Cluster,
    database: String,
    clients: u64,
    length: Length,
    scripts: Vec<(PathBuf, u32)>,
}

#[derive(Debug)]
enum Length {
    Seconds(u64),
    Transactions(u64),
}

/// A pgbench that runs.
#[derive(Debug)]
pub struct Running(Child);

impl<'a> Pgbench<'a> {
    /// Makes pgbench's tables.
    pub fn init(cluster: &Cluster, database: &str, scale: u64) {
        let mut command = cluster.server.command("pgbench");
        command
            .arg("-h")
            .arg(cluster.host())
            .args(["-U", "postgres", "-i", "-q", "-s"]);
        run(command.arg(scale.to_string()).arg(database));
    }

    /// A workload of some seconds.
    pub fn seconds(cluster: &'a Cluster, database: &str, clients: u64, seconds: u64) -> Self {
        Self::new(cluster, database, clients, Length::Seconds(seconds))
    }

    /// A workload of some transactions per client.
    pub fn transactions(cluster: &'a Cluster, database: &str, clients: u64, count: u64) -> Self {
        Self::new(cluster, database, clients, Length::Transactions(count))
    }

    fn new(cluster: &'a Cluster, database: &str, clients: u64, length: Length) -> Self {
        Self {
            cluster,
            database: database.to_owned(),
            clients,
            length,
            scripts: Vec::new(),
        }
    }

    /// Adds a script; without any it is pgbench's own transaction.
    pub fn script(mut self, name: &str, weight: u32, text: &str) -> Self {
        let path = self.cluster.path(&format!("{name}.pgbench"));
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.scripts.push((path, weight));
        self
    }

    /// pgbench's own transaction besides the scripts.
    pub fn builtin(mut self, weight: u32) -> Self {
        self.scripts.push(("".into(), weight));
        self
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let mut command = self.cluster.server.command("pgbench");
        command
            .arg("-h")
            .arg(self.cluster.host())
            .args(["-U", "postgres", "-n"]);
        command.args([
            "-c",
            &self.clients.to_string(),
            "-j",
            "2",
            "--max-tries=100",
        ]);
        match self.length {
            Length::Seconds(n) => command.args(["-T", &n.to_string()]),
            Length::Transactions(n) => command.args(["-t", &n.to_string()]),
        };
        for (path, weight) in &self.scripts {
            if path.as_os_str().is_empty() {
                command.args(["-b", &format!("tpcb-like@{weight}")]);
            } else {
                command.args(["-f", &format!("{}@{weight}", path.display())]);
            }
        }
        command.arg(&self.database).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(
            command
                .spawn()
                .unwrap_or_else(|e| panic!("cannot run pgbench: {e}")),
        )
    }

    /// Runs it to its end; returns the transactions per second.
    pub fn run(self) -> f64 {
        self.start().wait()
    }
}

impl Running {
    /// Waits for the end; returns the transactions per second. No client may
    /// have been aborted.
    pub fn wait(self) -> f64 {
        let output = self.0.wait_with_output().expect("pgbench");
        let printed = text(&output);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbench failed\n{printed}{errors}");
        assert!(!errors.contains("aborted in command"), "{errors}");
        let line = printed.lines().find(|l| l.starts_with("tps = "));
        let number = line.and_then(|l| l["tps = ".len()..].split(' ').next());
        number
            .and_then(|n| n.parse().ok())
            .unwrap_or_else(|| panic!("no tps in {printed}"))
    }

    /// Ends it as its user would: the server sees its sessions close.
    pub fn end(mut self) {
        crate::process::signal("TERM", &[self.0.id()]);
        let _ = self.0.wait();
    }

    /// Waits for the end of a pgbench whose server was stopped under it.
    pub fn wait_any(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The mixed workload of the main job: pgbench's own transaction, and
/// rollbacks, savepoints, deletes and inserts on the same tables.
pub fn mixed<'a>(cluster: &'a Cluster, database: &str, clients: u64, seconds: u64) -> Pgbench<'a> {
    Pgbench::seconds(cluster, database, clients, seconds)
        .builtin(4)
        .script("rollback", 2, ROLLBACK)
        .script("savepoint", 2, SAVEPOINT)
        .script("delete", 1, DELETE)
}

const ROLLBACK: &str = r"
\set aid random(1, 100000 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
    VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);
ROLLBACK;
";

const SAVEPOINT: &str = r"
\set aid random(1, 100000 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SAVEPOINT a;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
    VALUES (2, 2, :aid, :delta, CURRENT_TIMESTAMP);
UPDATE pgbench_accounts SET abalance = 0 WHERE aid = :aid;
ROLLBACK TO a;
SAVEPOINT b;
UPDATE pgbench_accounts SET filler = 'b' WHERE aid = :aid;
RELEASE b;
COMMIT;
";

const DELETE: &str = r"
\set aid random(1, 100000 * :scale)
BEGIN;
DELETE FROM pgbench_accounts WHERE aid = :aid;
DELETE FROM pgbench_history WHERE aid = :aid;
COMMIT;
INSERT INTO pgbench_accounts (aid, bid, abalance, filler)
    VALUES (:aid, 1, 0, 'again') ON CONFLICT (aid) DO NOTHING;
";
