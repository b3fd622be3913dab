//! The server's own TAP tests, from its source tree, on an installed server.

use crate::cluster::Cluster;
use crate::server::{output, text};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// For what has to have a short path.
const SOCKETS: &str = "s";

/// The tests of one directory of the tree, and where they put what they make.
pub struct Tap<'a> {
    cluster: &'a Cluster,
    tree: &'a Path,
    tests: PathBuf,
    scratch: PathBuf,
    /// Where they run: a directory of the same name, because some look for others
    /// of the tree from there.
    here: PathBuf,
}

impl<'a> Tap<'a> {
    /// Tests to be run by the server of this cluster, in its directory.
    pub fn new(cluster: &'a Cluster, tree: &'a Path, directory: &str) -> Self {
        let (scratch, sockets) = (cluster.path("scratch"), cluster.path(SOCKETS));
        for made in [
            &scratch,
            &scratch.join("log"),
            &scratch.join("ports"),
            &sockets,
        ] {
            fs::create_dir(made).expect("a directory");
            cluster.server.give(made);
        }
        let (tests, here) = (tree.join(directory), scratch.join(directory));
        fs::create_dir_all(&here).expect("a directory");
        cluster.server.give(&here);
        let common = scratch.join("src/test");
        if !common.exists() {
            symlink(tree.join("src/test"), common).expect("a link");
        }
        Self {
            cluster,
            tree,
            tests,
            scratch,
            here,
        }
    }

    /// The names of all tests, without `.pl`.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.tests.join("t")).expect("tests");
        let names = entries.map(|entry| entry.expect("a test").file_name());
        let names = names.filter_map(|name| Some(name.to_str()?.strip_suffix(".pl")?.to_owned()));
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Runs tests, with these settings in each of their servers beside what they
    /// set themselves, in the environment that the server's own Makefiles give them
    /// (`prove_installcheck` in src/Makefile.global.in), but for programs that they
    /// can do without. What their servers leave stays.
    pub fn pass(&self, names: &[String], settings: &str) {
        let server = self.cluster.server;
        let conf = self.scratch.join("settings.conf");
        fs::write(&conf, settings).expect("settings");
        let bin = server.program("postgres");
        let bin = bin.parent().expect("a directory").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = server.owned(Command::new("prove"));
        command.args(["--jobs", "2", "-I"]);
        command.arg(self.tree.join("src/test/perl"));
        command.arg("-I").arg(&self.tests);
        let script = |name: &String| self.tests.join("t").join(format!("{name}.pl"));
        command.args(names.iter().map(script));
        command
            .current_dir(&self.here)
            .env("PATH", format!("{bin}:{path}"))
            .env("TEMP_CONFIG", &conf)
            .env("TESTLOGDIR", self.scratch.join("log"))
            .env("TESTDATADIR", &self.scratch)
            .env("TMPDIR", self.cluster.path(SOCKETS))
            .env("PG_TEST_NOCLEAN", "1")
            .env("PG_TEST_TIMEOUT_DEFAULT", "600")
            .env("PG_TEST_PORT_DIR", self.scratch.join("ports"))
            .env("PG_REGRESS", self.tree.join("src/test/regress/pg_regress"))
            .env(
                "REGRESS_SHLIB",
                self.tree.join("src/test/regress/regress.so"),
            )
            .env("top_builddir", self.tree)
            .env("share_contrib_dir", server.ask("--sharedir"))
            .env("TAR", "tar")
            .env("GZIP_PROGRAM", "gzip")
            .env("enable_injection_points", "no")
            .env("with_icu", "no");
        let done = output(&mut command);
        let said = text(&done) + &String::from_utf8_lossy(&done.stderr);
        if done.status.success() && said.contains("All tests successful.") {
            return;
        }
        self.show_logs(&said);
        panic!("{}\n{said}", self.tests.display());
    }

    /// What the servers of those have logged that the summary names as failed.
    fn show_logs(&self, summary: &str) {
        let failed = summary.lines().filter(|line| line.contains("(Wstat:"));
        let failed = failed.filter_map(|line| Path::new(line.split(' ').next()?).file_stem());
        let failed: Vec<_> = failed.map(|stem| stem.to_string_lossy()).collect();
        for (name, log) in self.logs() {
            if failed.iter().any(|test| name.starts_with(&**test)) {
                eprintln!("---- {name} ----\n{log}");
            }
        }
    }

    /// What the servers have logged, by the names of the files; what the tests say
    /// themselves is beside it.
    pub fn logs(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.scratch.join("log")).expect("logs");
        let paths = entries.map(|entry| entry.expect("a log").path());
        let own = paths.filter(|path| path.extension().is_some_and(|e| e == "log"));
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let log = fs::read(&path).expect("a log");
            let log = String::from_utf8_lossy(&log).into_owned();
            (name.into_owned(), log)
        };
        own.map(read).collect()
    }

    /// The data directories that are left.
    pub fn data_directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.scratch).expect("data directories");
        let paths = entries.map(|entry| entry.expect("one").path().join("pgdata"));
        let mut paths: Vec<_> = paths.filter(|path| path.is_dir()).collect();
        paths.sort();
        paths
    }
}
