//! Data directories with a stretch of WAL that was not walked yet, made once
//! per server and kept below `$WALKER_CACHE/bench`.
//!
//! A directory is left as it was when walker and all plugins had just written
//! their state at the beginning of the stretch: whoever starts a server on it
//! sees the worker walk the whole of it.

use crate::walk;
use crate::workloads::Workload;
use serde::{Deserialize, Serialize};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use walker_tests::plugins::{Library, root};
use walker_tests::server::run;
use walker_tests::{Cluster, Mode, Server};

/// Plugins that count by resource manager, under different names.
pub const COUNTERS: usize = 8;

/// The stretch of WAL.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stretch {
    /// Where it begins,
    pub from: String,
    /// and ends.
    pub to: String,
    /// Bytes of it.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// The share of page images, per cent.
    pub image_share: f64,
    /// Of what wrote it: another one's WAL is not used.
    #[serde(default)]
    recipe: u64,
}

/// Changes when a workload may have.
fn recipe() -> u64 {
    let sources = [
        include_str!("workloads.rs"),
        include_str!("others.rs"),
        include_str!("hard.rs"),
        include_str!("data.rs"),
    ];
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    hasher.finish()
}

/// A cluster, not started, on a copy of such a directory.
pub struct Backlog {
    /// The cluster.
    pub cluster: Cluster,
    /// What there is to walk.
    pub stretch: Stretch,
    state: PathBuf,
}

impl Backlog {
    /// Makes the directory if it is not there, and copies it. If the plugins'
    /// state in it is not accepted any more, it is made anew.
    pub fn of(workload: &Workload, size: u64) -> Self {
        let at = cache().join(format!("{}-{size}", workload.name.replace(' ', "-")));
        if kept(&at).is_some_and(|stretch| stretch.recipe == recipe()) {
            let backlog = Self::copy_of(workload, &at);
            if walk::begins_in_front(&backlog, "no_callbacks, garbagemap, walstat") {
                return backlog;
            }
        }
        eprintln!("writing WAL: {}", workload.name);
        make(workload, size, &at);
        Self::copy_of(workload, &at)
    }

    fn copy_of(workload: &Workload, at: &Path) -> Self {
        let stretch = kept(at).expect("stretch.json");
        let cluster = Cluster::new(workload.name);
        copy(&at.join("data"), &cluster.data_dir());
        cluster.append_conf(&format!(
            "unix_socket_directories = '{}'",
            cluster.host().display()
        ));
        Self {
            cluster,
            stretch,
            state: at.join("data/pg_walker"),
        }
    }

    /// Makes it as if nothing had been walked yet. The server must be down.
    pub fn rewind(&self) {
        let state = self.cluster.data_dir().join("pg_walker");
        fs::remove_dir_all(&state).expect("pg_walker");
        copy(&self.state, &state);
    }
}

