//! Sessions: one statement and its result, and statements that may block.

use crate::cluster::Cluster;
use crate::poll::{poll_until, timeout};
use postgres::{Client, NoTls, SimpleQueryMessage};
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Rows as text; NULL is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// Why a statement failed.
#[derive(Clone, Debug)]
pub struct SqlError {
    /// SQLSTATE; empty if the connection broke.
    pub sqlstate: String,
    /// Message, detail and hint.
    pub message: String,
}

impl From<postgres::Error> for SqlError {
    fn from(error: postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self {
                sqlstate: String::new(),
                message: format!("{error:?}"),
            };
        };
        let mut message = db.message().to_owned();
        for (label, part) in [("detail", db.detail()), ("hint", db.hint())] {
            if let Some(part) = part {
                message += &format!("\n{label}: {part}");
            }
        }
        Self {
            sqlstate: db.code().code().to_owned(),
            message,
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)
    }
}

/// Runs statements on a connection; the rows of all of them together.
pub fn rows(client: &mut Client, sql: &str) -> Result<Rows, SqlError> {
    let messages = client.simple_query(sql)?;
    let mut rows = Rows::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push(
                (0..row.len())
                    .map(|i| row.get(i).map(str::to_owned))
                    .collect(),
            );
        }
    }
    Ok(rows)
}

/// As `psql -A -t` prints rows.
pub fn aligned(rows: &Rows) -> String {
    let line = |row: &Vec<Option<String>>| {
        let cells: Vec<&str> = row.iter().map(|c| c.as_deref().unwrap_or("")).collect();
        cells.join("|")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Cluster {
    /// Runs statements in a connection of their own, as the superuser.
    pub fn psql(&self, database: &str, sql: &str) -> Result<Rows, SqlError> {
        rows(&mut self.connect(database), sql)
    }

    /// As [`psql`](Self::psql) as another role.
    pub fn psql_as(&self, role: &str, database: &str, sql: &str) -> Result<Rows, SqlError> {
        let mut client = self.config(database).user(role).connect(NoTls)?;
        rows(&mut client, sql)
    }

    /// Runs statements that must work; returns what `psql -A -t` would print.
    pub fn safe_psql(&self, database: &str, sql: &str) -> String {
        match self.psql(database, sql) {
            Ok(rows) => aligned(&rows),
            Err(error) => panic!("cluster \"{}\": {sql}\n{error}", self.name),
        }
    }

    /// Waits until a query's answer is `expected`.
    pub fn poll_query_until(&self, database: &str, sql: &str, expected: &str) {
        let mut last = String::new();
        let found = crate::poll::poll_for(timeout(), || {
            last = match self.config(database).connect(NoTls) {
                Ok(mut client) => match rows(&mut client, sql) {
                    Ok(rows) => aligned(&rows),
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            (last == expected).then_some(())
        });
        assert!(
            found.is_some(),
            "cluster \"{}\": waited in vain for\n{sql}\nto answer \"{expected}\"; \
             the last answer was \"{last}\"",
            self.name
        );
    }
}

/// A session in a thread of its own: a statement that blocks does not block
/// the test. Statements sent to a busy session wait for their turn.
#[derive(Debug)]
pub struct Session {
    /// Backend process ID.
    pub pid: i32,
    to: Sender<String>,
    from: Receiver<Result<Rows, SqlError>>,
    pending: usize,
}

impl Session {
    /// Opens a session as the superuser.
    pub fn open(cluster: &Cluster, database: &str) -> Self {
        let mut client = cluster.connect(database);
        let pid = rows(&mut client, "SELECT pg_backend_pid()").expect("a process ID");
        let pid = aligned(&pid).parse().expect("a process ID");
        let (to, statements) = channel::<String>();
        let (results, from) = channel();
        // Ends with its queue, that is with the session.
        std::thread::spawn(move || {
            for sql in statements {
                if results.send(rows(&mut client, &sql)).is_err() {
                    break;
                }
            }
        });
        Self {
            pid,
            to,
            from,
            pending: 0,
        }
    }

    /// Sends a statement and does not wait for its result.
    pub fn send(&mut self, sql: &str) {
        self.pending += 1;
        // If the thread is gone, so is the result: wait() will say it.
        let _ = self.to.send(sql.to_owned());
    }

    /// How many statements have not been answered yet. Results that have come
    /// are passed to `seen`.
    pub fn drain(&mut self, mut seen: impl FnMut(Result<Rows, SqlError>)) -> usize {
        while let Ok(result) = self.from.try_recv() {
            self.pending -= 1;
            seen(result);
        }
        self.pending
    }

    /// Waits for the result of the oldest statement that has none yet.
    pub fn wait(&mut self) -> Result<Rows, SqlError> {
        assert!(self.pending > 0, "no statement was sent");
        self.pending -= 1;
        self.from.recv_timeout(timeout()).unwrap_or_else(|e| {
            panic!(
                "session {} has not answered within {:?}: {e}",
                self.pid,
                timeout()
            )
        })
    }

    /// Runs a statement.
    pub fn run(&mut self, sql: &str) -> Result<Rows, SqlError> {
        self.send(sql);
        self.wait()
    }

    /// Runs a statement that must work.
    pub fn safe(&mut self, sql: &str) -> Rows {
        self.run(sql).unwrap_or_else(|e| panic!("{sql}\n{e}"))
    }

    /// Waits until the session waits for a lock.
    pub fn wait_blocked(&self, cluster: &Cluster) {
        let mut client = cluster.connect("postgres");
        let sql = format!(
            "SELECT wait_event_type FROM pg_stat_activity WHERE pid = {} AND state = 'active'",
            self.pid
        );
        poll_until("a session to block", || {
            let answer = rows(&mut client, &sql).expect("pg_stat_activity");
            (aligned(&answer) == "Lock").then_some(())
        });
    }
}
