//! `garbage_report`: one page about this database.
//!
//! It reads the views of the extensions, so it shows what its caller may see
//! there, and each table's map from shared memory.

use super::ranges::read;
use crate::error::{Error, or_raise};
use crate::{area, privilege, text};
use core::ffi::CStr;
use garbagemap_picture::{Advice, Health, Holder, Plugin, Report, ReportTable, report};
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

/// Tables in the ranking, and how many of them are drawn.
const MOST_TABLES: usize = 100;
const MOST_DRAWN: usize = 24;
/// A map of fewer ranges says no more than the ranking.
const FEWEST_RANGES: usize = 4;
/// Holders of garbage, and recommendations, in their lists.
const MOST_HOLDERS: usize = 50;
const MOST_ADVICE: usize = 10;
/// A small picture has fewer cells than this by far.
const MOST_RANGES: u64 = 1 << 14;

/// Declared with `SET search_path = pg_catalog, pg_temp`: names and operators
/// below are the server's own.
#[pg_extern(sql = false)]
fn garbage_report(fcinfo: pg_sys::FunctionCallInfo) -> String {
    // SAFETY: the call being executed has its FmgrInfo (fmgr.h).
    let function = unsafe { (*(*fcinfo).flinfo).fn_oid };
    or_raise(page(function))
}

fn page(function: pg_sys::Oid) -> Result<String, Error> {
    privilege::require_read_stats("garbage_report")?;
    let range_blocks = u64::from(area::map()?.range_blocks());
    let lsn = area::applied_lsn()?.to_string();
    let here = schema_of(function);
    let about = Spi::connect(|client| -> Result<Report, Error> {
        let settings = "SELECT current_database(), current_setting('server_version')";
        let [database, version] = first(rows(client, settings)?);
        let (tables, unknown_tables, clean_tables) = tables(client, &here)?;
        Ok(Report {
            database: database.unwrap_or_default(),
            server: format!("PostgreSQL {}", version.unwrap_or_default()),
            time: text::now(),
            lsn,
            range_blocks,
            tables,
            unknown_tables,
            clean_tables,
            holders: holders(client, &here)?,
            advice: advice(client, &here)?,
            health: health(client)?,
        })
    })?;
    Ok(report(&about)?)
}

/// The schema this extension is in, as an identifier.
fn schema_of(function: pg_sys::Oid) -> String {
    // SAFETY: get_func_namespace and get_namespace_name (utils/cache/lsyscache.c)
    // read the catalog caches; the function is being executed, so it exists.
    let name = unsafe {
        CStr::from_ptr(pg_sys::get_namespace_name(pg_sys::get_func_namespace(
            function,
        )))
    };
    text::identifier(name.to_bytes())
}

type Texts<const N: usize> = Vec<[Option<String>; N]>;

/// The rows of a query, as text. Bytes are fetched, because a database need not
/// be in UTF-8.
fn rows<const N: usize>(client: &SpiClient<'_>, query: &str) -> Result<Texts<N>, Error> {
    let columns: Vec<String> = (0..N).map(|n| format!("c{n}")).collect();
    let bytes: Vec<String> = columns
        .iter()
        .map(|c| format!("convert_to({c}::text, getdatabaseencoding())"))
        .collect();
    let query = format!(
        "SELECT {} FROM ({query}) AS q ({})",
        bytes.join(", "),
        columns.join(", ")
    );
    let mut texts = Vec::new();
    for row in client.select(&query, None, &[])? {
        let mut cells = [const { None }; N];
        for (ordinal, cell) in (1..).zip(&mut cells) {
            *cell = row
                .get::<Vec<u8>>(ordinal)?
                .map(|bytes| text::from_server(&bytes));
        }
        texts.push(cells);
    }
    Ok(texts)
}

/// The first row, or one of NULLs.
fn first<const N: usize>(rows: Texts<N>) -> [Option<String>; N] {
    rows.into_iter().next().unwrap_or([const { None }; N])
}

fn number(text: &Option<String>) -> Option<u64> {
    text.as_ref()?.parse().ok()
}

/// Tables with garbage, those of which something is unknown, and how many have
/// neither.
type Tables = (Vec<ReportTable>, Vec<(String, u64)>, u64);

