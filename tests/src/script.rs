//! The language of `tests/scenarios/*.scn`: one scenario per row of the WAL
//! catalogue, written as data.
//!
//! ```text
//! == name of the scenario
//! # a comment
//! a: SQL                  session a runs a statement, which must work
//! a fails 23505: SQL      ... which must fail with this SQLSTATE
//! a sends: SQL            ... without waiting for its result
//! a blocks                wait until session a waits for a lock
//! a done                  session a's sent statement must have worked
//! a done 40P01            ... must have failed with this SQLSTATE
//! a in db                 open session a in another database
//! a quits                 close the session, whatever it was at
//! crash                   immediate stop and start
//! restart                 fast stop and start
//! dead t 5                the next comparison must find 5 dead tuples in t
//! compare                 compare now; at the end it is done anyway
//! compare in db           the same in another database
//! unknown is fine         new relations need not be exact from here on
//! from 17                 only on this major version and later
//! ```
//!
//! A line that begins with a blank continues the one before. Sessions open
//! when first used and find the scenario's own schema on their search path.

/// A scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// Its heading.
    pub name: String,
    /// The first major version it is for.
    pub from_major: u32,
    /// What happens.
    pub steps: Vec<Step>,
}

/// One line of a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Run a statement; a SQLSTATE if it must fail.
    Run {
        /// Session.
        session: String,
        /// Statement.
        sql: String,
        /// The expected failure.
        sqlstate: Option<String>,
    },
    /// Send a statement.
    Send {
        /// Session.
        session: String,
        /// Statement.
        sql: String,
    },
    /// Wait until a session waits for a lock.
    Blocks(String),
    /// Wait for the result of a sent statement.
    Done {
        /// Session.
        session: String,
        /// The expected failure.
        sqlstate: Option<String>,
    },
    /// Open a session in another database.
    In {
        /// Session.
        session: String,
        /// Database.
        database: String,
    },
    /// Close a session.
    Quits(String),
    /// Immediate stop and start.
    Crash,
    /// Fast stop and start.
    Restart,
    /// What the next comparison must find.
    Dead {
        /// Relation.
        relation: String,
        /// Dead tuples.
        count: i64,
    },
    /// Compare; in another database if one is named.
    Compare(Option<String>),
    /// New relations need not be exact.
    UnknownIsFine,
}

/// Reads scenarios; an error names the line.
pub fn parse(text: &str) -> Result<Vec<Scenario>, String> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with(' ') => {
                last.push('\n');
                last.push_str(line);
            }
            _ => lines.push((index + 1, line.to_owned())),
        }
    }
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (number, line) in lines {
        if let Some(name) = line.strip_prefix("== ") {
            let name = name.to_owned();
            scenarios.push(Scenario {
                name,
                from_major: 0,
                steps: Vec::new(),
            });
            continue;
        }
        let scenario = scenarios
            .last_mut()
            .ok_or(format!("line {number}: no heading yet"))?;
        if let Some(major) = line.strip_prefix("from ") {
            scenario.from_major = major
                .parse()
                .map_err(|_| format!("line {number}: {line}"))?;
            continue;
        }
        let step = step(&line).ok_or_else(|| format!("line {number}: what is \"{line}\"?"))?;
        scenario.steps.push(step);
    }
    Ok(scenarios)
}

fn step(line: &str) -> Option<Step> {
    // What stands before the colon of a statement has no quotes or brackets.
    if let Some((head, sql)) = line.split_once(": ")
        && head.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ')
    {
        let words: Vec<&str> = head.split(' ').collect();
        let session = words[0].to_owned();
        let sql = sql.to_owned();
        return match words[1..] {
            [] => Some(Step::Run {
                session,
                sql,
                sqlstate: None,
            }),
            ["sends"] => Some(Step::Send { session, sql }),
            ["fails", state] => Some(Step::Run {
                session,
                sql,
                sqlstate: Some(state.to_owned()),
            }),
            _ => None,
        };
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["crash"] => Some(Step::Crash),
        ["restart"] => Some(Step::Restart),
        ["compare"] => Some(Step::Compare(None)),
        ["compare", "in", database] => Some(Step::Compare(Some(database.to_owned()))),
        ["unknown", "is", "fine"] => Some(Step::UnknownIsFine),
        ["dead", relation, count] => Some(Step::Dead {
            relation: relation.to_owned(),
            count: count.parse().ok()?,
        }),
        [session, "in", database] => Some(Step::In {
            session: session.to_owned(),
            database: database.to_owned(),
        }),
        [session, "blocks"] => Some(Step::Blocks(session.to_owned())),
        [session, "quits"] => Some(Step::Quits(session.to_owned())),
        [session, "done"] => Some(Step::Done {
            session: session.to_owned(),
            sqlstate: None,
        }),
        [session, "done", state] => {
            let sqlstate = Some(state.to_owned());
            Some(Step::Done {
                session: session.to_owned(),
                sqlstate,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_line() {
        let text = "== one\n# nothing\na: SELECT 1,\n  2\nb fails 22012: SELECT ': '\n\
                    from 17\na sends: X\na blocks\na done 40P01\nb quits\ncrash\n\
                    dead t 3\ncompare in d\n== two\ncompare\n";
        let scenarios = parse(text).expect("it is right");
        assert_eq!(scenarios.len(), 2);
        assert_eq!(scenarios[0].from_major, 17);
        assert_eq!(scenarios[0].steps.len(), 9);
        let sql = "SELECT 1,\n  2".to_owned();
        assert_eq!(
            scenarios[0].steps[0],
            Step::Run {
                session: "a".into(),
                sql,
                sqlstate: None
            }
        );
        assert_eq!(scenarios[1].steps, [Step::Compare(None)]);
    }

    #[test]
    fn names_the_line_it_does_not_understand() {
        assert!(parse("== one\na: X\na is tired\n").is_err_and(|e| e.contains("line 3")));
        assert!(parse("a: X\n").is_err());
    }
}
