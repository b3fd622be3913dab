//! Records as they stand in WAL: whether a plugin takes them so or decoded, it
//! gets the same ones, each once and in order.

use walker_tests::Cluster;
use walker_tests::cluster::psql_file;
use walker_tests::plugins::{Library, Setup};

/// Records of all lengths: within a page, across one, across many, and too
/// long to be put together in place; a switch and what follows it.
const WORK: &str = "CREATE TABLE t AS SELECT g AS a, repeat('x', g % 90) AS b
         FROM generate_series(1, 5000) g;
     CREATE INDEX ON t (a);
     CHECKPOINT;
     UPDATE t SET a = -a WHERE a % 3 = 0;
     DELETE FROM t WHERE a % 5 = 0;
     VACUUM t;
     SELECT count(pg_logical_emit_message(false, 'walker', repeat('m', g * 97)))
         FROM generate_series(1, 300) g;
     SELECT pg_logical_emit_message(false, 'walker', repeat('m', 65000 + g))
         FROM generate_series(1, 1000, 31) g;
     SELECT pg_logical_emit_message(true, 'walker', repeat('m', 300000));
     SELECT pg_switch_wal();
     BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s; COMMIT;
     SELECT pg_switch_wal();
     INSERT INTO t SELECT g FROM generate_series(1, 1000) g;";

/// What a plugin says of how its records came.
struct Came {
    in_place: u64,
    decoded: u64,
    longest: u64,
    wrong: u64,
    sum: String,
}

fn came(cluster: &Cluster, plugin: &str) -> Came {
    let said = cluster.safe_psql("postgres", &format!("SELECT {plugin}()"));
    let parts: Vec<&str> = said.split('|').collect();
    let [in_place, decoded, longest, wrong, sum] = parts[..] else {
        panic!("{plugin}: {said}");
    };
    let number = |text: &str| text.parse().expect("a number");
    Came {
        in_place: number(in_place),
        decoded: number(decoded),
        longest: number(longest),
        wrong: number(wrong),
        sum: sum.to_owned(),
    }
}

#[test]
fn all_get_the_same_records_in_place_or_decoded() {
    let plugins = [("never", None), ("always", Some(1u32)), ("third", Some(3))];
    let libraries: Vec<Library> = plugins
        .iter()
        .map(|(name, takes)| {
            let mut defines = vec![format!("NAME=\"{name}\"")];
            defines.push(match takes {
                Some(n) => format!("TAKES={n}"),
                None => "RESTORES".to_owned(),
            });
            let defines: Vec<&str> = defines.iter().map(String::as_str).collect();
            Library::c_as(name, "in_place", &defines)
        })
        .collect();
    let cluster = Cluster::with_plugins(
        "in_place",
        &Setup {
            libraries: &libraries,
            plugins: "never, always, third",
            ..Setup::default()
        },
    );
    for (name, _) in plugins {
        let sql = format!("CREATE FUNCTION {name}() RETURNS text AS '{name}', 'came' LANGUAGE C");
        cluster.safe_psql("postgres", &sql);
    }
    psql_file(&cluster, "postgres", WORK);
    cluster.walker_wait();

    let [never, always, third] = plugins.map(|(name, _)| came(&cluster, name));
    assert_eq!([never.wrong, always.wrong, third.wrong], [0; 3]);
    assert_eq!(never.in_place, 0);
    let all = never.decoded;
    assert!(all > 10_000, "only {all} records");
    for other in [&always, &third] {
        assert_eq!(other.in_place + other.decoded, all);
        assert_eq!(other.sum, never.sum);
    }
    // Few are left to the server: those behind a page's end or the WAL's.
    assert!(
        always.decoded < all / 10,
        "{} of {all} were not offered in place",
        always.decoded
    );
    assert!(third.in_place > all / 10 && third.decoded > all / 2);
    // Across many pages, but not without end.
    assert!(
        (60_000..=65_536).contains(&always.longest),
        "{}",
        always.longest
    );
    // What a plugin could not restore is not what the next record is about.
    let log = cluster.log_from(0);
    assert!(!log.contains("could not read WAL"), "{log}");
    assert_eq!(cluster.server_starts(), 1);
}

/// In Rust there are two kinds: flat ones, and all others.
#[test]
fn a_rust_plugin_gets_page_images_as_they_stand() {
    let libraries = [Library::rust("rust_misdeeds")];
    let setup = Setup {
        libraries: &libraries,
        plugins: "rust_misdeeds",
        ..Setup::default()
    };
    let cluster = Cluster::with_plugins("rust_in_place", &setup);
    // The pages of a small index come in records that are not too long.
    cluster.safe_psql(
        "postgres",
        "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 500) g; CREATE INDEX ON t (a);",
    );
    cluster.walker_wait();
    let log = cluster.log_from(0);
    let said = "\"rust_misdeeds\": page images as they stand";
    assert!(log.contains(said), "{log}");
}
