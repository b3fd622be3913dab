//! Plays random histories.

use crate::cluster::{Cluster, Mode};
use crate::history::{Event, History};
use crate::poll::poll_until;
use crate::session::{Session, aligned, rows};
use postgres::Client;
use std::collections::BTreeMap;

/// A history under way.
pub struct Player<'a> {
    cluster: &'a Cluster,
    database: &'a str,
    history: &'a History,
    sessions: BTreeMap<usize, Session>,
    /// Looks who waits, and ends prepared transactions; holds no lock.
    observer: Client,
    /// Statements that worked, and by SQLSTATE those that did not.
    outcomes: BTreeMap<String, usize>,
}

impl<'a> Player<'a> {
    /// Makes the history's tables.
    pub fn new(cluster: &'a Cluster, database: &'a str, history: &'a History) -> Self {
        let observer = cluster.connect(database);
        let mut player = Self {
            cluster,
            database,
            history,
            sessions: BTreeMap::new(),
            observer,
            outcomes: BTreeMap::new(),
        };
        let schema = player.schema();
        let mut first = Session::open(cluster, database);
        first.safe(&format!("CREATE SCHEMA {schema}"));
        first.safe(&format!("SET search_path = {schema}"));
        for sql in &history.setup {
            first.safe(sql);
        }
        player.sessions.insert(0, first);
        player
    }

    /// Where the tables are.
    pub fn schema(&self) -> String {
        format!("h{}", self.history.seed)
    }

    /// Plays to the end; returns how the statements ended, by SQLSTATE.
    pub fn play(mut self) -> BTreeMap<String, usize> {
        for event in &self.history.events {
            match event {
                Event::Statement { session, sql } => self.statement(*session, sql),
                // The transaction may not have been prepared, or not yet.
                Event::EndPrepared { gid, commit } => self.end_prepared(gid, *commit),
                Event::Crash => self.again(Mode::Immediate),
                Event::Restart => self.again(Mode::Fast),
            }
        }
        self.rest();
        self.outcomes
    }

    fn statement(&mut self, number: usize, sql: &str) {
        let schema = self.schema();
        let (cluster, database) = (self.cluster, self.database);
        let session = self.sessions.entry(number).or_insert_with(|| {
            let mut session = Session::open(cluster, database);
            session.safe(&format!("SET search_path = {schema}"));
            session
        });
        session.send(sql);
        // Go on when it has ended or waits for another session.
        let (outcomes, observer) = (&mut self.outcomes, &mut self.observer);
        let waits = format!(
            "SELECT wait_event_type FROM pg_stat_activity WHERE pid = {}",
            session.pid
        );
        poll_until("a statement to end or to block", || {
            if session.drain(|result| count(outcomes, result.map(drop))) == 0 {
                return Some(());
            }
            let waiting = rows(observer, &waits).expect("pg_stat_activity");
            // VACUUM (FREEZE) waits for whoever holds a pin on the page, maybe
            // while waiting for a lock itself.
            matches!(aligned(&waiting).as_str(), "Lock" | "BufferPin").then_some(())
        });
    }

    fn end_prepared(&mut self, gid: &str, commit: bool) {
        let verb = if commit { "COMMIT" } else { "ROLLBACK" };
        let result = rows(&mut self.observer, &format!("{verb} PREPARED '{gid}'"));
        count(&mut self.outcomes, result.map(drop));
    }

    fn again(&mut self, mode: Mode) {
        self.cluster.stop(mode);
        self.sessions.clear();
        self.cluster.start();
        self.observer = self.cluster.connect(self.database);
    }

    /// Until no session has anything to do and nothing is prepared.
    fn rest(&mut self) {
        let left = format!(
            "SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'h{}_%'",
            self.history.seed
        );
        poll_until("the history to end", || {
            let mut pending = 0;
            for session in self.sessions.values_mut() {
                pending += session.drain(|result| count(&mut self.outcomes, result.map(drop)));
            }
            // What was prepared too late for its end to find it, by name, so
            // that a seed does the same again.
            let prepared = rows(&mut self.observer, &left).expect("pg_prepared_xacts");
            let gids: Vec<String> = prepared.into_iter().flatten().flatten().collect();
            for gid in &gids {
                let commit = gid.bytes().map(usize::from).sum::<usize>() % 2 == 0;
                self.end_prepared(gid, commit);
            }
            (pending == 0 && gids.is_empty()).then_some(())
        });
    }
}

fn count(outcomes: &mut BTreeMap<String, usize>, result: Result<(), crate::SqlError>) {
    let key = result
        .err()
        .map_or_else(|| "ok".to_owned(), |error| error.sqlstate);
    *outcomes.entry(key).or_default() += 1;
}
