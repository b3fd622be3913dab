//! One cluster: its directory, its processes, its log.

use crate::directory;
use crate::launch::Launch;
use crate::poll::{poll_until, timeout};
pub use crate::process::{children, signal};
use crate::process::{exists, runs_in};
pub use crate::psql::psql_file;
use crate::server::{Server, output, run};
use postgres::{Client, Config, NoTls};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// How a server is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Wait for the sessions to end.
    Smart,
    /// End the sessions, write a checkpoint.
    Fast,
    /// Leave at once; the next start is a crash recovery.
    Immediate,
}

/// A cluster of its own in a temporary directory, which goes with it unless
/// the test fails.
#[derive(Debug)]
pub struct Cluster {
    /// For messages.
    pub name: String,
    base: PathBuf,
    /// The installation it runs on.
    pub server: &'static Server,
    /// How its server is started.
    pub launch: Launch,
}

impl Cluster {
    /// A place for a cluster; [`init`](Self::init) fills it.
    pub fn new(name: &str) -> Self {
        Self::on(name, Server::get())
    }

    /// A place for a cluster of another server.
    pub fn on(name: &str, server: &'static Server) -> Self {
        static ORPHANS: Once = Once::new();
        // A socket's whole path must stay below 108 bytes.
        let parent = std::env::var_os("WALKER_TEST_DIR").unwrap_or_else(|| "/tmp".into());
        ORPHANS.call_once(|| remove_orphans(server, Path::new(&parent)));
        let base = directory::create(Path::new(&parent));
        server.give(&base);
        Self {
            name: name.to_owned(),
            base,
            server,
            launch: Launch::default(),
        }
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.base.join("data")
    }

    /// Where the socket is, for clients.
    pub fn host(&self) -> &Path {
        &self.base
    }

    /// A path of the test's own in the cluster's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// Makes a new, empty cluster with the settings every test wants.
    pub fn init(&self) {
        self.init_with(&[]);
    }

    /// As [`init`](Self::init), with more options for `initdb`.
    pub fn init_with(&self, options: &[&str]) {
        let mut initdb = self.server.command("initdb");
        initdb.arg("-D").arg(self.data_dir());
        initdb.args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        run(initdb.args(options));
        self.append_conf(
            "listen_addresses = ''\n\
             fsync = off\n\
             max_connections = 40\n\
             max_prepared_transactions = 20\n\
             wal_keep_size = '2GB'\n\
             wal_retrieve_retry_interval = '100ms'\n\
             log_line_prefix = '%m [%p] %b %a '\n\
             log_checkpoints = on\n\
             log_lock_waits = off\n",
        );
        self.own_sockets();
    }

    pub(crate) fn own_sockets(&self) {
        self.append_conf(&format!(
            "unix_socket_directories = '{}'",
            self.base.display()
        ));
    }

    /// Adds lines to `postgresql.conf`; of two lines the later one counts.
    pub fn append_conf(&self, lines: &str) {
        let path = self.data_dir().join("postgresql.conf");
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .expect("postgresql.conf");
        writeln!(file, "{lines}").expect("postgresql.conf");
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut command = self.server.command("pg_ctl");
        command.arg(action).arg("-D").arg(self.data_dir());
        command.arg("-t").arg(timeout().as_secs().to_string());
        command
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) {
        let mut started = self.try_start();
        // Each failed start names one file more.
        while started.is_err() && self.remove_future_two_phase_files() {
            started = self.try_start();
        }
        if let Err(message) = started {
            panic!(
                "cluster \"{}\" did not start: {message}\n{}",
                self.name,
                self.log_tail(40)
            );
        }
    }

    /// A crash in the middle of a checkpoint can leave state files of prepared
    /// transactions that the checkpoint before does not know. The server
    /// removes them, and WAL replay writes them again; but servers built with
    /// assertions (17 and 18) trip over their own assertion while they do
    /// (RemoveTwoPhaseFile in access/transam/twophase.c). So remove what the
    /// server said it was removing; whether there was something.
    fn remove_future_two_phase_files(&self) -> bool {
        let needle = "removing future two-phase state file for transaction ";
        let log = self.log_tail(60);
        let xids = log.lines().filter_map(|line| line.split_once(needle));
        let mut removed = false;
        for (_, xid) in xids {
            let Ok(xid) = xid.trim().parse::<u32>() else {
                continue;
            };
            // Its name is the transaction ID, from 17 on behind the epoch.
            for name in [format!("{xid:08X}"), format!("{:08X}{xid:08X}", 0)] {
                let file = self.data_dir().join("pg_twophase").join(name);
                removed |= std::fs::remove_file(file).is_ok();
            }
        }
        // One whose writing a kill has interrupted is no file to the server
        // either; the WAL it is written from has not been let go yet.
        for broken in log.split("incorrect size of file \"").skip(1) {
            if let Some((name, _)) = broken.split_once('"')
                && name.starts_with("pg_twophase/")
            {
                removed |= std::fs::remove_file(self.data_dir().join(name)).is_ok();
            }
        }
        removed
    }

