//! A page about a whole database: which tables hold garbage, where in them,
//! what keeps it there, and whether the walker that says so is well.
//!
//! One file without scripts and without anything to fetch; its policy says so
//! to the browser.

mod parts;

use crate::text::{ascii, escape, grouped, size_of_blocks};
use crate::{DrawError, Range};

/// All that the page shows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The database.
    pub database: String,
    /// The server, such as its version.
    pub server: String,
    /// When it was made.
    pub time: String,
    /// Up to where WAL has been applied.
    pub lsn: String,
    /// Blocks per range of the map.
    pub range_blocks: u64,
    /// Tables with garbage, most first.
    pub tables: Vec<ReportTable>,
    /// Tables without known garbage of which something is not known, largest
    /// first: name and unknown blocks.
    pub unknown_tables: Vec<(String, u64)>,
    /// How many tables have neither garbage nor anything unknown.
    pub clean_tables: u64,
    /// Tables whose garbage a vacuum may not remove now.
    pub holders: Vec<Holder>,
    /// What to do about them, worst first.
    pub advice: Vec<Advice>,
    /// How the walker is doing.
    pub health: Health,
}

/// What to do about a table.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// The table's name, as it is to be shown.
    pub table: String,
    /// In a word.
    pub what: String,
    /// In a sentence.
    pub why: String,
    /// The statement that does it.
    pub command: Option<String>,
}

/// A table of the page.
#[derive(Clone, Debug, Default)]
pub struct ReportTable {
    /// Its name, as it is to be shown.
    pub name: String,
    /// Its size.
    pub blocks: u64,
    /// Live tuples.
    pub tuples: Option<u64>,
    /// Dead tuples.
    pub dead: Option<u64>,
    /// Line pointers that wait for an index vacuum.
    pub items: Option<u64>,
    /// Blocks in ranges that are not known whole.
    pub inexact_blocks: u64,
    /// Its map, if it is to be drawn.
    pub ranges: Vec<Range>,
}

/// Who keeps which garbage.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    /// The table's name, as it is to be shown.
    pub table: String,
    /// Dead tuples that may be removed now.
    pub removable: u64,
    /// Dead tuples that may not.
    pub kept: u64,
    /// What keeps them: a kind and a name.
    pub holder: Option<String>,
    /// For how many transactions it has kept them.
    pub age: Option<String>,
}

/// How the walker is doing.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Why nothing is shown.
    pub hidden: Option<String>,
    /// The state and whether that is good.
    pub state: String,
    /// Whether the state is nothing to worry about.
    pub well: bool,
    /// Name and value.
    pub facts: Vec<(String, String)>,
    /// In the order of the setting.
    pub plugins: Vec<Plugin>,
}

/// A plugin of the walker.
#[derive(Clone, Debug, Default)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// Up to where it has applied WAL.
    pub applied: String,
    /// Errors so far.
    pub errors: String,
    /// The last of them.
    pub last_error: String,
}

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn report(report: &Report) -> Result<String, DrawError> {
    let mut page = String::new();
    page.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n",
    );
    let title = escape(&report.database);
    page.push_str(&format!(
        "<title>Garbage in {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Garbage in <em>{title}</em></h1>\n<p class=\"under\">{} &middot; {} &middot; \
         applied up to LSN {}</p>\n",
        escape(&report.server),
        escape(&report.time),
        escape(&report.lsn),
    ));
    summary(&mut page, report);
    parts::health(&mut page, &report.health);
    parts::advice(&mut page, &report.advice);
    parts::holders(&mut page, &report.holders);
    parts::ranking(&mut page, report);
    parts::multiples(&mut page, report)?;
    page.push_str("</body>\n</html>\n");
    Ok(ascii(&page))
}

/// The few numbers to read first.
fn summary(page: &mut String, report: &Report) {
    let sum = |f: fn(&ReportTable) -> u64| report.tables.iter().map(f).sum::<u64>();
    let dead = sum(|t| t.dead.unwrap_or(0));
    let items = sum(|t| t.items.unwrap_or(0));
    let elsewhere: u64 = report.unknown_tables.iter().map(|(_, blocks)| blocks).sum();
    let unknown = elsewhere + sum(|t| t.inexact_blocks);
    let kept: u64 = report.holders.iter().map(|h| h.kept).sum();
    let with_garbage = report.tables.iter().filter(|t| t.dead.unwrap_or(0) > 0);
    page.push_str("<div class=\"figures\">\n");
    for (value, label) in [
        (grouped(dead), "dead tuples"),
        (
            grouped(with_garbage.count() as u64),
            "tables with dead tuples",
        ),
        (grouped(kept), "dead tuples held back"),
        (grouped(items), "dead line pointers"),
        (size_of_blocks(unknown), "not known yet"),
    ] {
        page.push_str(&format!("<div><b>{value}</b><span>{label}</span></div>\n"));
    }
    page.push_str("</div>\n");
}
