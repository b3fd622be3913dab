//! Calls that fail on purpose, in one process of a server: memory, and the
//! files of plugins' state. `tests/faults/faults.c` is preloaded into the
//! server and does what a file says that this writes.

use crate::cluster::Cluster;
use crate::plugins::root;
use crate::server::run;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

/// What may fail; `faults.c` has the same numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// malloc and its kin.
    Memory = 1,
    /// Opening a state file.
    Open = 2,
    /// Writing to it.
    Write = 4,
    /// fsync and fdatasync of it, or of its directory.
    Sync = 8,
    /// Giving it its name.
    Rename = 16,
    /// Opening a segment of WAL.
    OpenWal = 32,
}

/// Whose calls fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Those of this process.
    Process(u32),
    /// Those of the process that the server starts next.
    NextChild,
    /// Those of every process that the server starts from now on.
    NewProcesses,
}

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Of which kind.
    pub what: What,
    /// So many succeed before,
    pub skip: u64,
    /// then so many fail.
    pub count: u64,
    /// Calls for less than so many bytes are not concerned.
    pub least: u64,
    /// The `errno` they fail with.
    pub error: i32,
}

/// Not enough memory.
pub const ENOMEM: i32 = 12;
/// Input/output error.
pub const EIO: i32 = 5;
/// Too many open files.
pub const EMFILE: i32 = 24;
/// No space left on device.
pub const ENOSPC: i32 = 28;

impl Fault {
    /// The n-th allocation fails; the first is 1.
    pub const fn nth_allocation(n: u64) -> Self {
        Self {
            what: What::Memory,
            skip: n - 1,
            count: 1,
            least: 0,
            error: ENOMEM,
        }
    }

    /// Every allocation of more than 4 kB fails, but for the first few.
    pub fn large_allocations(skip: u64) -> Self {
        Self {
            count: u64::from(u32::MAX),
            least: 4096,
            ..Self::nth_allocation(skip + 1)
        }
    }

    /// None fails, they are only counted.
    pub fn none(what: What) -> Self {
        Self {
            what,
            skip: 0,
            count: 0,
            least: 0,
            error: 0,
        }
    }
}

/// The file of one cluster.
#[derive(Debug)]
pub struct Faults {
    file: File,
}

/// Numbers in the file: pid, what, skip, count, least, error, seen, hits, round.
const NUMBERS: u64 = 9;
const SEEN: u64 = 6;
const HITS: u64 = 7;
const ROUND: u64 = 8;

impl Faults {
    /// Builds the library, for a cluster that has not been started yet.
    pub fn new(cluster: &mut Cluster) -> Self {
        let library = cluster.path("faults.so");
        let mut cc = Command::new("cc");
        cc.args(["-std=gnu11", "-O2", "-Wall", "-Werror", "-fPIC", "-shared"]);
        cc.arg("-o").arg(&library);
        run(cc.arg(root().join("tests/faults/faults.c")));
        let path = cluster.path("faults");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(&path).expect("the file of faults");
        // Whoever owns the server maps it.
        let mode = std::fs::Permissions::from_mode(0o666);
        file.set_permissions(mode).expect("the file of faults");
        file.set_len(8 * NUMBERS).expect("the file of faults");
        cluster.launch.environment = vec![
            ("LD_PRELOAD".to_owned(), library.into()),
            ("WALKER_FAULTS".to_owned(), path.into()),
        ];
        Self { file }
    }

    fn set(&self, at: u64, number: i64) {
        let bytes = number.to_ne_bytes();
        self.file.write_all_at(&bytes, 8 * at).expect("a number");
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        let read = self.file.read_exact_at(&mut bytes, 8 * at);
        read.expect("a number");
        u64::from_ne_bytes(bytes)
    }

    /// From now on calls fail.
    pub fn begin(&self, whose: Whose, fault: Fault) {
        self.end();
        let numbers = [
            fault.what as i64,
            fault.skip as i64,
            fault.count as i64,
            fault.least as i64,
            i64::from(fault.error),
            0,
            0,
        ];
        for (at, number) in (1..).zip(numbers) {
            self.set(at, number);
        }
        self.set(ROUND, self.get(ROUND) as i64 + 1);
        let pid = match whose {
            Whose::Process(pid) => pid.into(),
            Whose::NextChild => -1,
            Whose::NewProcesses => -2,
        };
        self.set(0, pid);
    }

    /// From now on none does.
    pub fn end(&self) {
        self.set(0, 0);
    }

    /// Calls of that kind since [`begin`](Self::begin).
    pub fn seen(&self) -> u64 {
        self.get(SEEN)
    }

    /// How many of them failed.
    pub fn hits(&self) -> u64 {
        self.get(HITS)
    }
}
