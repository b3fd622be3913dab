//! The map against scans, on tables that are large.

use crate::cpu::{self, Cost};
use crate::report::{Report, Row};
use crate::stats::{ratio, summary};
use std::fs::{self, File};
use walker_tests::poll::env_number;
use walker_tests::session::{aligned, rows};
use walker_tests::{Cluster, Mode};

const SECTION: &str = "garbage of a table, time to the answer";
const CONF: &str = "walker.shared_memory = '512MB'
     garbagemap.max_memory = '2GB'
     shared_buffers = '512MB'
     synchronous_commit = off
     autovacuum = off
     max_wal_size = '8GB'
     wal_keep_size = 0";

/// Tables of the sizes in `BENCH_TABLES`, in GB, and one of a simulated TB.
pub fn measure(rounds: usize, _: u64, to: &mut Report) {
    let sizes = std::env::var("BENCH_TABLES").unwrap_or_default();
    let quick = env_number("BENCH_QUICK", 0) != 0;
    let default = if quick { "0.1" } else { "1 4" };
    let sizes = if sizes.is_empty() { default } else { &sizes };
    let cluster = Cluster::with_walker("tables", &[], CONF);
    for size in sizes.split_whitespace() {
        let gigabytes: f64 = size.parse().expect("BENCH_TABLES: sizes in GB");
        eprintln!("filling a table of {size} GB");
        fill(&cluster, gigabytes);
        one_table(&cluster, rounds.min(3), to);
        cluster.safe_psql("postgres", "DROP TABLE large; CHECKPOINT");
    }
    simulated(cluster, rounds, to);
}

/// Rows of 240 bytes; one in a hundred is deleted, so that every third page
/// has garbage, which pgstattuple_approx must read.
fn fill(cluster: &Cluster, gigabytes: f64) {
    let rows = (gigabytes * f64::from(1 << 30) / 8192.0 * 33.0) as u64;
    for statement in [
        "CREATE TABLE large (id bigint, v text)",
        &format!(
            "INSERT INTO large SELECT g, repeat('x', 200) FROM generate_series(1, {rows}) AS g"
        ),
        "VACUUM large",
        "DELETE FROM large WHERE id % 100 = 0",
    ] {
        cluster.safe_psql("postgres", statement);
    }
    cluster.walker_wait();
}

