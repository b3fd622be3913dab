//! The sections of the page.

use super::{Advice, Health, Holder, Report, ReportTable};
use crate::text::{counted, escape, grouped, percent, size_of_blocks};
use crate::{DrawError, Size, thumbnail};

const THUMBNAIL: Size = Size {
    width: 288,
    height: 96,
};

/// Tables that are unknown are named up to so many.
const UNKNOWN_NAMED: usize = 8;

/// What keeps garbage from being removed.
pub fn holders(page: &mut String, holders: &[Holder]) {
    page.push_str("<section>\n<h2>What holds garbage back</h2>\n");
    let kept = holders.iter().filter(|h| h.kept > 0);
    if kept.clone().next().is_none() {
        page.push_str("<p>Nothing: a vacuum may remove every dead tuple that is known.</p>\n");
    } else {
        page.push_str(
            "<table>\n<thead><tr><th>table</th><th class=\"n\">held back</th>\
             <th class=\"n\">removable now</th><th>by</th><th class=\"n\">for transactions</th></tr></thead>\n<tbody>\n",
        );
        for holder in kept {
            page.push_str(&format!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td>\
                 <td class=\"n\">{}</td></tr>\n",
                escape(&holder.table),
                grouped(holder.kept),
                grouped(holder.removable),
                escape(
                    holder
                        .holder
                        .as_deref()
                        .unwrap_or("a transaction that has ended by now")
                ),
                escape(holder.age.as_deref().unwrap_or("")),
            ));
        }
        page.push_str("</tbody>\n</table>\n");
    }
    page.push_str("</section>\n");
}

/// What to do.
pub fn advice(page: &mut String, advice: &[Advice]) {
    page.push_str("<section>\n<h2>What to do</h2>\n");
    if advice.is_empty() {
        page.push_str("<p>Nothing.</p>\n");
    } else {
        page.push_str(
            "<table>\n<thead><tr><th>table</th><th></th><th>why</th></tr></thead>\n<tbody>\n",
        );
        for advice in advice {
            let command = advice
                .command
                .as_ref()
                .map(|c| format!("<br/><code>{}</code>", escape(c)));
            page.push_str(&format!(
                "<tr><td class=\"name\">{}</td><td><b>{}</b></td><td>{}{}</td></tr>\n",
                escape(&advice.table),
                escape(&advice.what),
                escape(&advice.why),
                command.unwrap_or_default(),
            ));
        }
        page.push_str("</tbody>\n</table>\n");
    }
    page.push_str("</section>\n");
}

/// How the walker is doing.
pub fn health(page: &mut String, health: &Health) {
    page.push_str("<section>\n<h2>The walker</h2>\n");
    if let Some(why) = &health.hidden {
        page.push_str(&format!("<p>{}</p>\n</section>\n", escape(why)));
        return;
    }
    page.push_str(&format!(
        "<p><span class=\"{}\">{}</span></p>\n<dl>\n",
        if health.well { "well" } else { "unwell" },
        escape(&health.state)
    ));
    for (name, value) in &health.facts {
        page.push_str(&format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escape(name),
            escape(value)
        ));
    }
    page.push_str("</dl>\n");
    if !health.plugins.is_empty() {
        page.push_str(
            "<table>\n<thead><tr><th>plugin</th><th>state</th><th>applied up to</th>\
             <th class=\"n\">errors</th><th>last error</th></tr></thead>\n<tbody>\n",
        );
        for plugin in &health.plugins {
            page.push_str(&format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
                escape(&plugin.name),
                escape(&plugin.state),
                escape(&plugin.applied),
                escape(&plugin.errors),
                escape(&plugin.last_error),
            ));
        }
        page.push_str("</tbody>\n</table>\n");
    }
    page.push_str("</section>\n");
}

