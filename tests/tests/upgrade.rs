//! pg_upgrade with walker preloaded on both sides.
//!
//! `WALKER_OLD_PG_CONFIG` names the older server, in which walker must be
//! installed as well; without it there is nothing to upgrade from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use walker_tests::Cluster;
use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known};
use walker_tests::server::{run, text};
use walker_tests::skip::skipped;
use walker_tests::walker::{PRELOAD, plain};

/// The older server and a data directory of it.
struct Old<'a> {
    cluster: &'a Cluster,
    bindir: PathBuf,
    data: PathBuf,
}

impl Old<'_> {
    fn command(&self, program: &str) -> Command {
        self.cluster
            .server
            .owned(Command::new(self.bindir.join(program)))
    }

    fn pg_ctl(&self, action: &[&str]) {
        let mut command = self.command("pg_ctl");
        command
            .args(action)
            .args(["-w", "-s", "-D"])
            .arg(&self.data);
        command.arg("-l").arg(self.cluster.path("old.log"));
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(quiet.status().expect("pg_ctl").success(), "{action:?}");
    }

    fn psql(&self, sql: &str) -> String {
        let mut command = self.command("psql");
        command.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
        ]);
        command
            .arg("-h")
            .arg(self.cluster.host())
            .args(["-d", "postgres", "-c", sql]);
        text(&run(&mut command)).trim().to_owned()
    }
}

fn old_pg_config() -> Option<PathBuf> {
    let path = std::env::var_os("WALKER_OLD_PG_CONFIG").filter(|path| !path.is_empty());
    if path.is_none() {
        skipped("pg_upgrade: WALKER_OLD_PG_CONFIG is not set; make check sets it for 17 and 18");
    }
    path.map(PathBuf::from)
}

fn bindir(pg_config: &Path) -> PathBuf {
    let output = run(Command::new(pg_config).arg("--bindir"));
    text(&output).trim().into()
}

#[test]
fn the_new_server_begins_anew() {
    let Some(old) = old_pg_config().filter(|_| !plain()) else {
        return;
    };
    let cluster = Cluster::new("upgraded");
    let old = Old {
        cluster: &cluster,
        bindir: bindir(&old),
        data: cluster.path("old"),
    };
    let mut initdb = old.command("initdb");
    initdb.args([
        "-A",
        "trust",
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
        "-D",
    ]);
    run(initdb.arg(&old.data));
    let conf = old.data.join("postgresql.conf");
    let mut settings = std::fs::read_to_string(&conf).expect("its settings");
    settings += &format!(
        "\nlisten_addresses = ''\nfsync = off\nunix_socket_directories = '{}'\n{PRELOAD}\n",
        cluster.host().display()
    );
    std::fs::write(&conf, settings).expect("its settings");
    old.pg_ctl(&["start"]);
    for sql in [
        "CREATE EXTENSION walker",
        "CREATE EXTENSION garbagemap",
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a",
        "DELETE FROM t WHERE a <= 100",
        "SELECT walker_wait(pg_current_wal_insert_lsn(), '30 s')",
    ] {
        old.psql(sql);
    }
    let map = "SELECT sum(n_dead_tuples), bool_and(exact) FROM garbage_map('t')";
    assert_eq!(old.psql(map), "100|t");
    old.pg_ctl(&["stop", "-m", "fast"]);
    assert!(old.data.join("pg_walker/garbagemap").exists());

    let options: &[&str] = match cluster.server.major >= 18 {
        true => &["--no-data-checksums"],
        false => &[],
    };
    cluster.init_with(options);
    cluster.append_conf(PRELOAD);
    for check in [true, false] {
        let mut upgrade = cluster.server.command("pg_upgrade");
        upgrade
            .current_dir(cluster.host())
            .args(["-U", "postgres", "-b"])
            .arg(&old.bindir);
        upgrade
            .arg("-d")
            .arg(&old.data)
            .arg("-D")
            .arg(cluster.data_dir());
        upgrade.arg("--socketdir").arg(cluster.host());
        upgrade.args(check.then_some("--check"));
        run(&mut upgrade);
    }
    cluster.start();
    cluster.create_extensions("postgres");
    cluster.walker_wait();
    assert_map_exact(&cluster, "postgres");
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    assert_eq!(cluster.safe_psql("postgres", map), "100|t");
    cluster.safe_psql("postgres", "DELETE FROM t WHERE a > 900");
    assert_eq!(
        cluster.safe_psql("postgres", "SELECT gaps FROM walker_status"),
        "0"
    );
    assert_map_exact_and_known(&cluster, "postgres");
}
