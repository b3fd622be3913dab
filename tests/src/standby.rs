//! Base backups and streaming standbys.

use crate::cluster::Cluster;
use crate::server::{output, run};
use crate::session::{Session, aligned};
use std::path::PathBuf;
use std::process::{Child, Command};

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

    /// Takes a backup with plugin state in it that the copy can go on from;
    /// returns where it is. A state from before the backup's start, as
    /// `pg_basebackup` may find it, cannot be proven: its WAL is not in the
    /// backup.
    pub fn backup_with_state(&self, name: &str) -> PathBuf {
        let target = self.path(name);
        let mut session = Session::open(self, "postgres");
        session.safe("SELECT pg_backup_start('with state', true)");
        self.wait_for_saved_state();
        let copy = |from: PathBuf, to: &std::path::Path| {
            // Files may go while they are copied, and processes' own come along.
            let mut copy = self.server.owned(Command::new("cp"));
            output(copy.arg("-aT").arg(from).arg(to));
        };
        copy(self.data_dir(), &target);
        let sql = "SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)";
        let label = aligned(&session.safe(sql));
        copy(self.data_dir().join("pg_wal"), &target.join("pg_wal"));
        let file = target.join("backup_label");
        std::fs::write(&file, label).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.server.give(&file);
        for name in ["postmaster.pid", "postmaster.opts"] {
            let _ = std::fs::remove_file(target.join(name));
        }
        for slot in std::fs::read_dir(target.join("pg_replslot")).expect("slots") {
            std::fs::remove_dir_all(slot.expect("a slot").path()).expect("a slot");
        }
        target
    }

    /// Waits until plugin state is durable that is not older than the last
    /// checkpoint's redo pointer.
    pub fn wait_for_saved_state(&self) {
        let saved = "SELECT state_lsn >= redo_lsn FROM garbage_status, pg_control_checkpoint()";
        self.poll_query_until("postgres", saved, "t");
    }

    /// The same for the state, or the position, of every plugin.
    pub fn wait_for_durable_plugins(&self) {
        let saved = "SELECT bool_and(coalesce(durable_lsn >= redo_lsn, false))
                     FROM walker_plugins, pg_control_checkpoint()";
        self.poll_query_until("postgres", saved, "t");
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
        primary.backup(&format!("backup-{name}"));
        Self::standby_from_backup(name, primary)
    }

    /// The same; its worker goes on from the primary's state.
    pub fn standby_with_state(name: &str, primary: &Self) -> Self {
        primary.backup_with_state(&format!("backup-{name}"));
        Self::standby_from_backup(name, primary)
    }

    fn standby_from_backup(name: &str, primary: &Self) -> Self {
        let backup = format!("backup-{name}");
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

    /// Starts somebody who receives WAL by this slot.
    pub fn receive_wal(&self, slot: &str) -> Child {
        let target = self.path(&format!("received-{slot}"));
        std::fs::create_dir(&target).expect("a directory");
        self.server.give(&target);
        let mut receiver = self.server.command("pg_receivewal");
        receiver.arg("-h").arg(self.host());
        receiver.args(["-U", "postgres", "-S", slot, "-D"]);
        receiver.arg(&target).spawn().expect("pg_receivewal")
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

/// Settings of a primary that can be rewound and archived.
pub const REWINDABLE: &str = "wal_log_hints = on\nautovacuum_naptime = 1";

impl Cluster {
    /// Makes this cluster, which must not run, a standby of another one whose
    /// history has left its own.
    pub fn rewind(&self, source: &Self) {
        // 15 looks for the timeline in the control file, where a promotion
        // alone does not write it.
        source.safe_psql("postgres", "CHECKPOINT");
        let mut command = self.server.command("pg_rewind");
        command.arg("--target-pgdata").arg(self.data_dir());
        command.arg("--source-server").arg(format!(
            "host={} user=postgres dbname=postgres",
            source.host().display()
        ));
        run(&mut command);
        self.own_sockets();
        self.enable_streaming(source);
    }

    /// Archives every WAL segment below [`archive`](Self::archive).
    pub fn enable_archiving(&self) {
        let archive = self.archive();
        std::fs::create_dir_all(&archive).unwrap_or_else(|e| panic!("{}: {e}", archive.display()));
        self.server.give(&archive);
        self.append_conf(&format!(
            "archive_mode = on\narchive_command = 'cp %p \"{}/%f\"'",
            archive.display()
        ));
    }

    /// Where WAL is archived.
    pub fn archive(&self) -> PathBuf {
        self.path("archive")
    }

    /// Makes this cluster recover from another one's archive up to a position,
    /// and then go its own way.
    pub fn recover_up_to(&self, lsn: &str, archive: &std::path::Path) {
        self.append_conf(&format!(
            "restore_command = 'cp \"{}/%f\" \"%p\"'
             recovery_target_lsn = '{lsn}'
             recovery_target_action = 'promote'
             archive_mode = off",
            archive.display()
        ));
        let path = self.data_dir().join("recovery.signal");
        std::fs::write(&path, "").unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.server.give(&path);
    }

    /// Where the WAL of the current timeline begins, by its history file.
    pub fn switch_point(&self, timeline: u32) -> String {
        let path = self
            .data_dir()
            .join(format!("pg_wal/{timeline:08X}.history"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let last = text
            .lines()
            .rfind(|l| !l.trim().is_empty())
            .expect("a line");
        last.split_whitespace()
            .nth(1)
            .expect("a position")
            .to_owned()
    }
}

impl Cluster {
    /// Stops what this standby receives; waits until it has replayed all it
    /// has, and the primary knows no receiver.
    pub fn stop_receiving(&self, primary: &Self) {
        self.append_conf("primary_conninfo = ''");
        self.reload();
        let receivers = "SELECT count(*) FROM pg_stat_replication";
        primary.poll_query_until("postgres", receivers, "0");
    }

    /// Waits until a file whose name ends so has been archived.
    pub fn wait_for_archived(&self, end: &str) {
        let archive = self.archive();
        crate::poll::poll_until(&format!("a file *{end} in the archive"), || {
            let mut files = std::fs::read_dir(&archive).ok()?.flatten();
            files.find(|f| f.file_name().to_string_lossy().ends_with(end))
        });
    }
}
