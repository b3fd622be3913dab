//! State files that are damaged, foreign, old, or not files at all. The server
//! and the worker start, the file is set aside, the map is never wrong.
//!
//! What a file itself can show is tested bit by bit in the crate
//! `walker-state`; here it is one of each kind, and what only a server knows.

use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use walker_state::{Header, Identity, RecordId, check, write};
use walker_tests::crash::between_workers;
use walker_tests::oracle::{assert_map_exact, assert_map_exact_and_known};
use walker_tests::poll::env_number;
use walker_tests::rng::Rng;
use walker_tests::server::{output, run};
use walker_tests::skip::skipped;
use walker_tests::walker::plain;
use walker_tests::{Cluster, Mode};

const CONF: &str = "autovacuum = off\nwalker.restart_interval = '1s'";

fn cluster(name: &str) -> Cluster {
    let cluster = Cluster::with_walker(name, &[], CONF);
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t (a int, b int);
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 5000) g;
         DELETE FROM t WHERE a % 5 = 0",
    );
    assert_map_exact_and_known(&cluster, "postgres");
    cluster
}

fn state(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.data_dir().join("pg_walker").join(name)
}

/// A file put together anew, with checksums that are right.
fn forge(path: &Path, change: impl FnOnce(&mut Header, &mut Vec<u8>)) {
    let bytes = fs::read(path).expect("a state file");
    // The header names its server itself, at fixed places.
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let identity = Identity {
        major: number(12),
        blcksz: number(16),
        system_identifier: u64::from_le_bytes(bytes[24..32].try_into().expect("8 bytes")),
    };
    let mut from = Cursor::new(&bytes);
    let mut header = check(&mut from, bytes.len() as u64, identity).expect("a sound file");
    let mut payload = Vec::new();
    from.read_to_end(&mut payload).expect("its payload");
    change(&mut header, &mut payload);
    let mut to = Cursor::new(Vec::new());
    write(&mut to, header.identity, header.last, |to| {
        to.write_all(&payload)
    })
    .expect("a file");
    fs::write(path, to.into_inner()).expect("the file");
}

/// The variant's name, what the log says of it, and what is done to the file.
type Damage = (&'static str, &'static str, Box<dyn Fn(&Path)>);

fn bytes(name: &'static str, why: &'static str, change: impl Fn(&mut Vec<u8>) + 'static) -> Damage {
    let act = move |path: &Path| {
        let mut bytes = fs::read(path).expect("a state file");
        change(&mut bytes);
        fs::write(path, bytes).expect("the file");
    };
    (name, why, Box::new(act))
}

fn record(name: &'static str, change: impl Fn(&mut RecordId) + 'static) -> Damage {
    let why = "its last record does not stand in this server's WAL history";
    let act = move |path: &Path| forge(path, |header, _| change(&mut header.last));
    (name, why, Box::new(act))
}

fn payload(name: &'static str, change: impl Fn(&mut Vec<u8>) + 'static) -> Damage {
    let act = move |path: &Path| forge(path, |_, payload| change(payload));
    (name, "ignoring the state file", Box::new(act))
}

fn place(name: &'static str, why: &'static str, put: impl Fn(&Path) + 'static) -> Damage {
    let act = move |path: &Path| {
        fs::remove_file(path).expect("a state file");
        put(path);
    };
    (name, why, Box::new(act))
}

fn damages(seed: u64) -> Vec<Damage> {
    let flip = |bytes: &mut Vec<u8>, low: usize, seed: u64| {
        let mut rng = Rng::new(seed);
        let bit = rng.between(low * 8, bytes.len() * 8 - 1);
        bytes[bit / 8] ^= 1 << (bit % 8);
    };
    let mkfifo = |path: &Path| {
        run(Command::new("mkfifo").arg("-m").arg("666").arg(path));
    };
    vec![
        bytes("empty", "it is too short", |b| b.clear()),
        bytes("header cut", "it is too short", |b| b.truncate(95)),
        bytes("no payload", "its length is wrong", |b| b.truncate(96)),
        bytes("half", "its length is wrong", |b| b.truncate(b.len() / 2)),
        bytes("longer", "its length is wrong", |b| b.push(0)),
        bytes("a page of zeros", "it is not a state file", |b| {
            *b = vec![0; 8192]
        }),
        bytes("header flip", "the checksum of its header is wrong", |b| {
            b[40] ^= 4
        }),
        bytes("payload flip", "its checksum is wrong", move |b| {
            flip(b, 96, seed)
        }),
        (
            "another major",
            "it belongs to another server version",
            Box::new(|path| forge(path, |header, _| header.identity.major -= 1)),
        ),
        (
            "another cluster",
            "it belongs to another cluster",
            Box::new(|path| forge(path, |header, _| header.identity.system_identifier ^= 1)),
        ),
        record("another checksum", |last| last.crc ^= 1),
        record("another timeline", |last| last.tli += 1),
        record("timeline 0", |last| last.tli = 0),
        record("the future", |last| {
            last.lsn += 1 << 40;
            last.end_lsn += 1 << 40;
        }),
        record("the past", |last| (last.lsn, last.end_lsn) = (0x28, 0x60)),
        record("no record at all", |last| last.lsn = last.end_lsn),
        record("in the middle of a record", |last| last.lsn += 8),
        record("LSN 0", |last| last.lsn = 0),
        payload("payload cut, sealed", |p| p.truncate(p.len() / 2)),
        payload("payload of noise, sealed", move |p| {
            let mut rng = Rng::new(seed);
            p.fill_with(|| rng.next_u64() as u8);
        }),
        place("a directory", "", |path| {
            fs::create_dir(path).expect("mkdir")
        }),
        place("a symbolic link", "", |path| {
            symlink("/etc/passwd", path).expect("a link")
        }),
        place("a link to nowhere", "", |path| {
            symlink("/nowhere", path).expect("a link")
        }),
        place("a FIFO", "it is not a plain file", mkfifo),
        (
            "unreadable",
            "Permission denied",
            Box::new(|path| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("chmod");
            }),
        ),
    ]
}

