//! Draw made-up tables into a directory, to look at them.
//!
//! usage: cargo run -p garbagemap-picture --example pictures -- DIRECTORY

use garbagemap_picture::{Health, Holder, Known, Plugin, Range, Report, ReportTable};
use garbagemap_picture::{Size, Subject, heatmap, histogram, report, sorted_histogram};
use std::path::Path;

/// Garbage with a few hot spots; of some of it nothing is known.
fn made_up(count: usize, seed: usize) -> Vec<Range> {
    let hot = |i: usize| {
        let at = (i * 7 + seed * count / 5) % count.max(1);
        let near = (at as f64 / count as f64 - 0.3) * 14.0;
        (-near * near).exp() * 4000.0
    };
    let one = |i: usize| Range {
        dead: (hot(i) as u32 + (i * i * 31 + seed) as u32 % 97).saturating_sub(40),
        known: match i * 100 / count.max(1) {
            60..=66 => Known::Nothing,
            67 => Known::Partly,
            _ => Known::Whole,
        },
    };
    (0..count).map(one).collect()
}

fn made_up_report() -> Report {
    let table = |n: usize| {
        let ranges = made_up(20 * n * n + 1, n);
        let dead = ranges.iter().map(|r| u64::from(r.dead)).sum();
        ReportTable {
            name: format!("public.table_{n}"),
            blocks: ranges.len() as u64 * 32,
            tuples: (!n.is_multiple_of(4)).then_some(dead * 3),
            dead: Some(dead),
            items: Some(dead / 7),
            inexact_blocks: ranges.iter().filter(|r| r.known != Known::Whole).count() as u64 * 32,
            ranges,
        }
    };
    Report {
        database: "shop".to_owned(),
        server: "PostgreSQL 18.1".to_owned(),
        time: "2026-01-01 12:00:00+00".to_owned(),
        lsn: "1A/2B3C4D58".to_owned(),
        range_blocks: 32,
        tables: (1..=20).rev().map(table).collect(),
        unknown_tables: vec![("public.old".to_owned(), 1000)],
        clean_tables: 71,
        holders: vec![Holder {
            table: "public.table_20".to_owned(),
            removable: 1234,
            kept: 98765,
            holder: Some("backend 4711".to_owned()),
            age: Some("15,204".to_owned()),
        }],
        advice: Vec::new(),
        health: Health {
            hidden: None,
            state: "streaming".to_owned(),
            well: true,
            facts: vec![("lag".to_owned(), "0 bytes".to_owned())],
            plugins: vec![Plugin {
                name: "garbagemap".to_owned(),
                state: "running".to_owned(),
                ..Plugin::default()
            }],
        },
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: pictures DIRECTORY")?;
    let directory = Path::new(&directory);
    let size = Size {
        width: 900,
        height: 500,
    };
    for count in [0, 1, 3, 40, 400, 40_000, 4_000_000] {
        let ranges = made_up(count, 1);
        let subject = Subject {
            name: "public.accounts".to_owned(),
            blocks: count as u64 * 32,
            range_blocks: 32,
            lsn: "1A/2B3C4D58".to_owned(),
            time: "2026-01-01 12:00:00+00".to_owned(),
        };
        for (name, picture) in [
            ("heatmap", heatmap(&subject, &ranges, size)?),
            ("histogram", histogram(&subject, &ranges, size)?),
            ("sorted", sorted_histogram(&subject, &ranges, size)?),
        ] {
            std::fs::write(directory.join(format!("{name}-{count}.svg")), picture)?;
        }
    }
    std::fs::write(directory.join("report.html"), report(&made_up_report())?)?;
    Ok(())
}
