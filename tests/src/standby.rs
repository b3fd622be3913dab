//! Base backups and streaming standbys.

use crate::cluster::Cluster;
use crate::server::run;
use std::path::PathBuf;
use std::process::Command;

impl Cluster {
    /// Takes a base backup; returns where it is.
    pub fn backup(&self, name: &str) -> PathBuf {
        let target = self.path(name);
        let mut command = self.server.command("pg_basebackup");
        command
            .arg("-h")
            .arg(self.host())
            .args(["-U", "postgres", "-c", "fast", "-X", "stream"]);
        run(command.arg("--no-sync").arg("-D").arg(&target));
        target
    }

    /// A cluster from a backup of another one, not started yet.
    pub fn init_from_backup(name: &str, from: &Self, backup: &str) -> Self {
        let cluster = Self::new(name);
        let mut copy = cluster.server.owned(Command::new("cp"));
        run(copy
            .arg("-a")
            .arg(from.path(backup))
            .arg(cluster.data_dir()));
        cluster.own_sockets();
        cluster
    }

    /// Makes this cluster a streaming standby of another one, from its start.
    pub fn enable_streaming(&self, primary: &Self) {
        self.append_conf(&format!(
            "primary_conninfo = 'host={} user=postgres application_name={}'",
            primary.host().display(),
            self.name
        ));
        let path = self.data_dir().join("standby.signal");
        std::fs::write(&path, "").unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.server.give(&path);
    }

    /// A started streaming standby of a primary that runs.
    pub fn standby_of(name: &str, primary: &Self) -> Self {
        let backup = format!("backup-{name}");
        primary.backup(&backup);
        let standby = Self::init_from_backup(name, primary, &backup);
        let _ = std::fs::remove_dir_all(primary.path(&backup));
        standby.enable_streaming(primary);
        standby.start();
        standby
    }

    /// The position a reader has to reach to have seen everything up to now.
    pub fn current_lsn(&self) -> String {
        let function = if self.is_standby() {
            "pg_last_wal_replay_lsn()"
        } else {
            "pg_current_wal_insert_lsn()"
        };
        self.safe_psql("postgres", &format!("SELECT {function}"))
    }

    /// Pushes out what has been written without a flush (aborts, prunings), by
    /// a commit that changes nothing.
    pub fn flush_wal(&self) {
        self.safe_psql(
            "postgres",
            "SELECT pg_logical_emit_message(true, 'test', 'flush')",
        );
    }

    /// Waits until a standby has replayed all that this primary has written.
    pub fn wait_for_catchup(&self, standby: &Self) {
        self.flush_wal();
        let lsn = self.safe_psql("postgres", "SELECT pg_current_wal_flush_lsn()");
        standby.poll_query_until(
            "postgres",
            &format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn"),
            "t",
        );
    }
}