#[test]
fn whatever_stands_in_its_place() {
    if plain() {
        return;
    }
    let seed = env_number("WALKER_SEED", std::process::id().into());
    eprintln!("state files: WALKER_SEED={seed}");
    let cluster = cluster("state");
    let (file, bad) = (
        state(&cluster, "garbagemap"),
        state(&cluster, "garbagemap.bad"),
    );
    for (name, why, damage) in damages(seed) {
        let offset = cluster.log_offset();
        between_workers(&cluster, || {
            damage(&file);
            if let Ok(meta) = fs::symlink_metadata(&file)
                && !meta.is_symlink()
            {
                cluster.server.give(&file);
            }
        });
        cluster.walker_wait();
        let log = cluster.log_from(offset);
        assert!(
            log.contains("ignoring the state file") && log.contains(why),
            "{name}: no \"{why}\" in\n{log}"
        );
        assert!(
            !log.contains("ERROR:") && !log.contains("PANIC:"),
            "{name}:\n{log}"
        );
        assert!(
            fs::symlink_metadata(&bad).is_ok(),
            "{name}: it was not set aside"
        );
        cluster.safe_psql("postgres", "UPDATE t SET b = b + 1 WHERE a % 100 = 1");
        assert_map_exact(&cluster, "postgres");
        // A new state is written, and is good.
        cluster.safe_psql("postgres", "SELECT garbage_base_scan('t')");
        cluster.walker_wait();
    }
    assert_map_exact_and_known(&cluster, "postgres");
}

#[test]
fn an_older_file_is_caught_up() {
    if plain() {
        return;
    }
    let cluster = cluster("older");
    let file = state(&cluster, "garbagemap");
    let old = between_workers(&cluster, || fs::read(&file).expect("a state file"));
    for sql in [
        "UPDATE t SET b = 1",
        "DELETE FROM t WHERE a % 5 = 1",
        "VACUUM t",
    ] {
        cluster.safe_psql("postgres", sql);
    }
    cluster.walker_wait();
    between_workers(&cluster, || {
        fs::write(&file, &old).expect("the state file");
        // As if the power had failed while the next one was written.
        for name in ["garbagemap.tmp", "walker.tmp", "walker"] {
            let path = state(&cluster, name);
            fs::write(&path, &old[..old.len() / 2]).expect("a file");
            cluster.server.give(&path);
        }
    });
    assert_map_exact_and_known(&cluster, "postgres");
    assert!(!state(&cluster, "garbagemap.bad").exists());
    for gone in ["garbagemap.tmp", "walker.tmp"] {
        assert!(!state(&cluster, gone).exists(), "{gone} is still there");
    }
    assert!(state(&cluster, "walker.bad").exists());

    // Nothing left at all is no fault either.
    between_workers(&cluster, || {
        fs::remove_dir_all(cluster.data_dir().join("pg_walker")).expect("pg_walker");
    });
    assert_map_exact(&cluster, "postgres");
    cluster.restart();
    assert!(file.exists());
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&cluster.data_dir().join("pg_walker")), 0o700);
}

const CHANGE: &str = "UPDATE t SET b = b + 1";

/// The old state stays, the worker goes on, and tries again.
fn what_cannot_be_written(cluster: &Cluster, why: &str, restore: impl FnOnce()) {
    let file = state(cluster, "garbagemap");
    let old = fs::read(&file).ok();
    let offset = cluster.log_offset();
    for _ in 0..3 {
        cluster.safe_psql("postgres", CHANGE);
        cluster.safe_psql("postgres", "CHECKPOINT");
        cluster.walker_wait();
    }
    let offset = cluster.wait_for_log("could not write the state file", offset);
    assert!(cluster.log_from(offset).contains(why), "no \"{why}\"");
    assert_eq!(fs::read(&file).ok(), old);
    assert_map_exact_and_known(cluster, "postgres");
    restore();
    cluster.safe_psql("postgres", CHANGE);
    cluster.safe_psql("postgres", "CHECKPOINT");
    cluster.wait_for_saved_state();
    cluster.stop(Mode::Immediate);
    cluster.start();
    assert_map_exact_and_known(cluster, "postgres");
}

#[test]
fn no_room_and_no_right_to_write() {
    if plain() {
        return;
    }
    let cluster = cluster("full");
    let directory = cluster.data_dir().join("pg_walker");
    let allow = |mode| {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    cluster.safe_psql("postgres", "CHECKPOINT");
    cluster.wait_for_saved_state();
    allow(0o500);
    what_cannot_be_written(&cluster, "Permission denied", || allow(0o700));

    // A disk of its own, and full: only where one may mount.
    cluster.stop(Mode::Fast);
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=32k,mode=0777", "tmpfs"])
        .arg(&directory);
    if !output(&mut mount).status.success() {
        skipped("a full disk: a tmpfs cannot be mounted here");
        cluster.start();
        return;
    }
    let unmount = || drop(run(Command::new("umount").args(["-l"]).arg(&directory)));
    let filler = directory.join("filler");
    fs::write(&filler, vec![0; 28 * 1024]).expect("28 kB");
    cluster.start();
    cluster.safe_psql("postgres", "SELECT garbage_base_scan()");
    what_cannot_be_written(&cluster, "No space left on device", || {
        fs::remove_file(&filler).expect("the filler");
    });
    cluster.stop(Mode::Fast);
    unmount();
    cluster.start();
    assert_map_exact(&cluster, "postgres");
}
