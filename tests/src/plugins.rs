//! Plugins that are built when a test needs them, beside its cluster.
//!
//! They are found along `dynamic_library_path`, as any library of an
//! extension is, so that the installed server stays as it is.

use crate::cluster::Cluster;
use crate::server::{Server, run};
use crate::session::{aligned, rows};
use crate::waldump;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the source tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tree")
        .to_owned()
}

/// A library to build: its name, its source, macros to define.
#[derive(Clone, Debug)]
pub struct Library {
    /// Its name, as in `walker.plugins`.
    pub name: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    C { path: PathBuf, defines: Vec<String> },
    Rust { package: String },
}

impl Library {
    /// `tests/plugins/SOURCE.c`, under that name.
    pub fn c(source: &str) -> Self {
        Self::c_as(source, source, &[])
    }

    /// `tests/plugins/SOURCE.c` under another name, with macros defined.
    pub fn c_as(name: &str, source: &str, defines: &[&str]) -> Self {
        let path = root().join(format!("tests/plugins/{source}.c"));
        Self::c_file(name, &path, defines)
    }

    /// A C file anywhere.
    pub fn c_file(name: &str, path: &Path, defines: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            source: Source::C {
                path: path.to_owned(),
                defines: defines.iter().map(|d| format!("-D{d}")).collect(),
            },
        }
    }

    /// A package of the workspace.
    pub fn rust(package: &str) -> Self {
        Self {
            name: package.to_owned(),
            source: Source::Rust {
                package: package.to_owned(),
            },
        }
    }

    /// The example that counts records by resource manager.
    pub fn rmgr_counter() -> Self {
        let path = root().join("plugins/examples/rmgr_counter/rmgr_counter.c");
        Self::c_file("rmgr_counter", &path, &[])
    }

    /// Builds it into a directory.
    pub fn build(&self, to: &Path) {
        let library = to.join(format!("{}.so", self.name));
        match &self.source {
            Source::C { path, defines } => {
                let mut gcc = compiler("gcc", Server::get());
                gcc.args(["-std=gnu99", "-O2", "-fPIC", "-shared", "-pthread"]);
                run(gcc.args(defines).arg(path).arg("-o").arg(&library));
            }
            Source::Rust { package } => {
                let built = build_rust(package);
                fs::copy(&built, &library).unwrap_or_else(|e| panic!("{}: {e}", built.display()));
            }
        }
    }
}

/// A compiler that finds walker's header, as `walker.h` in the tree and as the
/// installed one, and the server's.
pub fn compiler(program: &str, server: &Server) -> Command {
    let mut command = Command::new(program);
    command.args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]);
    // Server headers are not ours to warn about.
    command.arg("-I").arg(root().join("include"));
    command
        .arg("-isystem")
        .arg(server.ask("--includedir-server"));
    command.arg("-D_GNU_SOURCE");
    command
}

/// Builds a cdylib of the workspace for the server under test; where it is.
fn build_rust(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(["build", "--quiet"]);
    command.args(["--package", package, "--no-default-features"]);
    command.arg(format!("--features=pg{}", Server::get().major));
    // What `cargo test` sets for its own crate must not reach another build.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text == "CARGO_MANIFEST_DIR" {
            command.env_remove(&name);
        }
    }
    run(&mut command);
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(format!("debug/lib{package}.so"))
}

/// What a cluster with plugins is made of.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    /// Libraries to build.
    pub libraries: &'a [Library],
    /// `walker.plugins`
    pub plugins: &'a str,
    /// Preloaded after walker.
    pub preload: &'a str,
    /// A library whose functions take the place of libc's in every process of
    /// the server.
    pub interpose: &'a str,
    /// More of the configuration.
    pub conf: &'a str,
}

impl Cluster {
    /// A running cluster with walker and these plugins. The worker comes back
    /// at once after a failure.
    pub fn with_plugins(name: &str, setup: &Setup<'_>) -> Self {
        let mut cluster = Self::new(name);
        cluster.init();
        cluster.build_libraries(setup.libraries);
        if !setup.interpose.is_empty() {
            cluster.interpose(setup.interpose);
        }
        cluster.append_conf(&format!(
            "dynamic_library_path = '{}:$libdir'
             shared_preload_libraries = 'walker{}{}'
             walker.restart_interval = 0
             walker.plugins = '{}'
             autovacuum = off
             {}",
            cluster.library_dir().display(),
            if setup.preload.is_empty() { "" } else { "," },
            setup.preload,
            setup.plugins,
            setup.conf
        ));
        cluster.start();
        cluster.safe_psql("postgres", "CREATE EXTENSION walker");
        cluster
    }

