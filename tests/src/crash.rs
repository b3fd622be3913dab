//! Ways to end a server, or part of it, at the worst time.

use crate::cluster::{Cluster, Mode, children, signal};
use crate::poll::{poll_for, poll_until};
use crate::process::{is_alive, is_stopped};
use crate::rng::Rng;
use postgres::NoTls;
use std::fs;
use std::time::{Duration, Instant};

/// A way to end it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blow {
    /// SIGKILL to the postmaster and all its children, as a power failure.
    Everything,
    /// The same while the worker is writing plugins' state.
    InStateWrite,
    /// SIGKILL to the worker; the postmaster restarts all sessions.
    Worker,
    /// SIGKILL to some process of the server.
    Anyone,
    /// Immediate stop.
    Immediate,
    /// Fast stop.
    Fast,
    /// `pg_terminate_backend` of the worker; nobody else is concerned.
    TerminateWorker,
}

impl Blow {
    /// All of them, the hard ones more than once.
    const ALL: [Self; 10] = [
        Self::Everything,
        Self::Worker,
        Self::Immediate,
        Self::InStateWrite,
        Self::Anyone,
        Self::Everything,
        Self::Fast,
        Self::TerminateWorker,
        Self::InStateWrite,
        Self::Anyone,
    ];

    /// The blow of the n-th cycle: each kind in turn, beginning anywhere.
    pub fn of_cycle(n: u64, seed: u64) -> Self {
        Self::ALL[(seed.wrapping_add(n) % Self::ALL.len() as u64) as usize]
    }

    /// Whether the server has to recover from a crash.
    pub fn is_crash(self) -> bool {
        !matches!(self, Self::Fast | Self::TerminateWorker)
    }

    /// Strikes; returns when the server takes connections again, with the
    /// moment from which on it did.
    pub fn strike(self, cluster: &Cluster, rng: &mut Rng) -> Instant {
        let offset = cluster.log_offset();
        match self {
            Self::Everything => {
                cluster.kill9();
                cluster.start();
            }
            Self::InStateWrite => {
                begin_state_write(cluster);
                cluster.kill9();
                end_state_write(cluster);
                cluster.start();
            }
            Self::Immediate => {
                cluster.stop(Mode::Immediate);
                cluster.start();
            }
            Self::Fast => cluster.restart(),
            Self::Worker => {
                signal("KILL", &[cluster.worker_pid()]);
                wait_for_restart(cluster, offset);
            }
            Self::Anyone => {
                kill_anyone(cluster, rng);
                wait_for_restart(cluster, offset);
            }
            Self::TerminateWorker => {
                end_worker(cluster.worker_pid());
            }
        }
        wait_for_connections(cluster)
    }
}

impl Cluster {
    /// The worker's process ID, once it runs.
    pub fn worker_pid(&self) -> u32 {
        poll_until("a worker", || self.walker_status().get("pid")?.parse().ok())
    }

    /// Stops the worker where it waits for WAL; its process ID. Elsewhere it may
    /// hold what others need: a checkpoint waits for whoever writes a slot.
    pub fn stop_waiting_worker(&self) -> u32 {
        self.stop_waiting("Extension", || self.worker_pid())
    }

    /// The same of the server's own process of this `backend_type`.
    pub fn stop_waiting_background(&self, backend_type: &str) -> u32 {
        let pid = format!("SELECT pid FROM pg_stat_activity WHERE backend_type = '{backend_type}'");
        let pid = || {
            self.safe_psql("postgres", &pid)
                .parse()
                .expect("one process")
        };
        self.stop_waiting("Activity", pid)
    }

    /// The same of a session that is in one of our functions.
    pub fn stop_waiting_backend(&self, pid: u32) {
        self.stop_waiting("Extension", || pid);
    }

    fn stop_waiting(&self, wait_event_type: &str, pid: impl Fn() -> u32) -> u32 {
        poll_until("a process to wait where it may be stopped", || {
            let pid = pid();
            signal("STOP", &[pid]);
            let waits = format!(
                "SELECT wait_event_type = '{wait_event_type}' FROM pg_stat_activity WHERE pid = {pid}"
            );
            if self.safe_psql("postgres", &waits) == "t" {
                return Some(pid);
            }
            signal("CONT", &[pid]);
            None
        })
    }
}

/// Ends a worker in order, so that it saves what plugins have; another will
/// start.
pub fn end_worker(pid: u32) {
    signal("TERM", &[pid]);
    poll_until("the worker to end", || (!is_alive(pid)).then_some(()));
}

/// Ends the worker and does something before the next one starts.
pub fn between_workers<R>(cluster: &Cluster, act: impl FnOnce() -> R) -> R {
    let pid = cluster.worker_pid();
    end_worker(pid);
    let result = act();
    let sql = format!("SELECT pid <> {pid} AND state <> 'starting' FROM walker_status");
    cluster.poll_query_until("postgres", &sql, "t");
    result
}

/// The postmaster restarts its server by itself, unless the start fails, see
/// `Cluster::start`.
fn wait_for_restart(cluster: &Cluster, offset: usize) {
    let gave_up = poll_until("the server to restart", || {
        let log = cluster.log_from(offset);
        if log.contains("ready to accept connections") {
            return Some(false);
        }
        log.contains("database system is shut down").then_some(true)
    });
    if gave_up {
        poll_until("the postmaster to end", || {
            cluster.postmaster_pid().is_none().then_some(())
        });
        cluster.start();
    }
}

fn wait_for_connections(cluster: &Cluster) -> Instant {
    poll_until("the server to take connections", || {
        let client = cluster.config("postgres").connect(NoTls).ok()?;
        drop(client);
        Some(Instant::now())
    })
}

/// A checkpoint makes the plugins write, and the state stays unfinished: the
/// server has "slow_disk" in the place of libc.
fn begin_state_write(cluster: &Cluster) {
    fs::write(cluster.data_dir().join("slow_name"), "").expect("a file");
    let config = cluster.config("postgres");
    let checkpoints = std::thread::spawn(move || {
        if let Ok(mut client) = config.connect(NoTls) {
            while client.simple_query("CHECKPOINT").is_ok() {}
        }
    });
    let waits = cluster.data_dir().join("slow_name.waits");
    poll_until("a state to be written", || waits.exists().then_some(()));
    drop(checkpoints);
}

/// The server is gone, and what it was about to give a name is there.
fn end_state_write(cluster: &Cluster) {
    let unfinished = cluster.data_dir().join("pg_walker/garbagemap.tmp");
    assert!(unfinished.exists(), "no state was being written");
    for name in ["slow_name", "slow_name.waits"] {
        fs::remove_file(cluster.data_dir().join(name)).expect("a file");
    }
}

/// Kills only a process that has stopped: one that was on its way out when it
/// was told to would end as if nothing had happened, and that is no crash.
fn kill_anyone(cluster: &Cluster, rng: &mut Rng) {
    let postmaster = cluster.postmaster_pid().expect("the server runs");
    let killed = poll_for(Duration::from_secs(60), || {
        let pids = children(postmaster);
        let pid = *rng.pick(&pids);
        signal("STOP", &[pid]);
        let stopped = poll_for(Duration::from_secs(5), || {
            is_stopped(pid)
                .then_some(true)
                .or((!is_alive(pid)).then_some(false))
        });
        (stopped == Some(true)).then(|| signal("KILL", &[pid]))
    });
    assert!(killed.is_some(), "nobody to kill");
}
