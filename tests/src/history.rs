//! Random histories: statements of several sessions that a seed repeats.
//!
//! The whole history is made before the first statement runs and does not
//! depend on any result; what does depend on time is only who waits for whom.

use crate::rng::Rng;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A session runs a statement. It may fail: a key may exist, a deadlock
    /// may happen, the transaction may have failed before.
    Statement {
        /// Session.
        session: usize,
        /// Statement.
        sql: String,
    },
    /// End a prepared transaction.
    EndPrepared {
        /// Its identifier.
        gid: String,
        /// Or roll it back.
        commit: bool,
    },
    /// Immediate stop and start.
    Crash,
    /// Fast stop and start.
    Restart,
}

/// A history and what it needs.
#[derive(Clone, Debug)]
pub struct History {
    /// Repeats it.
    pub seed: u64,
    /// How many sessions take part.
    pub sessions: usize,
    /// Statements before the first event.
    pub setup: Vec<String>,
    /// What happens.
    pub events: Vec<Event>,
}

const TABLES: [&str; 3] = ["plain", "keyed", "wide"];
const KEYS: usize = 200;

/// The history of a seed.
pub fn generate(seed: u64) -> History {
    let mut rng = Rng::new(seed);
    let sessions = rng.between(2, 8);
    let length = rng.between(40, 160);
    let fill = *rng.pick(&[30, 70, 100]);
    let setup = vec![
        "CREATE TABLE plain (k int, v int)".to_owned(),
        format!("CREATE TABLE keyed (k int PRIMARY KEY, v int) WITH (fillfactor = {fill})"),
        "CREATE TABLE wide (k int PRIMARY KEY, v int, w text)".to_owned(),
        "ALTER TABLE wide ALTER w SET STORAGE EXTERNAL".to_owned(),
        format!("INSERT INTO plain SELECT g, 0 FROM generate_series(1, {KEYS}) g"),
        format!("INSERT INTO keyed SELECT g, 0 FROM generate_series(1, {KEYS}) g"),
        format!(
            "INSERT INTO wide SELECT g, 0, repeat('w', 2500) FROM generate_series(1, {}) g",
            KEYS / 10
        ),
    ];
    let mut maker = Maker {
        rng,
        seed,
        open: vec![0; sessions],
        prepared: vec![],
        gids: 0,
    };
    let mut events = Vec::new();
    for _ in 0..length {
        let event = maker.event();
        events.push(event);
    }
    maker.finish(&mut events);
    History {
        seed,
        sessions,
        setup,
        events,
    }
}

struct Maker {
    rng: Rng,
    seed: u64,
    /// By session: 0 outside a transaction, else 1 + savepoints.
    open: Vec<usize>,
    prepared: Vec<String>,
    gids: usize,
}

impl Maker {
    fn event(&mut self) -> Event {
        if self.rng.below(400) == 0 {
            self.open.fill(0);
            return if self.rng.chance(70) {
                Event::Crash
            } else {
                Event::Restart
            };
        }
        if !self.prepared.is_empty() && self.rng.chance(15) {
            let at = self.rng.below(self.prepared.len());
            let gid = self.prepared.swap_remove(at);
            return Event::EndPrepared {
                gid,
                commit: self.rng.chance(60),
            };
        }
        let session = self.rng.below(self.open.len());
        let sql = match self.open[session] {
            0 => self.outside(session),
            depth => self.inside(session, depth),
        };
        Event::Statement { session, sql }
    }

    fn outside(&mut self, session: usize) -> String {
        match self.rng.below(100) {
            0..45 => {
                self.open[session] = 1;
                let level = ["READ COMMITTED", "REPEATABLE READ"][self.rng.below(2)];
                format!("BEGIN ISOLATION LEVEL {level}")
            }
            45..85 => self.row_statement(),
            85..93 => self.vacuum(),
            93..96 => "CHECKPOINT".to_owned(),
            _ => self.rewrite(),
        }
    }

    fn inside(&mut self, session: usize, depth: usize) -> String {
        match self.rng.below(100) {
            0..62 => self.row_statement(),
            62..72 => {
                self.open[session] = depth + 1;
                format!("SAVEPOINT s{depth}")
            }
            72..78 if depth > 1 => {
                let to = self.rng.between(1, depth - 1);
                self.open[session] = to + 1;
                format!("ROLLBACK TO s{to}")
            }
            78..82 if depth > 1 => {
                let to = self.rng.between(1, depth - 1);
                self.open[session] = to;
                format!("RELEASE s{to}")
            }
            82..86 => {
                self.open[session] = 0;
                self.gids += 1;
                let gid = format!("h{}_{}", self.seed, self.gids);
                self.prepared.push(gid.clone());
                format!("PREPARE TRANSACTION '{gid}'")
            }
            86..88 => format!("TRUNCATE {}", self.rng.pick(&TABLES)),
            88..96 => {
                self.open[session] = 0;
                "COMMIT".to_owned()
            }
            _ => {
                self.open[session] = 0;
                "ROLLBACK".to_owned()
            }
        }
    }