    /// From the next start on the functions of a library that was built take the
    /// place of libc's in every process of the server.
    pub fn interpose(&mut self, library: &str) {
        let path = self.library_dir().join(format!("{library}.so"));
        let preload = ("LD_PRELOAD".to_owned(), path.into());
        self.launch.environment.push(preload);
    }

    /// Where the libraries are that were built for this cluster.
    pub fn library_dir(&self) -> PathBuf {
        self.path("lib")
    }

    /// Builds libraries for this cluster.
    pub fn build_libraries(&self, libraries: &[Library]) {
        let to = self.library_dir();
        fs::create_dir_all(&to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
        for library in libraries {
            library.build(&to);
        }
    }

    /// Some columns of a plugin's row in `walker_plugins`.
    pub fn plugin(&self, name: &str, columns: &str) -> String {
        self.safe_psql(
            "postgres",
            &format!("SELECT {columns} FROM walker_plugins WHERE name = '{name}'"),
        )
    }

    /// Waits until a plugin is in a state.
    pub fn wait_for_plugin(&self, name: &str, state: &str) {
        let sql = format!("SELECT state FROM walker_plugins WHERE name = '{name}'");
        self.poll_query_until("postgres", &sql, state);
    }

    /// Changes a setting and makes the server read it.
    pub fn alter_system(&self, setting: &str, value: &str) {
        self.safe_psql(
            "postgres",
            &format!("ALTER SYSTEM SET {setting} = '{value}'"),
        );
        self.reload();
    }

    /// Makes the function that reads what `rmgr_counter` has counted.
    pub fn create_rmgr_counts(&self) {
        self.safe_psql(
            "postgres",
            "CREATE FUNCTION rmgr_counts() RETURNS bigint[] AS 'rmgr_counter' LANGUAGE C",
        );
    }

    /// Compares what `rmgr_counter` counted from a position on with pg_waldump.
    pub fn assert_counts_complete(&self, from: &str) {
        self.walker_wait();
        let mut client = self.connect("postgres");
        let mut ask = |sql: &str| aligned(&rows(&mut client, sql).expect("an answer"));
        let applied = "SELECT applied_lsn FROM walker_plugins WHERE name = 'rmgr_counter'";
        let (to, counted) = crate::poll::poll_until("the counter to rest", || {
            let before = ask(applied);
            let counted = ask(
                "SELECT CASE WHEN rm_builtin THEN rm_name ELSE 'custom' || rm_id END, records \
                 FROM pg_get_wal_resource_managers(), \
                               LATERAL (SELECT (rmgr_counts())[rm_id + 1] AS records) c \
                               WHERE records > 0",
            );
            (before == ask(applied)).then_some((before, counted))
        });
        let dumped: BTreeMap<String, u64> = waldump::stats(self, from, &to)
            .into_iter()
            .map(|(name, counts)| (name, counts.records))
            .collect();
        let counted: BTreeMap<String, u64> = counted
            .lines()
            .filter_map(|line| line.split_once('|'))
            .map(|(name, n)| (name.to_owned(), n.parse().expect("a number")))
            .collect();
        assert_eq!(
            counted, dumped,
            "rmgr_counter and pg_waldump differ from {from} to {to}"
        );
    }

    /// Where the first worker of this cluster began to read.
    pub fn first_position(&self) -> String {
        const WORDS: &str = "LOG:  walker started at ";
        let at = self.wait_for_log(WORDS, 0);
        self.wait_for_log(", plugins: ", at);
        let line = self.log_from(at);
        line.split(',').next().expect("a position").to_owned()
    }

    /// How often the server has come up: more than once means that it crashed.
    pub fn server_starts(&self) -> usize {
        self.log_from(0)
            .matches("ready to accept connections")
            .count()
    }
}