/// Tables by garbage.
pub fn ranking(page: &mut String, report: &Report) {
    page.push_str("<section>\n<h2>Tables by garbage</h2>\n");
    if !report.tables.is_empty() {
        page.push_str(
            "<table>\n<thead><tr><th class=\"n\"></th><th>table</th><th class=\"n\">size</th>\
             <th class=\"n\">dead tuples</th><th></th><th class=\"n\">of all tuples</th>\
             <th class=\"n\">dead line pointers</th><th class=\"n\">not known</th></tr></thead>\n<tbody>\n",
        );
        let most = report.tables.iter().filter_map(|t| t.dead).max();
        for (rank, table) in (1u32..).zip(&report.tables) {
            row(page, rank, table, most.unwrap_or(0));
        }
        page.push_str("</tbody>\n</table>\n");
    }
    unknown(page, &report.unknown_tables);
    page.push_str(&format!(
        "<p class=\"under\">{} more without garbage. The map has ranges of {}.</p>\n</section>\n",
        grouped(report.clean_tables),
        counted(report.range_blocks, "block"),
    ));
}

/// What may hold garbage nobody knows of.
fn unknown(page: &mut String, tables: &[(String, u64)]) {
    if tables.is_empty() {
        return;
    }
    let named = tables
        .iter()
        .take(UNKNOWN_NAMED)
        .map(|(name, blocks)| format!("{} ({})", escape(name), size_of_blocks(*blocks)));
    let mut list: Vec<String> = named.collect();
    if let Some(more @ 1..) = tables.len().checked_sub(UNKNOWN_NAMED) {
        list.push(format!("{} more", grouped(more as u64)));
    }
    page.push_str(&format!(
        "<p>Without known garbage, but not known whole: {}. <code>garbage_base_scan</code> \
         learns them.</p>\n",
        list.join(", ")
    ));
}

fn row(page: &mut String, rank: u32, table: &ReportTable, most: u64) {
    let number = |n: Option<u64>| n.map_or("?".to_owned(), grouped);
    let dead = table.dead.unwrap_or(0);
    let at_least = if table.inexact_blocks > 0 && table.dead.is_some() {
        "&ge; "
    } else {
        ""
    };
    let share = match table.tuples {
        Some(tuples) => percent(dead, dead + tuples),
        None => "?".to_owned(),
    };
    let unknown = match table.inexact_blocks {
        0 => String::new(),
        n => percent(n, table.blocks),
    };
    // In whole pixels of 120; any garbage has one.
    let length = (u128::from(dead) * 120).div_ceil(u128::from(most.max(1)));
    page.push_str(&format!(
        "<tr><td class=\"n\">{rank}</td><td class=\"name\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{at_least}{}</td><td><i style=\"width:{length}px\"></i></td>\
         <td class=\"n\">{share}</td><td class=\"n\">{}</td><td class=\"n\">{unknown}</td></tr>\n",
        escape(&table.name),
        size_of_blocks(table.blocks),
        number(table.dead),
        number(table.items),
    ));
}

/// A small heat map of each table that has one.
pub fn multiples(page: &mut String, report: &Report) -> Result<(), DrawError> {
    let drawn = report.tables.iter().filter(|t| !t.ranges.is_empty());
    if drawn.clone().next().is_none() {
        return Ok(());
    }
    page.push_str(
        "<section>\n<h2>Where it is</h2>\n<p class=\"under\">From the first block to the last, \
         row by row; the darkest cell of each table holds its most dead tuples, hatched is not \
         known.</p>\n<div class=\"maps\">\n",
    );
    for table in drawn {
        let svg = thumbnail(&table.name, &table.ranges, THUMBNAIL)?;
        page.push_str(&format!(
            "<figure>{svg}<figcaption><b>{}</b> {} dead in {}</figcaption></figure>\n",
            escape(&table.name),
            table.dead.map_or("?".to_owned(), grouped),
            size_of_blocks(table.blocks),
        ));
    }
    page.push_str("</div>\n</section>\n");
    Ok(())
}
