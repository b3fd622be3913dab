//! WAL that was thought of to be hard for a ledger: what a server seldom does
//! so much of, one kind each.

use crate::others::touched;
use crate::workloads::{Workload, clients, sql};
use walker_tests::cluster::psql_file;

/// All of them.
pub const ALL: [Workload; 14] = [
    Workload {
        name: "foreign keys",
        prepare: |c, _| sql(c, PARENTS, 0),
        run: |c, size| clients(c, 8, size * 100, "children", CHILDREN),
    },
    Workload {
        name: "all undone",
        prepare: touched,
        run: |c, size| sql(c, UNDONE, size * 3_000),
    },
    Workload {
        name: "prepared transactions",
        prepare: |c, size| {
            c.append_conf("max_prepared_transactions = 100");
            c.restart();
            touched(c, size);
        },
        run: |c, size| clients(c, 8, size * 40, "prepared", PREPARED),
    },
    Workload {
        name: "1,000 partitions",
        prepare: |c, _| sql(c, PARTITIONS, 0),
        run: |c, size| clients(c, 4, size * 60, "partitions", IN_PARTITIONS),
    },
    Workload {
        name: "far apart",
        prepare: |c, size| {
            sql(
                c,
                "CREATE TABLE far (id int, n int, pad text) WITH (fillfactor = 20);
                 INSERT INTO far SELECT g, 0, repeat('x', 150) FROM generate_series(0, $n) AS g;
                 CREATE INDEX ON far (id);",
                size * 20_000,
            );
        },
        run: |c, size| {
            sql(
                c,
                "DO $do$ BEGIN
                     FOR i IN 1..$n / 10 LOOP
                         UPDATE far SET n = n + 1 WHERE id = (i::bigint * 1299709 % $n)::int;
                         COMMIT;
                     END LOOP;
                 END $do$;",
                size * 20_000,
            );
        },
    },
    Workload {
        name: "other kinds of index",
        prepare: |c, _| sql(c, KINDS, 0),
        run: |c, size| {
            let rows = "INSERT INTO kinds SELECT g, ARRAY[g % 100, g % 1000],
                 point(g % 317, g % 613), g::text FROM generate_series(1::bigint, $n) AS g;
                 UPDATE kinds SET a = a + 1 WHERE a % 10 = 0; VACUUM kinds;";
            sql(c, rows, size * 300);
        },
    },
    Workload {
        name: "written anew",
        prepare: |c, size| {
            let rows = "CREATE TABLE anew (id int PRIMARY KEY, v text);
                 INSERT INTO anew SELECT g, repeat('x', 50) FROM generate_series(1, $n) AS g;";
            sql(c, rows, size * 3_000);
        },
        run: |c, _| {
            let anew = "VACUUM FULL anew; ALTER TABLE anew ALTER id TYPE bigint; CLUSTER anew USING anew_pkey;
                        CREATE MATERIALIZED VIEW seen AS SELECT * FROM anew; REFRESH MATERIALIZED VIEW seen;";
            sql(c, anew, 0);
        },
    },
    Workload {
        name: "a queue",
        prepare: |c, _| {
            sql(
                c,
                "CREATE TABLE queue (id bigserial PRIMARY KEY, v text)",
                0,
            )
        },
        run: |c, size| clients(c, 4, size * 100, "queue", QUEUE),
    },
    Workload {
        name: "databases come and go",
        prepare: touched,
        run: |c, size| {
            for _ in 0..(size / 10).max(2) {
                for how in ["STRATEGY wal_log", "STRATEGY file_copy"] {
                    let made = format!("CREATE DATABASE made TEMPLATE postgres {how};");
                    for statement in [made.as_str(), "DROP DATABASE made;"] {
                        psql_file(c, "template1", statement);
                    }
                }
            }
        },
    },
    Workload {
        name: "many savepoints at once",
        prepare: touched,
        run: |c, size| sql(c, NESTED, size * 1_000),
    },
    Workload {
        name: "either way",
        prepare: touched,
        run: |c, size| sql(c, UPSERT, size * 2_000),
    },
    Workload {
        name: "messages",
        prepare: |_, _| {},
        run: |c, size| {
            let messages = "SELECT count(pg_logical_emit_message(true, 'x', repeat('y', g % 300)))
                            FROM generate_series(1, $n) AS g;";
            sql(c, messages, size * 5_000);
        },
    },
    Workload {
        name: "checkpoints, 3,000 tables",
        prepare: |c, _| {
            sql(
                c,
                "DO $do$ BEGIN
                     FOR i IN 1..3000 LOOP
                         EXECUTE format('CREATE TABLE many_%s AS
                             SELECT g AS id, 0 AS n FROM generate_series(1, 20) AS g', i);
                     END LOOP;
                 END $do$;",
                0,
            );
        },
        run: |c, size| {
            let round = "DO $do$ BEGIN
                 FOR i IN 1..3000 LOOP
                     EXECUTE format('UPDATE many_%s SET n = n + 1 WHERE id = 1', i);
                 END LOOP;
             END $do$; CHECKPOINT;";
            sql(c, &round.repeat((size / 10) as usize), 0);
        },
    },
    Workload {
        name: "two sides of a long transaction",
        prepare: touched,
        run: |c, size| {
            // One that stays open beside many that end.
            let mut open = c.connect("postgres");
            let long = "BEGIN; UPDATE touched SET n = -1 WHERE id % 10 = 0";
            open.batch_execute(long).expect("a long transaction");
            sql(c, ONE_BY_ONE, size * 2_000);
            open.batch_execute("ROLLBACK").expect("its end");
        },
    },
];

const PARENTS: &str = "
CREATE TABLE parents (id int PRIMARY KEY, n int);
INSERT INTO parents SELECT g, 0 FROM generate_series(0, 99) AS g;
CREATE TABLE children (parent int REFERENCES parents, v text);
";

const CHILDREN: &str = r"
\set parent random(0, 99)
\set other random(0, 9)
BEGIN;
INSERT INTO children VALUES (:parent, 'x');
INSERT INTO children VALUES (:other, 'x');
UPDATE parents SET n = n + 1 WHERE id = :parent;
COMMIT;
";

const UNDONE: &str = "
BEGIN;
INSERT INTO touched SELECT g, 0 FROM generate_series(100000, 100000 + $n) AS g;
UPDATE touched SET n = n + 1;
DELETE FROM touched WHERE id % 2 = 0;
ROLLBACK;
VACUUM touched;
";

const PREPARED: &str = r"
\set id random(0, 99999)
BEGIN;
UPDATE touched SET n = n + 1 WHERE id = :id;
PREPARE TRANSACTION 'p:client_id';
COMMIT PREPARED 'p:client_id';
";

const PARTITIONS: &str = "
CREATE TABLE parts (id int, n int) PARTITION BY HASH (id);
DO $do$ BEGIN
    FOR i IN 0..999 LOOP
        EXECUTE format('CREATE TABLE parts_%s PARTITION OF parts
            FOR VALUES WITH (MODULUS 1000, REMAINDER %s)', i, i);
    END LOOP;
END $do$;
CREATE INDEX ON parts (id);
INSERT INTO parts SELECT g, 0 FROM generate_series(0, 99999) AS g;
";

const IN_PARTITIONS: &str = r"
\set a random(0, 99999)
\set b random(0, 99999)
\set c random(0, 99999)
\set d random(0, 99999)
BEGIN;
UPDATE parts SET n = n + 1 WHERE id = :a;
UPDATE parts SET n = n + 1 WHERE id = :b;
UPDATE parts SET n = n + 1 WHERE id = :c;
UPDATE parts SET n = n + 1 WHERE id = :d;
COMMIT;
";

const KINDS: &str = "
CREATE TABLE kinds (a int, b int[], c point, d text);
CREATE INDEX ON kinds USING gin (b);
CREATE INDEX ON kinds USING gist (c);
CREATE INDEX ON kinds USING spgist (d);
CREATE INDEX ON kinds USING hash (a);
CREATE INDEX ON kinds USING brin (a);
";

const QUEUE: &str = r"
INSERT INTO queue (v) VALUES ('a'), ('b'), ('c');
DELETE FROM queue WHERE id = ANY (ARRAY(SELECT id FROM queue ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED));
";

const NESTED: &str = "
DO $do$ BEGIN
    FOR i IN 1..$n LOOP
        BEGIN
            UPDATE touched SET n = n + 1 WHERE id = i % 100000;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END $do$;
";

const UPSERT: &str = "
DO $do$ BEGIN
    FOR i IN 1..$n LOOP
        INSERT INTO touched VALUES (i::bigint * 7919 % 200000, 1)
        ON CONFLICT (id) DO UPDATE SET n = touched.n + 1;
        IF i % 3 = 0 THEN COMMIT; END IF;
    END LOOP;
END $do$;
";

const ONE_BY_ONE: &str = "
DO $do$ BEGIN
    FOR i IN 1..$n LOOP
        UPDATE touched SET n = n + 1 WHERE id = (i::bigint * 7919 % 10000) * 10 + 1;
        COMMIT;
    END LOOP;
END $do$;
";