/// What is said in a directory of the stretch in it.
fn kept(at: &Path) -> Option<Stretch> {
    let text = fs::read_to_string(at.join("stretch.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// Where this server's directories are. Of one version there may be one with
/// assertions as well, by which no WAL of the other's is to be kept.
fn cache() -> PathBuf {
    let cache = std::env::var_os("WALKER_CACHE").expect("WALKER_CACHE is set by scripts/bench.sh");
    let server = Server::get();
    let version = server.ask("--version");
    let mut version = version.split(' ').nth(1).unwrap_or("unknown").to_owned();
    if server.ask("--configure").contains("--enable-cassert") {
        version += "-assert";
    }
    Path::new(&cache).join("bench").join(version)
}

/// Copies with owner and mode; does not copy what can be shared.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .args([from, to]));
}

/// The plugins a state is kept for.
fn plugins() -> String {
    let counters = (1..=COUNTERS).map(|n| format!("counter{n}"));
    let first = ["no_callbacks", "garbagemap", "walstat"].map(str::to_owned);
    let all: Vec<String> = first.into_iter().chain(counters).collect();
    all.join(", ")
}

/// What is built for the bench, as a directory of libraries.
pub fn libraries() -> PathBuf {
    let to = cache().join("lib");
    fs::create_dir_all(&to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    let ours = |file: &str, name: &str| {
        let path = root().join(format!("bench/plugins/{file}.c"));
        Library::c_file(name, &path, &[]).build(&to);
    };
    for n in 1..=COUNTERS {
        ours("counter", &format!("counter{n}"));
    }
    ours("no_callbacks", "no_callbacks");
    ours("stock_reader", "stock_reader");
    to
}

/// A new cluster, not started, whose WAL stays.
fn new_cluster(name: &str) -> Cluster {
    let cluster = Cluster::new(name);
    cluster.init();
    cluster.append_conf(&format!(
        "shared_preload_libraries = 'walker'
         dynamic_library_path = '{}:$libdir'
         walker.plugins = '{}'
         walker.restart_interval = 0
         autovacuum = off
         checkpoint_timeout = 1d
         max_wal_size = '100GB'
         wal_keep_size = '100GB'
         max_locks_per_transaction = 1024
         shared_buffers = '512MB'
         synchronous_commit = off",
        libraries().display(),
        plugins()
    ));
    cluster
}

fn make(workload: &Workload, size: u64, at: &Path) {
    let _ = fs::remove_dir_all(at);
    fs::create_dir_all(at).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
    let cluster = new_cluster(workload.name);
    cluster.start();
    for extension in ["walker", "garbagemap"] {
        cluster.safe_psql("postgres", &format!("CREATE EXTENSION {extension}"));
    }
    (workload.prepare)(&cluster, size);
    // Everything is known and all plugins have state: this is where to start.
    cluster.safe_psql("postgres", "VACUUM");
    cluster.safe_psql("postgres", "CHECKPOINT");
    cluster.walker_wait();
    cluster.stop(Mode::Fast);
    let state = cluster.path("state");
    copy(&cluster.data_dir().join("pg_walker"), &state);

    cluster.append_conf("walker.plugins = ''");
    cluster.start();
    let from = cluster.current_lsn();
    (workload.run)(&cluster, size);
    let to = cluster.safe_psql("postgres", "SELECT pg_switch_wal()");
    let stats = walker_tests::waldump::stats(&cluster, &from, &to);
    let sum = |of: fn(&walker_tests::waldump::RmgrCounts) -> u64| stats.values().map(of).sum();
    let (records, bytes, images): (u64, u64, u64) =
        (sum(|c| c.records), sum(|c| c.bytes), sum(|c| c.fpi_bytes));
    cluster.stop(Mode::Fast);

    let stretch = Stretch {
        bytes: distance(&from, &to),
        records,
        image_share: images as f64 / (bytes as f64).max(1.0) * 100.0,
        recipe: recipe(),
        from,
        to,
    };
    remove_wal_before(&cluster, &stretch.from);
    fs::remove_dir_all(cluster.data_dir().join("pg_walker")).expect("pg_walker");
    copy(&state, &cluster.data_dir().join("pg_walker"));
    copy(&cluster.data_dir(), &at.join("data"));
    // Last: its being there says that all of it is.
    let text = serde_json::to_string_pretty(&stretch).expect("plain data");
    fs::write(at.join("stretch.json"), text).expect("stretch.json");
}

/// Bytes between two positions.
fn distance(from: &str, to: &str) -> u64 {
    let position = |text: &str| text.parse::<walker_wal::Lsn>().expect("a position").0;
    position(to) - position(from)
}

/// So that all who read the WAL from its beginning read the same.
fn remove_wal_before(cluster: &Cluster, from: &str) {
    use walker_wal::lsn::{DEFAULT_SEGMENT_SIZE, segment_file_name};
    let from: walker_wal::Lsn = from.parse().expect("a position");
    let first = from.segment_number(DEFAULT_SEGMENT_SIZE);
    let first = segment_file_name(1, first, DEFAULT_SEGMENT_SIZE);
    for entry in fs::read_dir(cluster.data_dir().join("pg_wal")).expect("pg_wal") {
        let path = entry.expect("pg_wal").path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if name.len() == 24 && name < first.as_str() {
            fs::remove_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}