fn one_table(cluster: &Cluster, rounds: usize, to: &mut Report) {
    let size = cluster.safe_psql("postgres", "SELECT pg_relation_size('large')");
    let size: f64 = size.parse().expect("a number");
    let subject = format!("{:.1} GB", size / f64::from(1 << 30));
    let ask = |sql: &str| cluster.safe_psql("postgres", sql);
    let mut client = cluster.connect("postgres");
    let pid = rows(&mut client, "SELECT pg_backend_pid()").expect("a session");
    let pid = aligned(&pid).parse().expect("a number");
    let mut time = |sql: &str| {
        let before = cpu::of_process(pid).expect("a session");
        let began = std::time::Instant::now();
        rows(&mut client, sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let wall = began.elapsed().as_secs_f64() * 1000.0;
        let cpu = (cpu::of_process(pid).expect("a session") - before) * 1000.0;
        Cost { cpu, wall }
    };
    let map = "SELECT sum(n_dead_tuples), bool_and(exact) FROM garbage_map('large')";
    // What the others tell: one row for the whole table.
    let one = "SELECT n_dead_tuples, exact FROM garbage_map('large', 1048576)";
    let scan = "SELECT dead_tuple_count FROM pgstattuple('large')";
    let approx = "SELECT dead_tuple_count FROM pgstattuple_approx('large')";
    let total = "SELECT n_dead_tuples, exact FROM garbage_tables WHERE relid = 'large'::regclass";
    // What a row costs the server, wherever it comes from.
    let ranges = ask("SELECT count(*) FROM garbage_map('large')");
    let server = format!("SELECT sum(g), bool_and(g > 0) FROM generate_series(1, {ranges}) AS g");
    let mut times: [Vec<Cost>; 6] = Default::default();
    let contrib = cluster.server.has_contrib("pgstattuple");
    // A session's first call loads the library, which is no part of the answer.
    time(map);
    time(one);
    time(total);
    for _ in 0..rounds {
        if contrib {
            times[0].push(time(scan));
            times[1].push(time(approx));
        }
        times[2].push(time(map));
        times[3].push(time(one));
        times[4].push(time(total));
        times[5].push(time(&server));
    }
    let clock = |times: &[Cost]| times.iter().map(|c| c.wall).collect::<Vec<_>>();
    let cpu = |times: &[Cost]| times.iter().map(|c| c.cpu).collect::<Vec<_>>();
    let add = |what: &str, times: &[Cost]| {
        Row::new(SECTION, &subject, what, "ms", summary(&clock(times)))
    };
    let ours = [
        ("garbage_map, a row per 32 blocks", &times[2]),
        ("garbage_map, one row", &times[3]),
        ("garbage_tables, its row", &times[4]),
    ];
    to.rows
        .push(add("generate_series, as many rows", &times[5]));
    if !contrib {
        to.rows.extend(ours.map(|(what, times)| add(what, times)));
        return;
    }
    let truth = format!("{}|t", ask(scan));
    assert_eq!(ask(map), truth, "the map is not exact");
    assert_eq!(ask(one), truth, "its one row is not exact");
    assert_eq!(ask(total), truth, "the sum is not exact");
    for (what, list) in ours {
        let mut row =
            add(what, list).against("CPU of pgstattuple", ratio(&cpu(list), &cpu(&times[0])));
        if size > 4e9 {
            row = row.goal("≤ 0.001");
        }
        to.rows.push(row);
        let other = "CPU of pgstattuple_approx";
        to.rows
            .push(add(what, list).against(other, ratio(&cpu(list), &cpu(&times[1]))));
    }
    to.rows.push(add("pgstattuple", &times[0]));
    to.rows.push(add("pgstattuple_approx", &times[1]));
}

/// A table whose files are there, of a TB, but hold nothing: `garbage_map`
/// reads no heap page, so that it cannot tell.
fn simulated(cluster: Cluster, rounds: usize, to: &mut Report) {
    cluster.safe_psql("postgres", "CREATE TABLE huge (id int)");
    let path = cluster.safe_psql("postgres", "SELECT pg_relation_filepath('huge')");
    // Or the server would truncate what it thinks it has just made.
    cluster.restart();
    cluster.wait_for_state(&["waiting"]);
    let path = cluster.data_dir().join(path);
    for gigabytes in [1u64, 16, 128, 1024] {
        for segment in 0..gigabytes {
            let name = match segment {
                0 => path.clone(),
                n => path.with_extension(n.to_string()),
            };
            let file = File::create(&name).unwrap_or_else(|e| panic!("{}: {e}", name.display()));
            file.set_len(1 << 30).expect("a sparse file");
            cluster.server.give(&name);
        }
        let mut client = cluster.connect("postgres");
        let mut time = |sql: &str| {
            let began = std::time::Instant::now();
            rows(&mut client, sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
            began.elapsed().as_secs_f64() * 1000.0
        };
        let each = "SELECT count(*) FROM garbage_map('huge')";
        let few = "SELECT count(*) FROM garbage_map('huge', 32768)";
        // The first time all its files are opened.
        time(few);
        let subject = format!("{gigabytes} GB, sparse");
        let mut add = |what: &str, sql: &str| {
            let times: Vec<f64> = (0..rounds).map(|_| time(sql)).collect();
            to.rows
                .push(Row::new(SECTION, &subject, what, "ms", summary(&times)));
        };
        add("garbage_map, a row per 32 blocks", each);
        add("garbage_map, a row per 32,768 blocks", few);
    }
    cluster.stop(Mode::Immediate);
    let _ = fs::remove_file(&path);
}
