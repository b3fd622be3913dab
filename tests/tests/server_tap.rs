//! The server's own TAP tests, in which it crashes, stands by, is promoted, copied,
//! rewound and replicated: with walker in each of its servers. They must pass as
//! without it, no worker may find fault with what it has read, nor end but in order,
//! and when the servers they leave are started again, no map may be wrong.
//!
//! `WALKER_REGRESSION` is as in `regression`.

use postgres::NoTls;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use walker_tests::oracle::{assert_map_exact, databases};
use walker_tests::server::output;
use walker_tests::session::SqlError;
use walker_tests::skip::skipped;
use walker_tests::tap::Tap;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode};

/// What each server is given beside what its test sets.
const CONF: &str = "shared_preload_libraries = 'walker'\n\
    walker.plugins = 'garbagemap, walstat'\n";

/// These look whether WAL goes that nobody needs. Walker has the server keep some,
/// unless told otherwise.
const WAL_GOES: [&str; 5] = [
    "001_stream_rep",
    "019_replslot_limit",
    "020_archive_status",
    "035_standby_logical_decoding",
    "040_standby_failover_slots_sync",
];

/// What no server's log may have.
const FAULTS: [&str; 7] = [
    "TRAP:",
    "PANIC:",
    "page image of block",
    "could not decode the record",
    "could not write the state file",
    "DETAIL:  Plugin \"",
    "a walker plugin ended the worker process",
];

#[test]
fn recovery() {
    pass(&["src/test/recovery"]);
}

#[test]
fn logical_replication() {
    pass(&["src/test/subscription"]);
}

#[test]
fn copies_and_tools() {
    pass(&[
        "src/bin/pg_basebackup",
        "src/bin/pg_checksums",
        "src/bin/pg_combinebackup",
        "src/bin/pg_ctl",
        "src/bin/pg_resetwal",
        "src/bin/pg_rewind",
        "src/bin/pg_upgrade",
        "src/bin/pg_verifybackup",
        "src/bin/pg_walsummary",
    ]);
}

fn pass(directories: &[&str]) {
    let Some(tree) = std::env::var_os("WALKER_REGRESSION").map(PathBuf::from) else {
        skipped("the server's own TAP tests: WALKER_REGRESSION names no source tree");
        return;
    };
    if plain() {
        return;
    }
    let mut all = Left::default();
    for directory in directories {
        let cluster = Cluster::new("tap");
        let tap = Tap::new(&cluster, &tree, directory);
        // `regression` runs the same suite.
        let names = tap.names().into_iter();
        let names = names.filter(|name| !name.ends_with("_stream_regress"));
        let (wal_goes, others): (Vec<_>, Vec<_>) =
            names.partition(|name| WAL_GOES.contains(&name.as_str()));
        tap.pass(&others, CONF);
        if !wal_goes.is_empty() {
            tap.pass(&wal_goes, &format!("{CONF}wal_keep_size = 0\n"));
        }
        let logs = tap.logs();
        let workers: usize = logs.iter().map(|(name, log)| workers(name, log)).sum();
        assert!(workers > 0, "walker was in none of the servers");
        eprintln!("{directory}: {} logs, {workers} workers", logs.len());
        for pgdata in tap.data_directories() {
            all.compare(&pgdata);
        }
    }
    eprintln!("left: {all:?}");
    // Not all that tests leave can be started, nor be known.
    assert!(all.started * 4 >= all.servers * 3, "{all:?}");
    assert!(all.known > 0, "{all:?}");
}

/// How many workers a log tells of. The test fails if it tells of a fault, or of a
/// worker that ended otherwise than it should.
fn workers(name: &str, log: &str) -> usize {
    let started = log
        .lines()
        .filter(|line| line.contains("LOG:  walker started"));
    let pids = started.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0));
    let pids: Vec<&str> = pids.collect();
    let errors = |pid: &&str| ["ERROR", "FATAL"].map(|level| format!("[{pid}] {level}:"));
    let errors: Vec<String> = pids.iter().flat_map(errors).collect();
    let is_fault = |line: &&str| {
        let worker = line.contains("background worker \"walker\"");
        worker && line.contains("was terminated by signal")
            || FAULTS.iter().any(|fault| line.contains(fault))
            || errors.iter().any(|error| line.contains(error))
    };
    let fault = log.lines().find(is_fault);
    assert!(fault.is_none(), "{name}: {fault:?} in\n{log}");
    pids.len()
}

