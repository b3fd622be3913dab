//! More ways to write WAL, for which no goal is set: what servers do besides,
//! each with much of one kind of record.

use crate::workloads::{Workload, clients, pgbench_mix, sql};
use walker_tests::Cluster;
use walker_tests::pgbench::Pgbench;

/// All of them.
pub const ALL: [Workload; 10] = [
    Workload {
        name: "pgbench mix, wal_compression",
        prepare: |c, size| Pgbench::init(c, "postgres", (size / 5).max(1)),
        run: |c, size| {
            set(c, "wal_compression = on");
            pgbench_mix(c, size);
        },
    },
    Workload {
        name: "COPY, then one large update",
        prepare: |c, _| sql(c, "CREATE TABLE copied (id int, n int, v text)", 0),
        run: |c, size| sql(c, COPY, size * 8_000),
    },
    Workload {
        name: "savepoints",
        prepare: touched,
        run: |c, size| sql(c, SAVEPOINTS, size * 3_000),
    },
    Workload {
        name: "large values",
        prepare: |c, _| {
            let table = "CREATE TABLE large (id int PRIMARY KEY, v text);
                 ALTER TABLE large ALTER v SET STORAGE EXTERNAL;";
            sql(c, table, 0);
        },
        run: |c, size| sql(c, LARGE, size * 60),
    },
    Workload {
        name: "tables come and go",
        prepare: |_, _| {},
        run: |c, size| sql(c, TABLES, size * 20),
    },
    Workload {
        name: "eight indexes",
        prepare: |c, _| sql(c, INDEXED, 0),
        run: |c, size| {
            let rows = "INSERT INTO indexed SELECT g, g * 7919 % 1000003, g * 31 % 99991, g % 1000
                 FROM generate_series(1::bigint, $n) AS g;";
            sql(c, rows, size * 2_000);
        },
    },
    Workload {
        name: "row locks",
        prepare: touched,
        run: |c, size| clients(c, 4, size * 200, "locks", LOCKS),
    },
    Workload {
        name: "one row, again and again",
        prepare: touched,
        run: |c, size| sql(c, ONE_ROW, size * 3_000),
    },
    Workload {
        name: "freezing",
        prepare: |c, size| {
            let rows = "CREATE TABLE frozen (id int, v text);
                 INSERT INTO frozen SELECT g, 'x' FROM generate_series(1, $n) AS g;";
            sql(c, rows, size * 20_000);
        },
        run: |c, _| {
            let freeze = "UPDATE frozen SET v = 'y' WHERE id % 100 = 0; VACUUM FREEZE frozen;";
            sql(c, freeze, 0);
        },
    },
    Workload {
        name: "hints are logged",
        prepare: |c, size| {
            c.append_conf("wal_log_hints = on");
            c.restart();
            Pgbench::init(c, "postgres", (size / 10).max(1));
        },
        run: |c, size| {
            let transactions = || Pgbench::transactions(c, "postgres", 4, size * 200).run();
            transactions();
            sql(c, "CHECKPOINT; SELECT count(*) FROM pgbench_accounts;", 0);
            transactions();
        },
    },
];

/// A hundred thousand rows with room to be updated in place.
pub(crate) fn touched(cluster: &Cluster, _: u64) {
    let rows = "CREATE TABLE touched (id int PRIMARY KEY, n int) WITH (fillfactor = 70);
         INSERT INTO touched SELECT g, 0 FROM generate_series(0, 99999) AS g;";
    sql(cluster, rows, 0);
}

/// A setting of the whole server.
fn set(cluster: &Cluster, setting: &str) {
    cluster.append_conf(setting);
    cluster.reload();
}

const COPY: &str = r#"
COPY copied FROM PROGRAM 'seq -f "%.0f,1,some words" $n' (FORMAT csv);
UPDATE copied SET n = n + 1;
"#;

const SAVEPOINTS: &str = "
DO $do$ BEGIN
    FOR i IN 1..$n LOOP
        BEGIN
            UPDATE touched SET n = n + 1 WHERE id = i % 100000 * 7919 % 100000;
            IF i % 3 = 0 THEN RAISE EXCEPTION 'undo'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
        IF i % 50 = 0 THEN COMMIT; END IF;
    END LOOP;
END $do$;
";

const LARGE: &str = "
INSERT INTO large SELECT g, repeat(md5(g::text), 300) FROM generate_series(1, $n) AS g;
UPDATE large SET v = v || 'x' WHERE id % 2 = 0;
DELETE FROM large WHERE id % 3 = 0;
VACUUM large;
";

const TABLES: &str = "
DO $do$ BEGIN
    FOR i IN 1..$n LOOP
        CREATE TABLE comes (id int PRIMARY KEY, v text);
        INSERT INTO comes SELECT g, 'x' FROM generate_series(1, 20) AS g;
        COMMIT;
        TRUNCATE comes;
        COMMIT;
        DROP TABLE comes;
        COMMIT;
    END LOOP;
END $do$;
";

const INDEXED: &str = "
CREATE TABLE indexed (a int, b int, c int, d int);
CREATE INDEX ON indexed (a);
CREATE INDEX ON indexed (b);
CREATE INDEX ON indexed (c);
CREATE INDEX ON indexed (d);
CREATE INDEX ON indexed (a, b);
CREATE INDEX ON indexed (b, c);
CREATE INDEX ON indexed (c, d);
CREATE INDEX ON indexed (d, a);
";

const ONE_ROW: &str = "
DO $do$ BEGIN
    FOR i IN 1..$n LOOP
        UPDATE touched SET n = n + 1 WHERE id = 1;
        COMMIT;
    END LOOP;
END $do$;
";

const LOCKS: &str = r"
\set id random(0, 99999)
\set hot random(0, 9)
BEGIN;
SELECT FROM touched WHERE id = :hot FOR KEY SHARE;
SELECT FROM touched WHERE id = :id FOR SHARE;
UPDATE touched SET n = n + 1 WHERE id = :id;
COMMIT;
";