    /// As [`start`](Self::start), for tests in which it may fail.
    pub fn try_start(&self) -> Result<(), String> {
        let mut command = self.pg_ctl("start");
        command.args(["-w", "-s", "-l"]).arg(self.log_path());
        let mut command = self.launch.wrap(self.server, command);
        // The server must not hold pipes of ours.
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match status.status() {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Stops the server; returns how long that took.
    pub fn stop(&self, mode: Mode) -> Duration {
        let mode = match mode {
            Mode::Smart => "smart",
            Mode::Fast => "fast",
            Mode::Immediate => "immediate",
        };
        let begin = Instant::now();
        run(self.pg_ctl("stop").args(["-w", "-m", mode]));
        begin.elapsed()
    }

    /// Stops (fast) and starts.
    pub fn restart(&self) {
        self.stop(Mode::Fast);
        self.start();
    }

    /// Makes the server read its configuration again.
    pub fn reload(&self) {
        run(&mut self.pg_ctl("reload"));
    }

    /// Ends recovery on a standby and waits until it has ended.
    pub fn promote(&self) {
        run(self.pg_ctl("promote").arg("-w"));
    }

    /// The postmaster's process ID, if the server runs.
    pub fn postmaster_pid(&self) -> Option<u32> {
        let file = fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?;
        let pid = file.lines().next()?.trim().parse().ok()?;
        // The file of a server that was killed stays, and the number may be
        // another process's by now.
        runs_in(pid, &self.data_dir()).then_some(pid)
    }

    /// Kills the postmaster and every process of it with SIGKILL, as a power
    /// failure would (but for what the kernel still writes).
    pub fn kill9(&self) {
        let postmaster = self.postmaster_pid().expect("the server runs");
        signal("STOP", &[postmaster]);
        let mut pids = children(postmaster);
        pids.push(postmaster);
        signal("KILL", &pids);
        // Until they are reaped: the next start asks whether the ID is in use.
        poll_until("killed processes to end", || {
            pids.iter().all(|pid| !exists(*pid)).then_some(())
        });
    }

    /// Where the server's messages go.
    pub fn log_path(&self) -> PathBuf {
        self.base.join("log")
    }

    /// The server's messages from an offset on.
    pub fn log_from(&self, offset: usize) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes[offset.min(bytes.len())..]).into_owned()
    }

    /// The log's length: an offset for [`wait_for_log`](Self::wait_for_log).
    pub fn log_offset(&self) -> usize {
        fs::metadata(self.log_path()).map_or(0, |m| m.len() as usize)
    }

    /// Waits until a text appears in the log after an offset; returns an
    /// offset behind it.
    pub fn wait_for_log(&self, needle: &str, offset: usize) -> usize {
        poll_until(
            &format!("\"{needle}\" in the log of \"{}\"", self.name),
            || {
                let log = self.log_from(offset);
                log.find(needle).map(|at| offset + at + needle.len())
            },
        )
    }

    /// The last lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log_from(0);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// How to connect, as the superuser.
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.base)
            .user("postgres")
            .dbname(database);
        config.application_name("test").connect_timeout(timeout());
        config
    }

    /// Connects as the superuser.
    pub fn connect(&self, database: &str) -> Client {
        self.config(database).connect(NoTls).unwrap_or_else(|e| {
            panic!(
                "no connection to \"{database}\" of cluster \"{}\": {e:?}",
                self.name
            )
        })
    }

    /// Whether this server is in recovery.
    pub fn is_standby(&self) -> bool {
        let signals = ["standby.signal", "recovery.signal"];
        signals
            .iter()
            .any(|signal| self.data_dir().join(signal).exists())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.postmaster_pid().is_some() {
            let _ = output(self.pg_ctl("stop").args(["-w", "-m", "immediate"]));
        }
        let failed = std::thread::panicking();
        let keep = failed && crate::poll::env_number("WALKER_TEST_KEEP", 1) != 0;
        if failed {
            eprintln!(
                "---- end of the log of cluster \"{}\", which {} {} ----\n{}\n----",
                self.name,
                if keep { "is kept in" } else { "was in" },
                self.base.display(),
                self.log_tail(env_lines()),
            );
        }
        if keep {
            let _ = fs::write(self.base.join(KEPT), "");
        } else {
            directory::remove(&self.base);
        }
    }
}

/// In the directory of a cluster that is kept, because its test has failed.
const KEPT: &str = "kept";

/// Ends and removes what a killed test has left. A failed test's cluster does not
/// run and stays to be looked at.
fn remove_orphans(server: &'static Server, parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|n| n.strip_prefix("walker-")?.split('-').next());
        let Some(owner) = owner.and_then(|pid| pid.parse().ok()) else {
            continue;
        };
        let cluster = Cluster {
            name: "orphan".to_owned(),
            base: entry.path(),
            server,
            launch: Launch::default(),
        };
        let kept = || cluster.base.join(KEPT).exists() && cluster.postmaster_pid().is_none();
        if exists(owner) || kept() {
            // Not ours to remove.
            std::mem::forget(cluster);
        }
    }
}

fn env_lines() -> usize {
    crate::poll::env_number("WALKER_LOG_LINES", 200) as usize
}