/// What tests have left: servers, how many of them started once more, heap
/// relations that were compared, and those of them that are not of the system and
/// that the maps know.
#[derive(Default, Debug)]
struct Left {
    servers: usize,
    started: usize,
    compared: usize,
    known: usize,
}

impl Left {
    /// A server as it was when it was stopped or killed: it is started, and its map
    /// may not say a wrong number.
    fn compare(&mut self, pgdata: &Path) {
        self.servers += 1;
        let Some(cluster) = start_left(pgdata) else {
            return;
        };
        self.started += 1;
        if !is_usable(&cluster, "postgres") {
            return;
        }
        for database in databases(&cluster) {
            if !is_usable(&cluster, &database) {
                continue;
            }
            let checks = assert_map_exact(&cluster, &database);
            self.known += checks.iter().filter(|c| c.exact && !c.system).count();
            self.compared += checks.len();
        }
        workers(&cluster.name, &cluster.log_from(0));
        cluster.stop(Mode::Immediate);
    }
}

/// Whether a database can be looked at: some are full of traps, or damaged on
/// purpose.
fn is_usable(cluster: &Cluster, database: &str) -> bool {
    let client = cluster.config(database).connect(NoTls);
    let usable = client.and_then(|mut client| client.batch_execute(EXTENSIONS));
    let usable = usable.map_err(SqlError::from);
    if let Err(why) = &usable {
        eprintln!("{}, {database}: {why}", cluster.name);
    }
    usable.is_ok()
}

const EXTENSIONS: &str = "CREATE EXTENSION IF NOT EXISTS walker;
    CREATE EXTENSION IF NOT EXISTS garbagemap;
    CREATE EXTENSION IF NOT EXISTS pgstattuple;
    CREATE EXTENSION IF NOT EXISTS pageinspect";

/// Whatever a test has set, such a server starts, can be written to, and keeps the
/// WAL it still has.
const LEFT_CONF: &str = "wal_keep_size = '2GB'\n\
    wal_level = logical\n\
    archive_mode = off\n\
    synchronous_standby_names = ''\n\
    max_prepared_transactions = 20\n\
    autovacuum = off\n\
    log_min_messages = warning\n";

/// A server on this data directory, which can be written to. `None` if there can
/// be none: not all that tests leave can be started.
fn start_left(pgdata: &Path) -> Option<Cluster> {
    let cluster = Cluster::new(&pgdata.display().to_string());
    symlink(pgdata, cluster.data_dir()).expect("a link");
    // What comes last in the last file counts.
    let conf = pgdata.join("postgresql.auto.conf");
    let mut conf = OpenOptions::new().append(true).open(conf).ok()?;
    let settings = format!(
        "listen_addresses = ''\nport = 5432\nunix_socket_directories = '{}'\n{LEFT_CONF}",
        cluster.host().display()
    );
    conf.write_all(settings.as_bytes()).expect("settings");
    fs::write(pgdata.join("pg_hba.conf"), "local all all trust\n").expect("pg_hba.conf");
    // A standby is none any more, without a promotion.
    for signal in ["standby.signal", "recovery.signal"] {
        let _ = fs::remove_file(pgdata.join(signal));
    }
    if let Err(why) = cluster.try_start() {
        eprintln!("{} does not start: {why}", pgdata.display());
        return None;
    }
    // Who initialised it may have another name.
    let mut psql = cluster.server.command("psql");
    psql.arg("-h").arg(cluster.host());
    psql.args([
        "-d",
        "postgres",
        "-q",
        "-c",
        "CREATE ROLE postgres SUPERUSER LOGIN",
    ]);
    output(&mut psql);
    Some(cluster)
}
