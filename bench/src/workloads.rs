//! Six ways to write WAL.

use walker_tests::Cluster;
use walker_tests::pgbench::Pgbench;

/// Something that writes WAL.
pub struct Workload {
    /// For the table.
    pub name: &'static str,
    /// What must be there before; its WAL is not measured.
    pub prepare: fn(&Cluster, u64),
    /// What writes the WAL. The number is the size in per cent.
    pub run: fn(&Cluster, u64),
}

/// All of them.
pub const ALL: [Workload; 6] = [
    Workload {
        name: "pgbench mix",
        prepare: |c, size| Pgbench::init(c, "postgres", (size / 5).max(1)),
        run: pgbench_mix,
    },
    Workload {
        name: "bulk load",
        prepare: |_, _| {},
        run: |c, size| {
            sql(
                c,
                "CREATE TABLE loaded (id bigint PRIMARY KEY, v text);
                 INSERT INTO loaded SELECT g, repeat('x', 80)
                 FROM generate_series(1, $n) AS g;",
                size * 20_000,
            );
        },
    },
    Workload {
        name: "non-HOT update storm",
        prepare: |c, size| {
            sql(
                c,
                "CREATE TABLE storm (id bigint PRIMARY KEY, k bigint, v text);
                 INSERT INTO storm SELECT g, g, repeat('x', 80)
                 FROM generate_series(1, $n) AS g;
                 CREATE INDEX ON storm (k);",
                size * 2_000,
            );
        },
        run: |c, size| {
            let round = "UPDATE storm SET k = k + 1;\nVACUUM storm;\n";
            sql(c, &round.repeat(4), size);
        },
    },
    Workload {
        name: "mass delete + vacuum",
        prepare: |c, size| {
            sql(
                c,
                "CREATE TABLE gone (id bigint PRIMARY KEY, v text);
                 INSERT INTO gone SELECT g, repeat('x', 80)
                 FROM generate_series(1, $n) AS g;",
                size * 20_000,
            );
        },
        run: |c, size| {
            sql(
                c,
                "DELETE FROM gone WHERE id % 3 <> 0;
                 VACUUM gone;
                 DELETE FROM gone WHERE id < $n;",
                size * 5_000,
            );
        },
    },
    Workload {
        name: "tiny transactions",
        prepare: |c, _| {
            sql(
                c,
                "CREATE TABLE tiny (id int PRIMARY KEY, n int) WITH (fillfactor = 50);
                 INSERT INTO tiny SELECT g, 0 FROM generate_series(0, 9999) AS g;",
                0,
            );
        },
        run: |c, size| {
            sql(
                c,
                "DO $do$ BEGIN
                     FOR i IN 1..$n LOOP
                         UPDATE tiny SET n = n + 1 WHERE id = i % 1000 * 7919 % 10000;
                         COMMIT;
                     END LOOP;
                 END $do$;",
                size * 5_000,
            );
        },
    },
    Workload {
        name: "10,000 tables",
        prepare: |c, size| {
            for part in 0..4 {
                sql(
                    c,
                    &format!(
                        "DO $do$ BEGIN
                             FOR i IN {part} * $n..({part} + 1) * $n - 1 LOOP
                                 EXECUTE format('CREATE TABLE many_%s AS
                                     SELECT g AS id, 0 AS n FROM generate_series(1, 20) AS g', i);
                             END LOOP;
                         END $do$;"
                    ),
                    tables(size) / 4,
                );
            }
        },
        run: |c, size| {
            sql(
                c,
                "DO $do$ BEGIN
                     FOR round IN 1..4 LOOP
                         FOR i IN 0..$n - 1 LOOP
                             EXECUTE format('UPDATE many_%s SET n = n + 1 WHERE id <= 10;
                                 DELETE FROM many_%s WHERE id = %s', i, i, 10 + round);
                             IF i % 100 = 0 THEN COMMIT; END IF;
                         END LOOP;
                     END LOOP;
                 END $do$;",
                tables(size),
            );
        },
    },
];

/// Whether a workload is to be measured: all are, unless `BENCH_WORKLOADS` names
/// some, with semicolons between them.
pub fn is_chosen(name: &str) -> bool {
    let only = std::env::var("BENCH_WORKLOADS").unwrap_or_default();
    only.is_empty() || only.split(';').any(|o| o.trim() == name)
}

fn tables(size: u64) -> u64 {
    (size * 100).max(400)
}

/// pgbench's own transaction, and rollbacks, savepoints and deletes.
pub(crate) fn pgbench_mix(cluster: &Cluster, size: u64) {
    Pgbench::transactions(cluster, "postgres", 4, size * 800)
        .builtin(7)
        .script("undone", 2, UNDONE)
        .script("again", 1, AGAIN)
        .run();
    cluster.safe_psql("postgres", "VACUUM pgbench_accounts");
}

const UNDONE: &str = r"
\set aid random(1, 100000 * :scale)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
SAVEPOINT a;
UPDATE pgbench_accounts SET abalance = 0 WHERE aid = :aid;
ROLLBACK TO a;
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 1, :aid, 1);
ROLLBACK;
";

const AGAIN: &str = r"
\set aid random(1, 100000 * :scale)
DELETE FROM pgbench_accounts WHERE aid = :aid;
INSERT INTO pgbench_accounts (aid, bid, abalance, filler)
    VALUES (:aid, 1, 0, 'again') ON CONFLICT (aid) DO NOTHING;
";

/// So many clients, each of which runs a script so often.
pub(crate) fn clients(cluster: &Cluster, n: u64, each: u64, name: &str, script: &str) {
    let clients = Pgbench::transactions(cluster, "postgres", n, each);
    clients.script(name, 1, script).run();
}

/// Runs statements one by one, as psql does; `$n` is the number.
pub(crate) fn sql(cluster: &Cluster, statements: &str, n: u64) {
    let text = statements.replace("$n", &n.to_string());
    walker_tests::cluster::psql_file(cluster, "postgres", &text);
}
