//! What monitoring/ ships, with Debian's own Prometheus and exporter: every
//! metric that rules and dashboard speak of is there, and an alert fires.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use walker_tests::Cluster;
use walker_tests::cluster::{Mode, signal};
use walker_tests::poll::{poll_for, poll_until, timeout};
use walker_tests::server::run;
use walker_tests::skip::skipped;
use walker_tests::walker::plain;

/// Where scripts/setup.sh has unpacked the programs, or wherever they are.
fn program(name: &str) -> Option<PathBuf> {
    let unpacked = std::env::var_os("WALKER_MONITORING").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    unpacked
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../monitoring")
        .join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(shipped(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A process that ends with the test; what it says is in a file.
struct Process(Child);

impl Process {
    fn start(command: &mut Command, log: &Path) -> Process {
        let log = fs::File::create(log).expect("a log file");
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Process(command.stderr(log).spawn().expect("a program"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The answer to a GET request, if there is one.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(timeout())).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.0 200").then_some(answer)
}

/// Names of our metrics in an expression or an exposition.
fn metrics(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(word)
        .filter(|name| name.starts_with("walker_") || name.starts_with("garbage_"))
        .map(str::to_owned)
        .collect()
}

/// The expressions of the rules and of the dashboard.
fn expressions() -> Vec<String> {
    let rules = read("alerts.yaml");
    let dashboard = read("dashboard.json");
    let lines = rules.lines().chain(dashboard.lines());
    lines
        .filter_map(|line| {
            let line = line.trim_start().replace('"', "");
            Some(line.strip_prefix("expr: ")?.to_owned())
        })
        .collect()
}

/// The expressions of the dashboard, for all instances.
fn panels() -> Vec<String> {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("dashboard.json")).expect("JSON of a dashboard");
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let targets = list(&dashboard["panels"])
        .into_iter()
        .flat_map(|panel| list(&panel["targets"]));
    targets
        .map(|target| {
            let expression = target["expr"].as_str().expect("an expression");
            expression.replace("$instance", ".*")
        })
        .collect()
}

/// What the dashboard makes of the sums of all tables, for promtool: one a second each,
/// and nothing, rather than all that the others ever counted, where a table is dropped.
fn rates_of_sums() -> String {
    let sums: Vec<String> = panels()
        .into_iter()
        .filter(|expression| {
            expression.contains("garbage_database_") && expression.contains("[5m]")
        })
        .collect();
    assert_eq!(sums.len(), 6, "{sums:?}");
    let mut test = "tests:\n- interval: 1m\n  input_series:\n".to_owned();
    let names: BTreeSet<String> = sums
        .iter()
        .flat_map(|expression| metrics(expression))
        .collect();
    for name in names {
        let values = "1000000+60x20 500000+60x20";
        writeln!(
            test,
            "  - {{series: '{name}{{instance=\"a\"}}', values: '{values}'}}"
        )
        .expect("text");
    }
    test += "  promql_expr_test:\n";
    for expression in sums {
        let value = if expression.contains("hot") { 0.5 } else { 1.0 };
        for (minute, samples) in [(10, true), (23, false), (30, true)] {
            let samples = match samples {
                true => format!("[{{labels: '{{}}', value: {value}}}]"),
                false => "[]".to_owned(),
            };
            writeln!(
                test,
                "  - {{expr: '{expression}', eval_time: {minute}m, exp_samples: {samples}}}"
            )
            .expect("text");
        }
    }
    test
}

/// As a part of an address.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn series<'a>(scraped: &'a str, start: &str) -> Vec<&'a str> {
    scraped.lines().filter(|l| l.starts_with(start)).collect()
}

#[test]
fn what_is_shipped_measures_and_alerts() {
    // One server is enough: nothing of this depends on its version.
    let programs = ["prometheus", "promtool", "prometheus-postgres-exporter"].map(program);
    let [Some(prometheus), Some(promtool), Some(exporter)] = programs else {
        let promised =
            std::env::var_os("WALKER_MONITORING").is_some_and(|d| Path::new(&d).is_dir());
        assert!(!promised, "WALKER_MONITORING lacks a program");
        skipped("monitoring: Prometheus is not there");
        return;
    };
    let cluster = Cluster::new("monitoring");
    if plain() || cluster.server.major != 15 {
        return;
    }
    drop(cluster);
    // The rules are well-formed, and each fires when it should and only then.
    run(Command::new(&promtool)
        .args(["check", "rules"])
        .arg(shipped("alerts.yaml")));
    run(Command::new(&promtool)
        .args(["test", "rules"])
        .arg(shipped("alerts_test.yaml")));

    // A worker that was stopped stays stopped.
    let cluster = Cluster::with_walker(
        "monitoring",
        &[],
        "walker.restart_interval = '1 h'\nautovacuum = off",
    );
    let rates = cluster.path("rates_test.yaml");
    fs::write(&rates, rates_of_sums()).expect("a test");
    run(Command::new(&promtool).args(["test", "rules"]).arg(&rates));
    for sql in [
        "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 1000) AS g",
        "DELETE FROM t WHERE a <= 700",
        "CREATE ROLE exporter LOGIN IN ROLE pg_monitor",
    ] {
        cluster.safe_psql("postgres", sql);
    }
    cluster.walker_wait();
    let (exporter_port, port) = (free_port(), free_port());
    let mut command = Command::new(exporter);
    command
        .env(
            "DATA_SOURCE_NAME",
            format!(
                "host={} user=exporter dbname=postgres sslmode=disable",
                cluster.host().display()
            ),
        )
        .args(["--disable-default-metrics", "--disable-settings-metrics"])
        .arg(format!("--web.listen-address=127.0.0.1:{exporter_port}"))
        .arg(format!(
            "--extend.query-path={}",
            shipped("queries.yaml").display()
        ));
    let exporter_log = cluster.path("exporter.log");
    let _exporter = Process::start(&mut command, &exporter_log);
    let scraped = poll_for(timeout(), || {
        get(exporter_port, "/metrics").filter(|m| m.contains("garbage_candidate_dead_tuples{"))
    });
    let scraped = scraped.unwrap_or_else(|| {
        let log = fs::read_to_string(&exporter_log).unwrap_or_default();
        panic!(
            "the exporter does not measure\n{log}\n{:?}",
            get(exporter_port, "/metrics")
        )
    });
    let value = |start: &str| -> f64 {
        let found = series(&scraped, start);
        assert_eq!(found.len(), 1, "{start}: {found:?}");
        let value = found[0].rsplit(' ').next().and_then(|v| v.parse().ok());
        value.unwrap_or_else(|| panic!("{found:?}"))
    };
    assert_eq!(value("walker_up{"), 1.0);
    assert_eq!(value("walker_last_gap_lsn{"), 0.0);
    assert_eq!(value("garbage_map_image_mismatches{"), 0.0);
    let of_t = "{datname=\"postgres\",relname=\"t\",schemaname=\"public\"";
    assert!(
        scraped.contains(of_t),
        "{:?}",
        series(&scraped, "garbage_table_dead_by_delete")
    );
    assert_eq!(value(&format!("garbage_table_dead_by_delete{of_t}")), 700.0);
    assert_eq!(value(&format!("garbage_table_dead_tuples{of_t}")), 700.0);
    let vacuum = "garbage_candidate_dead_tuples{datname=\"postgres\",recommendation=\"vacuum\",relname=\"t\"";
    assert_eq!(value(vacuum), 700.0);
    assert!(value("garbage_database_dead_by_delete{") >= 700.0);
    // Whatever rules and dashboard speak of is measured.
    let measured = metrics(&scraped);
    let expressions = expressions();
    assert!(expressions.len() > 20, "{expressions:?}");
    for expression in &expressions {
        for name in metrics(expression) {
            assert!(
                measured.contains(&name),
                "nobody measures {name}, in {expression}"
            );
        }
    }

    // Of more tables than are told one by one, those come first that somebody keeps, and
    // one that has left the list counts all the same.
    cluster.safe_psql(
        "postgres",
        "DO $$ BEGIN FOR i IN 1 .. 120 LOOP
         EXECUTE format('CREATE TABLE more_%s AS SELECT g AS a FROM generate_series(1, 100) AS g', i);
         EXECUTE format('DELETE FROM more_%s', i);
         END LOOP; END $$",
    );
    cluster.safe_psql("postgres", "VACUUM t");
    let mut holder = cluster.connect("postgres");
    holder
        .batch_execute("BEGIN; SELECT pg_current_xact_id()")
        .expect("a transaction");
    for sql in [
        "CREATE TABLE held AS SELECT g AS a FROM generate_series(1, 60) AS g",
        "DELETE FROM held",
    ] {
        cluster.safe_psql("postgres", sql);
    }
    cluster.walker_wait();
    let held = "garbage_candidate_kept_tuples{datname=\"postgres\",recommendation=\"release\",relname=\"held\"";
    let full = poll_until("an alert's table among many", || {
        get(exporter_port, "/metrics").filter(|m| m.contains(held))
    });
    drop(holder);
    for list in [
        "garbage_candidate_dead_tuples{",
        "garbage_table_dead_tuples{",
    ] {
        assert_eq!(series(&full, list).len(), 100);
    }
    assert!(!full.contains(&format!("garbage_table_dead_tuples{of_t}")));
    let removed: f64 = ["pruning", "vacuum"]
        .iter()
        .flat_map(|how| series(&full, &format!("garbage_database_removed_by_{how}{{")))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(removed >= 700.0, "{removed}");

    // As shipped, but nobody waits for two minutes.
    let rules = read("alerts.yaml");
    let impatient: Vec<&str> = rules
        .lines()
        .filter(|l| !l.trim_start().starts_with("for: "))
        .collect();
    fs::write(cluster.path("alerts.yaml"), impatient.join("\n")).expect("rules");
    fs::write(
        cluster.path("prometheus.yaml"),
        format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
             rule_files: [alerts.yaml]\n\
             scrape_configs:\n- job_name: postgres\n  static_configs:\n  \
             - targets: ['127.0.0.1:{exporter_port}']\n"
        ),
    )
    .expect("a configuration");
    let mut command = Command::new(prometheus);
    command
        .arg(format!(
            "--config.file={}",
            cluster.path("prometheus.yaml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            cluster.path("tsdb").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _prometheus = Process::start(&mut command, &cluster.path("prometheus.log"));
    let query = "/api/v1/query?query=walker_up";
    poll_until("Prometheus to have scraped", || {
        get(port, query).filter(|answer| answer.contains(",\"1\"]"))
    });
    for expression in panels() {
        let query = format!("/api/v1/query?query={}", encoded(&expression));
        assert!(get(port, &query).is_some(), "no expression: {expression}");
    }
    let alerts = || get(port, "/api/v1/alerts").expect("alerts");
    let down = |what: &str| {
        poll_until(what, || {
            Some(alerts())
                .filter(|a| a.contains("firing") && a.contains("walker does not run on 127.0.0.1"))
        })
    };
    let well = |what: &str| {
        poll_until(what, || (!alerts().contains("WalkerDown")).then_some(()));
    };
    // Before, nobody had measured anything.
    well("an end of the alert");

    // Who it is that nobody can ask is known: the view is an error, as it is without
    // walker in shared_preload_libraries, or there is no server.
    let rename = |from: &str, to: &str| {
        cluster.safe_psql("postgres", &format!("ALTER VIEW {from} RENAME TO {to}"));
    };
    rename("walker_status", "elsewhere");
    down("an alert while the view is an error");
    rename("elsewhere", "walker_status");
    well("the view to be asked again");
    cluster.stop(Mode::Fast);
    down("an alert without a server");
    cluster.start();
    well("the server to be asked again");

    signal("TERM", &[cluster.worker_pid()]);
    cluster.wait_for_state(&["not running"]);
    // Whose plugins get nothing then.
    assert_eq!(cluster.plugin("garbagemap", "state"), "not running");
    down("an alert without a worker");
}
