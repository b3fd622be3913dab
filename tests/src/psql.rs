//! Scripts, run as a user runs them.

use crate::cluster::Cluster;
use crate::server::text;
use std::io::Write;
use std::process::Stdio;

/// Runs a script through the server's own psql and returns what it printed
/// (unaligned, rows only); the test fails if a statement fails.
pub fn psql_file(cluster: &Cluster, database: &str, sql: &str) -> String {
    psql(cluster, database, &["-A", "-t"], sql)
}

/// As [`psql_file`], printed as a page of the manual would show it.
pub fn psql_page(cluster: &Cluster, database: &str, sql: &str) -> String {
    psql(cluster, database, &["-P", "footer=off"], sql)
}

fn psql(cluster: &Cluster, database: &str, options: &[&str], sql: &str) -> String {
    let mut command = cluster.server.command("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
    command.args(options).arg("-h").arg(cluster.host());
    command.args(["-d", database, "-f", "-"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run psql: {e}"));
    // Written from a thread: psql may fill its output before it has read all.
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = sql.as_bytes().to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("psql");
    let _ = writer.join();
    assert!(
        output.status.success(),
        "psql failed:\n{sql}\n{}{}",
        text(&output),
        String::from_utf8_lossy(&output.stderr)
    );
    text(&output)
}
