//! The installed server under test, and as whom its programs run.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// An installed PostgreSQL.
#[derive(Debug)]
pub struct Server {
    pg_config: PathBuf,
    bindir: PathBuf,
    /// Major version, such as 17.
    pub major: u32,
    owner: Option<Owner>,
}

/// PostgreSQL refuses to run as root, so root runs it as somebody else.
#[derive(Debug)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Server {
    /// The server named by the environment.
    pub fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::from_env)
    }

    fn from_env() -> Self {
        Self::at(
            std::env::var_os("WALKER_PG_CONFIG")
                .map(PathBuf::from)
                .expect(
                    "WALKER_PG_CONFIG is not set: it names the pg_config of the server to test \
             (`make check PG=15` sets it)",
                ),
        )
    }

    /// The server that a `pg_config` belongs to.
    pub fn at(pg_config: PathBuf) -> Self {
        let ask = |what: &str| {
            let mut command = Command::new(&pg_config);
            command.arg(what);
            text(&run(&mut command)).trim().to_owned()
        };
        // "PostgreSQL 18beta1", "PostgreSQL 15.20 (Debian ...)"
        let version = ask("--version");
        let major: u32 = version
            .trim_start_matches("PostgreSQL ")
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("cannot read a major version from \"{version}\""));
        if let Ok(wanted) = std::env::var("WALKER_PG_MAJOR") {
            assert_eq!(
                wanted,
                major.to_string(),
                "{} is \"{version}\"",
                pg_config.display()
            );
        }
        Self {
            bindir: ask("--bindir").into(),
            major,
            owner: Owner::find(),
            pg_config,
        }
    }

    /// What `pg_config` answers to an option.
    pub fn ask(&self, option: &str) -> String {
        let mut command = Command::new(&self.pg_config);
        text(&run(command.arg(option))).trim().to_owned()
    }

    /// The server's `pg_config`, for builds against it.
    pub fn pg_config(&self) -> &Path {
        &self.pg_config
    }

    /// Whether a contrib module is installed (16 comes without).
    pub fn has_contrib(&self, extension: &str) -> bool {
        let mut command = Command::new(&self.pg_config);
        let sharedir = text(&run(command.arg("--sharedir")));
        Path::new(sharedir.trim())
            .join(format!("extension/{extension}.control"))
            .exists()
    }

    /// Whether page images can be compressed by lz4.
    pub fn has_lz4(&self) -> bool {
        let mut command = Command::new(&self.pg_config);
        text(&run(command.arg("--configure"))).contains("--with-lz4")
    }

    /// One of the server's programs, to be run as the owner of its clusters.
    pub fn command(&self, program: &str) -> Command {
        self.owned(Command::new(self.program(program)))
    }

    /// Where one of the server's programs is.
    pub fn program(&self, program: &str) -> PathBuf {
        self.bindir.join(program)
    }

    /// Any program, to be run as the owner of the clusters.
    pub fn owned(&self, mut command: Command) -> Command {
        // The environment must not turn a client to some other server.
        for name in [
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGDATABASE",
            "PGDATA",
            "PGSERVICE",
            "PGOPTIONS",
        ] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        if let Some(owner) = &self.owner {
            command.uid(owner.uid).gid(owner.gid).env("HOME", "/tmp");
        }
        command
    }

    /// User and group of that owner, if it is not the test's own.
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        self.owner.as_ref().map(|owner| (owner.uid, owner.gid))
    }

    /// Gives a new directory to the owner of the clusters.
    pub fn give(&self, path: &Path) {
        if let Some(owner) = &self.owner {
            chown(path, Some(owner.uid), Some(owner.gid))
                .unwrap_or_else(|e| panic!("cannot give {} away: {e}", path.display()));
        }
    }
}

impl Owner {
    fn find() -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        // The owner of a process's own entry is its effective user.
        let me = std::fs::metadata("/proc/self").expect("/proc/self").uid();
        if me != 0 {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        ["postgres", "nobody"].iter().find_map(|name| {
            let line = users.lines().find(|l| l.split(':').next() == Some(name))?;
            let mut ids = line.split(':').skip(2).map(str::parse);
            Some(Self {
                uid: ids.next()?.ok()?,
                gid: ids.next()?.ok()?,
            })
        })
    }
}

/// Runs a command to its end; the test fails if the command does.
pub fn run(command: &mut Command) -> Output {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"))
}

/// What a command printed.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