    /// A few neighbouring keys.
    fn range(&mut self) -> String {
        let from = self.rng.between(1, KEYS);
        let to = from + self.rng.below(30);
        format!("k BETWEEN {from} AND {to}")
    }

    fn row_statement(&mut self) -> String {
        let table = *self.rng.pick(&TABLES);
        let range = self.range();
        let number = self.rng.below(1000);
        let (columns, values) = match table {
            "wide" => ("k, v, w", format!("g, {number}, repeat('x', 2200)")),
            _ => ("k, v", format!("g, {number}")),
        };
        let from = self.rng.between(1, KEYS);
        let to = from + self.rng.below(if table == "wide" { 6 } else { 40 });
        let rows = format!("SELECT {values} FROM generate_series({from}, {to}) g");
        match self.rng.below(100) {
            0..14 => match table {
                "plain" => format!("INSERT INTO plain ({columns}) {rows}"),
                _ => format!("INSERT INTO {table} ({columns}) {rows} ON CONFLICT DO NOTHING"),
            },
            14..26 if table != "plain" => format!(
                "INSERT INTO {table} ({columns}) {rows} ON CONFLICT (k) DO UPDATE SET v = {number}"
            ),
            26..30 => format!("INSERT INTO {table} ({columns}) {rows}"),
            30..34 => format!("COPY plain (k) FROM PROGRAM 'seq {from} {to}'"),
            34..55 => format!("UPDATE {table} SET v = {number} WHERE {range}"),
            55..60 => format!("UPDATE {table} SET k = k + 1000 WHERE {range}"),
            60..64 => format!(
                "UPDATE wide SET w = repeat('y', {}) WHERE {range}",
                2000 + number
            ),
            64..76 => format!("DELETE FROM {table} WHERE {range}"),
            76..88 => {
                let strength = ["KEY SHARE", "SHARE", "NO KEY UPDATE", "UPDATE"];
                format!(
                    "SELECT k FROM {table} WHERE {range} FOR {}",
                    self.rng.pick(&strength)
                )
            }
            88..91 => format!(
                "DO $$ BEGIN UPDATE {table} SET v = {number} WHERE {range}; RAISE 'undo'; \
                 EXCEPTION WHEN raise_exception THEN NULL; END $$"
            ),
            _ => format!("SELECT count(*) FROM {table} WHERE v >= 0"),
        }
    }

    fn vacuum(&mut self) -> String {
        let option = self
            .rng
            .pick(&["", "(FREEZE)", "(INDEX_CLEANUP off)", "(INDEX_CLEANUP on)"]);
        format!("VACUUM {option} {}", self.rng.pick(&TABLES))
    }

    fn rewrite(&mut self) -> String {
        match self.rng.below(6) {
            0 => format!("VACUUM FULL {}", self.rng.pick(&TABLES)),
            1 => "CLUSTER keyed USING keyed_pkey".to_owned(),
            2 => format!("TRUNCATE {}", self.rng.pick(&TABLES)),
            3 => "ALTER TABLE plain ALTER v TYPE bigint".to_owned(),
            4 => "ALTER TABLE plain ALTER v TYPE int".to_owned(),
            _ => "REINDEX TABLE keyed".to_owned(),
        }
    }

    /// Every session ends its transaction, everything prepared is ended.
    fn finish(&mut self, events: &mut Vec<Event>) {
        for session in 0..self.open.len() {
            let sql = if self.rng.chance(60) {
                "COMMIT"
            } else {
                "ROLLBACK"
            };
            events.push(Event::Statement {
                session,
                sql: sql.to_owned(),
            });
        }
        for gid in std::mem::take(&mut self.prepared) {
            events.push(Event::EndPrepared {
                gid,
                commit: self.rng.chance(60),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_history() {
        let (one, two) = (generate(42), generate(42));
        assert_eq!(one.events, two.events);
        assert_ne!(one.events, generate(43).events);
    }

    #[test]
    fn all_that_is_prepared_is_ended_once() {
        for seed in 0..200 {
            let (mut begun, mut ended) = (Vec::new(), Vec::new());
            for event in generate(seed).events {
                match event {
                    Event::Statement { sql, .. } => {
                        begun.extend(sql.strip_prefix("PREPARE TRANSACTION ").map(str::to_owned));
                    }
                    Event::EndPrepared { gid, .. } => ended.push(format!("'{gid}'")),
                    Event::Crash | Event::Restart => {}
                }
            }
            begun.sort();
            ended.sort();
            assert_eq!(begun, ended);
        }
    }
}
