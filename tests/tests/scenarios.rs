//! The scenario matrix: what every WAL record does to the map, by the data in
//! `tests/scenarios`, on servers of different settings.
//!
//! `WALKER_VARIANTS` is `all` or a list of the names below; `WALKER_SCENARIO`
//! plays only those whose name holds it.

use walker_tests::scenario::{Stage, play_all};
use walker_tests::script::{Scenario, parse};
use walker_tests::{Cluster, Server};

const EVERY: &str = "autovacuum = off
allow_in_place_tablespaces = on
deadlock_timeout = '50ms'";

fn scenarios() -> Vec<Scenario> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .expect("scenarios")
        .map(|e| e.expect("a file").path())
        .collect();
    paths.sort();
    let mut scenarios = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a file");
        scenarios.extend(parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    }
    assert!(scenarios.len() > 40, "only {} scenarios", scenarios.len());
    if let Ok(wanted) = std::env::var("WALKER_SCENARIO") {
        scenarios.retain(|s| s.name.contains(&wanted));
    }
    scenarios
}

fn wanted(variant: &str, by_default: bool) -> bool {
    match std::env::var("WALKER_VARIANTS").as_deref() {
        Err(_) | Ok("") => by_default,
        Ok("all") => true,
        Ok(list) => list.split(',').any(|name| name.trim() == variant),
    }
}

fn play(variant: &str, initdb: &[&str], conf: &str, with_standby: bool, new_is_known: bool) {
    let primary = Cluster::with_walker(variant, initdb, &format!("{EVERY}\n{conf}"));
    primary.safe_psql("postgres", "CREATE DATABASE play");
    let standby = with_standby.then(|| Cluster::standby_of(&format!("{variant}standby"), &primary));
    let stage = Stage {
        primary: &primary,
        standby: standby.as_ref(),
        new_is_known,
        database: "play",
    };
    play_all(&stage, &scenarios());
}

/// As a user finds it.
#[test]
fn default_settings() {
    if wanted("default", true) {
        play("default", &[], "", true, true);
    }
}

/// Every record carries the page after it, and hint bits are logged: the
/// standby's replay compares its pages with ours, and walker reads images of
/// every form.
#[test]
fn all_pages_logged() {
    if wanted("audit", true) {
        let compression = if Server::get().has_lz4() {
            "lz4"
        } else {
            "pglz"
        };
        let conf = format!(
            "wal_consistency_checking = 'heap,heap2'
             wal_log_hints = on
             wal_compression = {compression}"
        );
        play("audit", &["--data-checksums"], &conf, true, true);
    }
}

/// Images as they are, hints as page images, more in every record.
#[test]
fn logical_with_hints() {
    if wanted("logical", false) {
        play(
            "logical",
            &["--data-checksums"],
            "wal_level = logical\nwal_compression = pglz",
            true,
            true,
        );
    }
}

/// No page images at all.
#[test]
fn no_page_images() {
    if wanted("lean", false) {
        let options: &[&str] = if Server::get().major >= 18 {
            &["--no-data-checksums"]
        } else {
            &[]
        };
        play("lean", options, "full_page_writes = off", true, true);
    }
}

/// What is made in one transaction is not in the WAL.
#[test]
fn minimal_wal() {
    if wanted("minimal", false) {
        play(
            "minimal",
            &[],
            "wal_level = minimal\nmax_wal_senders = 0",
            false,
            false,
        );
    }
}
