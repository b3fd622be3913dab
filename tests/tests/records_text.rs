//! walker_records: records of any size, and text of any encoding.

use walker_tests::Cluster;
use walker_tests::walker::plain;

/// Up to here everything is readable.
fn flushed(cluster: &Cluster) -> String {
    cluster.safe_psql("postgres", "CHECKPOINT; SELECT pg_current_wal_flush_lsn()")
}

#[test]
fn large_records_and_strange_encodings() {
    if plain() {
        return;
    }
    let cluster = Cluster::new("records-large");
    cluster.init();
    cluster.append_conf("max_wal_size = '4GB'\nwal_keep_size = '1GB'");
    cluster.start();
    for sql in [
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    ] {
        cluster.safe_psql("postgres", sql);
    }
    let from = flushed(&cluster);
    cluster.safe_psql(
        "postgres",
        "SELECT pg_logical_emit_message(false, U&'\\20AC\\0001\"\\\\', repeat('x', 1000000));
         SELECT pg_logical_emit_message(false, 'large', repeat('x', 40000000))",
    );
    cluster.safe_psql(
        "latin",
        "SELECT pg_logical_emit_message(false, U&'\\00E9', 'x')",
    );
    let to = flushed(&cluster);
    let sql = format!(
        "SELECT length, coalesce(length(data #>> '{{Logicalmsg,Message,message}}')::text, data->>'error'),
                data #>> '{{Logicalmsg,Message,prefix}}'
         FROM walker_records('{from}', '{to}', 'LogicalMessage')"
    );
    for (database, euro, e) in [
        ("postgres", "\u{20AC}\u{1}\"\\", "\u{FFFD}"),
        ("latin", "\\u{20ac}\u{1}\"\\", "\\u{fffd}"),
        ("ascii", "\\u{20ac}\u{1}\"\\", "\\u{fffd}"),
    ] {
        cluster.safe_psql(database, "CREATE EXTENSION walker");
        let answer = cluster.safe_psql(database, &sql);
        let lines: Vec<&str> = answer.lines().collect();
        assert!(
            lines[0].ends_with(&format!("|2000000|{euro}")),
            "{database}: {}",
            lines[0]
        );
        assert!(
            lines[1].ends_with("|too large to be shown|"),
            "{database}: {}",
            lines[1]
        );
        assert!(
            lines[2].ends_with(&format!("|2|{e}")),
            "{database}: {}",
            lines[2]
        );
    }
}
