//! The one table.

use crate::stats::Summary;
use serde::{Deserialize, Serialize};

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Of which part of the table.
    pub section: String,
    /// Version of the server; empty where there is none.
    pub server: String,
    /// What was worked on: a workload, a size.
    pub subject: String,
    /// Who did it.
    pub what: String,
    /// Of the value.
    pub unit: String,
    /// What was measured.
    pub value: Summary,
    /// What it is compared with.
    pub against: Option<String>,
    /// `value` as a part of that.
    pub ratio: Option<Summary>,
    /// What the ratio, or else the value, should be.
    pub goal: Option<String>,
}

impl Row {
    /// A line without a comparison.
    pub fn new(section: &str, subject: &str, what: &str, unit: &str, value: Summary) -> Self {
        Self {
            section: section.to_owned(),
            server: String::new(),
            subject: subject.to_owned(),
            what: what.to_owned(),
            unit: unit.to_owned(),
            value,
            against: None,
            ratio: None,
            goal: None,
        }
    }

    /// As a part of something else.
    pub fn against(mut self, what: &str, ratio: Summary) -> Self {
        self.against = Some(what.to_owned());
        self.ratio = Some(ratio);
        self
    }

    /// What should be reached.
    pub fn goal(mut self, goal: &str) -> Self {
        self.goal = Some(goal.to_owned());
        self
    }
}

/// What one run of one server gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Machine, versions, sizes, load: name and value.
    pub facts: Vec<(String, String)>,
    /// The lines.
    pub rows: Vec<Row>,
}

impl Report {
    /// Adds what another run gave.
    pub fn add(&mut self, other: Report) {
        for fact in other.facts {
            if !self.facts.contains(&fact) {
                self.facts.push(fact);
            }
        }
        self.rows.extend(other.rows);
    }

    /// As a page of Markdown.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        for (name, value) in &self.facts {
            page += &format!("* {name}: {value}\n");
        }
        let mut sections: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !sections.contains(&row.section.as_str()) {
                sections.push(&row.section);
            }
        }
        page += "\n| PG | on | what | median | spread | against | ratio | spread | goal |\n\
                 |---|---|---|---:|---|---|---:|---|---|\n";
        for section in sections {
            page += &format!("| | **{section}** | | | | | | | |\n");
            for row in self.rows.iter().filter(|row| row.section == section) {
                page += &line(row);
            }
        }
        page
    }
}

fn line(row: &Row) -> String {
    let spread = |s: &Summary| match s.n {
        1 => String::new(),
        _ => format!("{} – {}", number(s.low), number(s.high)),
    };
    format!(
        "| {} | {} | {} | {} {} | {} | {} | {} | {} | {} |\n",
        row.server,
        row.subject,
        row.what,
        number(row.value.median),
        row.unit,
        spread(&row.value),
        row.against.as_deref().unwrap_or_default(),
        row.ratio
            .as_ref()
            .map_or(String::new(), |r| number(r.median)),
        row.ratio.as_ref().map_or(String::new(), spread),
        row.goal.as_deref().unwrap_or_default(),
    )
}

/// Three digits, or all before the point.
pub fn number(n: f64) -> String {
    match n.abs() {
        0.0 => "0".to_owned(),
        a if a >= 100.0 => {
            let digits = format!("{a:.0}");
            let mut text = String::new();
            for (i, digit) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            if n < 0.0 { format!("-{text}") } else { text }
        }
        a if a >= 10.0 => format!("{n:.1}"),
        a if a >= 0.1 => format!("{n:.2}"),
        a if a >= 0.001 => format!("{n:.4}"),
        _ => format!("{n:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.789), "0.79");
        assert_eq!(number(0.0012), "0.0012");
    }
}
