//! Targeted reclaim against VACUUM: the same garbage in two equal tables.

use crate::report::{Report, Row};
use crate::stats::{ratio, summary};
use std::time::Instant;
use walker_tests::Cluster;
use walker_tests::poll::env_number;

const SECTION: &str = "freeing the space of dead tuples";
const CONF: &str = "shared_buffers = '512MB'
     autovacuum = off
     synchronous_commit = off
     max_wal_size = '8GB'
     checkpoint_timeout = '1h'";
const TABLES: [&str; 2] = ["pruned", "vacuumed"];

/// Rows of about 120 bytes; garbage in the first 1, 10 and 100 per cent of the
/// pages, a quarter of the rows there. Indexes: none, 2, 6.
pub fn measure(rounds: usize, size: u64, to: &mut Report) {
    let n = env_number("BENCH_PRUNE_ROWS", 10_000 * size);
    for indexes in [0, 2, 6] {
        let mut rates: [[Vec<f64>; 2]; 3] = Default::default();
        for round in 0..rounds.min(3) {
            eprintln!("prune and vacuum, {indexes} indexes, round {}", round + 1);
            let cluster = Cluster::with_walker("prune", &[], CONF);
            for table in TABLES {
                fill(&cluster, table, n, indexes);
            }
            for (step, share) in [1, 10, 100].into_iter().enumerate() {
                let freed = one(&cluster, n, share, step, round % 2 == 0);
                rates[step][0].push(freed[0]);
                rates[step][1].push(freed[1]);
            }
        }
        for (share, [pruned, vacuumed]) in ["1 %", "10 %", "100 %"].into_iter().zip(&rates) {
            let subject = format!("{n} rows, {indexes} indexes, garbage in {share} of the ranges");
            let row = |what: &str, rates: &[f64]| {
                Row::new(SECTION, &subject, what, "MB/s", summary(rates))
            };
            to.rows
                .push(row("garbage_prune", pruned).against("VACUUM", ratio(pruned, vacuumed)));
            to.rows.push(row("VACUUM", vacuumed));
        }
    }
}

fn fill(cluster: &Cluster, table: &str, n: u64, indexes: u32) {
    let sql = |sql: &str| drop(cluster.safe_psql("postgres", sql));
    sql(&format!(
        "CREATE TABLE {table} (id int, a int, b int, c int, d int, e int, pad text)"
    ));
    sql(&format!(
        "INSERT INTO {table} SELECT g, g % 1000, g % 7, -g, g / 2, g % 100, repeat('x', 60)
         FROM generate_series(1, {n}) AS g"
    ));
    for column in ["id", "a", "b", "c", "d", "e"]
        .iter()
        .take(indexes as usize)
    {
        sql(&format!("CREATE INDEX ON {table} ({column})"));
    }
    sql(&format!("VACUUM (ANALYZE) {table}"));
}

/// Makes the same garbage in both tables, and has it freed: MB a second by
/// `garbage_prune` and by VACUUM. Which is first changes from round to round.
fn one(cluster: &Cluster, n: u64, share: u64, step: usize, prune_first: bool) -> [f64; 2] {
    for table in TABLES {
        let garbage = format!(
            "DELETE FROM {table} WHERE id <= {} AND id % 4 = {step}",
            n * share / 100
        );
        cluster.safe_psql("postgres", &garbage);
    }
    cluster.safe_psql("postgres", "CHECKPOINT");
    cluster.walker_wait();
    let time = |sql: &str| {
        let began = Instant::now();
        let printed = cluster.safe_psql("postgres", sql);
        (began.elapsed().as_secs_f64(), printed)
    };
    let vacuum = || time("VACUUM vacuumed").0;
    let before = (!prune_first).then(vacuum);
    let (pruning, printed) = time("CALL garbage_prune('pruned')");
    let vacuuming = before.unwrap_or_else(vacuum);
    let cells: Vec<&str> = printed.split('|').collect();
    let number = |at: usize| -> f64 { cells[at].parse().expect(&printed) };
    let dead = (n * share / 100 / 4) as f64;
    assert!(
        (number(2) - dead).abs() <= 1.0,
        "{dead} dead tuples, of which were pruned: {printed}"
    );
    // What is left of it for VACUUM is no part of the next step.
    for table in TABLES {
        cluster.safe_psql("postgres", &format!("VACUUM {table}"));
    }
    let megabytes = number(3) / 1e6;
    [megabytes / pruning, megabytes / vacuuming]
}
