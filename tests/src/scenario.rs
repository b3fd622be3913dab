//! Plays scenarios on a cluster and its standby and compares after each.

use crate::cluster::{Cluster, Mode};
use crate::oracle::{RelCheck, assert_map_exact, assert_map_exact_and_known};
use crate::script::{Scenario, Step};
use crate::session::Session;
use crate::walker::plain;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where scenarios are played.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Takes the statements.
    pub primary: &'a Cluster,
    /// Is compared as well.
    pub standby: Option<&'a Cluster>,
    /// False if the server's settings leave new relations unknown.
    pub new_is_known: bool,
    /// The database in which they are played.
    pub database: &'a str,
}

/// Plays all; a test that fails names every scenario that failed.
pub fn play_all(stage: &Stage<'_>, scenarios: &[Scenario]) {
    let major = stage.primary.server.major;
    let mut failed = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        if scenario.from_major > major {
            continue;
        }
        let play = || Play::new(stage, number, scenario).play();
        let result = catch_unwind(AssertUnwindSafe(play));
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        eprintln!("scenario: {} ... {word}", scenario.name);
        if result.is_err() {
            failed.push(scenario.name.as_str());
            if stage.primary.postmaster_pid().is_none() {
                break;
            }
            clean_up(stage, number);
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} scenarios failed: {}",
        failed.len(),
        scenarios.len(),
        failed.join("; ")
    );
}

/// After a failure: what is left of a scenario must not fail the next ones.
fn clean_up(stage: &Stage<'_>, number: usize) {
    let primary = stage.primary;
    primary.poll_query_until("postgres", "SELECT pg_is_in_recovery()", "f");
    let prepared = "SELECT gid, database FROM pg_prepared_xacts";
    for row in primary.psql("postgres", prepared).unwrap_or_default() {
        if let [Some(gid), Some(database)] = &row[..] {
            let _ = primary.psql(database, &format!("ROLLBACK PREPARED '{gid}'"));
        }
    }
    let _ = primary.psql(
        stage.database,
        &format!("DROP SCHEMA IF EXISTS s{number} CASCADE"),
    );
}

struct Play<'a> {
    stage: &'a Stage<'a>,
    scenario: &'a Scenario,
    schema: String,
    sessions: BTreeMap<String, Session>,
    expected: Vec<(String, i64)>,
    known: bool,
}

impl<'a> Play<'a> {
    fn new(stage: &'a Stage<'a>, number: usize, scenario: &'a Scenario) -> Self {
        Self {
            stage,
            scenario,
            schema: format!("s{number}"),
            sessions: BTreeMap::new(),
            expected: Vec::new(),
            known: stage.new_is_known,
        }
    }

    fn play(mut self) {
        let database = self.stage.database;
        self.stage
            .primary
            .safe_psql(database, &format!("CREATE SCHEMA {}", self.schema));
        for step in &self.scenario.steps {
            self.step(step);
        }
        self.compare(database);
        // It must not be in the way of the next one: its relations go.
        self.sessions.clear();
        self.stage.primary.safe_psql(
            database,
            &format!(
                "SET client_min_messages = error; DROP SCHEMA {} CASCADE",
                self.schema
            ),
        );
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Run {
                session,
                sql,
                sqlstate,
            } => {
                let result = self.session(session).run(sql).map(drop);
                expect(
                    sql,
                    result.map_err(|e| (e.sqlstate.clone(), e.to_string())),
                    sqlstate,
                );
            }
            Step::Send { session, sql } => self.session(session).send(sql),
            Step::Blocks(session) => {
                let primary = self.stage.primary;
                self.session(session).wait_blocked(primary);
            }
            Step::Done { session, sqlstate } => {
                let result = self.session(session).wait().map(drop);
                let what = format!("what {session} has sent");
                expect(
                    &what,
                    result.map_err(|e| (e.sqlstate.clone(), e.to_string())),
                    sqlstate,
                );
            }
            Step::In { session, database } => {
                let opened = Session::open(self.stage.primary, database);
                self.sessions.insert(session.clone(), opened);
            }
            Step::Quits(session) => {
                let pid = self.session(session).pid;
                self.sessions.remove(session);
                self.stage.primary.poll_query_until(
                    "postgres",
                    &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"),
                    "0",
                );
            }
            Step::Crash => self.again(Mode::Immediate),
            Step::Restart => self.again(Mode::Fast),
            Step::Dead { relation, count } => self.expected.push((relation.clone(), *count)),
            Step::Compare(database) => {
                let database = database.as_deref().unwrap_or(self.stage.database);
                self.compare(database);
            }
            Step::UnknownIsFine => self.known = false,
        }
    }

    fn session(&mut self, name: &str) -> &mut Session {
        self.sessions.entry(name.to_owned()).or_insert_with(|| {
            let mut session = Session::open(self.stage.primary, self.stage.database);
            session.safe(&format!("SET search_path = {}, public", self.schema));
            session
        })
    }

    /// Stops and starts. What the map knew it must know again afterwards.
    fn again(&mut self, mode: Mode) {
        self.stage.primary.stop(mode);
        self.sessions.clear();
        self.stage.primary.start();
    }

    fn compare(&mut self, database: &str) {
        let expected = std::mem::take(&mut self.expected);
        self.compare_on(self.stage.primary, database, &expected);
        if let Some(standby) = self.stage.standby {
            self.stage.primary.wait_for_catchup(standby);
            self.compare_on(standby, database, &expected);
        }
    }

    fn compare_on(&self, cluster: &Cluster, database: &str, expected: &[(String, i64)]) {
        let checks = if self.known {
            assert_map_exact_and_known(cluster, database)
        } else {
            assert_map_exact(cluster, database)
        };
        let scanned = !plain() || cluster.server.has_contrib("pgstattuple");
        for (relation, count) in expected.iter().filter(|_| scanned) {
            let found = find(&checks, &self.schema, relation);
            assert_eq!(
                found.scan, *count,
                "cluster \"{}\": dead tuples of {relation}, by the scan",
                cluster.name
            );
        }
    }
}

fn find<'c>(checks: &'c [RelCheck], schema: &str, relation: &str) -> &'c RelCheck {
    let qualified = format!("{schema}.{relation}");
    let found = checks
        .iter()
        .find(|c| c.name == relation || c.name == qualified);
    found.unwrap_or_else(|| panic!("there is no relation {relation}"))
}

fn expect(what: &str, result: Result<(), (String, String)>, sqlstate: &Option<String>) {
    match (result, sqlstate) {
        (Ok(()), None) => {}
        (Ok(()), Some(state)) => panic!("{what}\nworked, but should fail with SQLSTATE {state}"),
        (Err((got, _)), Some(state)) if got == *state => {}
        (Err((_, message)), _) => panic!("{what}\n{message}"),
    }
}