fn tables(client: &SpiClient<'_>, here: &str) -> Result<Tables, Error> {
    let query = format!(
        "SELECT relid::oid, blocks, n_tuples, n_dead_tuples, n_dead_items, inexact_blocks
         FROM {here}.garbage_tables"
    );
    let all: Texts<6> = rows(client, &query)?;
    let mut tables = Vec::new();
    let mut unknown = Vec::new();
    let mut clean = 0;
    let mut drawn = 0;
    for row in &all {
        let [relid, blocks, tuples, dead, items, inexact] = row.each_ref().map(number);
        let Some(oid) = relid.and_then(|oid| u32::try_from(oid).ok()) else {
            continue;
        };
        let name = || text::qualified_name(oid.into());
        let inexact_blocks = inexact.unwrap_or(0);
        if dead.unwrap_or(0) == 0 && items.unwrap_or(0) == 0 {
            match inexact_blocks {
                0 => clean += 1,
                blocks => unknown.push((name(), blocks)),
            }
            continue;
        }
        if tables.len() == MOST_TABLES {
            continue;
        }
        let mut ranges = Vec::new();
        // One that was dropped since has nothing to draw.
        if drawn < MOST_DRAWN
            && let Ok(map) = read(oid.into(), MOST_RANGES)
            && map.ranges.len() >= FEWEST_RANGES
        {
            ranges = map.ranges;
            drawn += 1;
        }
        tables.push(ReportTable {
            name: name(),
            blocks: blocks.unwrap_or(0),
            tuples,
            dead,
            items,
            inexact_blocks,
            ranges,
        });
    }
    unknown.sort_by_key(|(_, blocks)| std::cmp::Reverse(*blocks));
    Ok((tables, unknown, clean))
}

fn holders(client: &SpiClient<'_>, here: &str) -> Result<Vec<Holder>, Error> {
    let query = format!(
        "SELECT relid, n_removable, n_kept, held_by || ' ' || holder, holder_age
         FROM {here}.garbage_horizon WHERE n_kept > 0 LIMIT {MOST_HOLDERS}"
    );
    let holders: Texts<5> = rows(client, &query)?;
    let holder = |[table, removable, kept, holder, age]: [Option<String>; 5]| Holder {
        table: table.unwrap_or_default(),
        removable: number(&removable).unwrap_or(0),
        kept: number(&kept).unwrap_or(0),
        holder,
        age,
    };
    Ok(holders.into_iter().map(holder).collect())
}

fn advice(client: &SpiClient<'_>, here: &str) -> Result<Vec<Advice>, Error> {
    let query = format!(
        "SELECT relid, recommendation, reason, command
         FROM {here}.garbage_candidates WHERE recommendation <> 'nothing' LIMIT {MOST_ADVICE}"
    );
    let advice: Texts<4> = rows(client, &query)?;
    let advice = advice.into_iter().map(|row| {
        let [table, what, why, command] = row;
        Advice {
            table: table.unwrap_or_default(),
            what: what.unwrap_or_default(),
            why: why.unwrap_or_default(),
            command,
        }
    });
    Ok(advice.collect())
}

/// What `walker_status` and `walker_plugins` say, to those who may see it.
fn health(client: &SpiClient<'_>) -> Result<Health, Error> {
    let hidden = |why: &str| Health {
        hidden: Some(why.to_owned()),
        ..Health::default()
    };
    if privilege::require_monitor("walker_status").is_err() {
        return Ok(hidden("Shown to roles with privileges of pg_monitor."));
    }
    let extension = "SELECT quote_ident(n.nspname),
                has_table_privilege(s.oid, 'SELECT') AND has_table_privilege(p.oid, 'SELECT')
         FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
         JOIN pg_class AS s ON s.relnamespace = n.oid AND s.relname = 'walker_status'
         JOIN pg_class AS p ON p.relnamespace = n.oid AND p.relname = 'walker_plugins'
         WHERE e.extname = 'walker'";
    let [schema, allowed] = first(rows(client, extension)?);
    let Some(walker) = schema else {
        return Ok(hidden(
            "The extension walker is not installed in this database.",
        ));
    };
    if allowed.as_deref() != Some("true") {
        return Ok(hidden("walker_status may not be read by this role."));
    }
    let status = format!(
        "SELECT state, pg_size_pretty(lag_bytes), applied_lsn, date_trunc('second', since),
                to_char(records, 'FM999,999,999,999,999'), pg_size_pretty(bytes), restarts, gaps, slot,
                date_trunc('second', last_error_at), last_error
         FROM {walker}.walker_status"
    );
    let row: [Option<String>; 11] = first(rows(client, &status)?);
    let names = [
        "lag",
        "applied up to",
        "since",
        "records read",
        "WAL read",
        "restarts",
        "gaps",
        "slot",
        "last error at",
        "last error",
    ];
    let [state, values @ ..] = row;
    let facts = names.into_iter().zip(values);
    let state = state.unwrap_or_default();
    let plugins =
        format!("SELECT name, state, applied_lsn, errors, last_error FROM {walker}.walker_plugins");
    let plugins: Texts<5> = rows(client, &plugins)?;
    let plugin = |row: [Option<String>; 5]| {
        let [name, state, applied, errors, last_error] = row.map(Option::unwrap_or_default);
        Plugin {
            name,
            state,
            applied,
            errors,
            last_error,
        }
    };
    Ok(Health {
        hidden: None,
        well: ["streaming", "waiting", "catching up"].contains(&&*state),
        state,
        facts: facts
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
        plugins: plugins.into_iter().map(plugin).collect(),
    })
}
