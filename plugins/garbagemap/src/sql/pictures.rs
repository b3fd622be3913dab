//! `garbage_heatmap`, `garbage_histogram`, `garbage_sorted_histogram` and
//! `garbage_bar`: the map of one table as a person sees it.

use super::ranges::read;
use crate::error::{Error, or_raise};
use crate::{area, privilege, text};
use garbagemap_picture::{DrawError, Glyphs, Range, Size, Subject};
use garbagemap_picture::{bar, heatmap, histogram, sorted_histogram};
use pgrx::prelude::*;

/// More ranges than this are put together while they are read: 8 MB.
const MOST_RANGES: u64 = 1 << 20;
/// The longest bar.
const LONGEST_BAR: u32 = 1000;

type Draw = fn(&Subject, &[Range], Size) -> Result<String, DrawError>;

#[pg_extern(sql = false)]
fn garbage_heatmap(rel: pg_sys::Oid, width: i32, height: i32) -> String {
    or_raise(picture("garbage_heatmap", heatmap, rel, width, height))
}

#[pg_extern(sql = false)]
fn garbage_histogram(rel: pg_sys::Oid, width: i32, height: i32) -> String {
    or_raise(picture("garbage_histogram", histogram, rel, width, height))
}

#[pg_extern(sql = false)]
fn garbage_sorted_histogram(rel: pg_sys::Oid, width: i32, height: i32) -> String {
    let draw = sorted_histogram;
    or_raise(picture(
        "garbage_sorted_histogram",
        draw,
        rel,
        width,
        height,
    ))
}

#[pg_extern(sql = false)]
fn garbage_bar(rel: pg_sys::Oid, width: i32) -> String {
    or_raise(line(rel, width))
}

fn picture(
    function: &'static str,
    draw: Draw,
    rel: pg_sys::Oid,
    width: i32,
    height: i32,
) -> Result<String, Error> {
    privilege::require_read_stats(function)?;
    let (least, most) = Size::LIMITS;
    let size = Size {
        width: within("width", width, least.width, most.width)?,
        height: within("height", height, least.height, most.height)?,
    };
    let table = read(rel, MOST_RANGES)?;
    let subject = Subject {
        name: text::qualified_name(rel),
        blocks: table.blocks,
        range_blocks: table.range_blocks,
        lsn: area::applied_lsn()?.to_string(),
        time: text::now(),
    };
    Ok(draw(&subject, &table.ranges, size)?)
}

fn line(rel: pg_sys::Oid, width: i32) -> Result<String, Error> {
    privilege::require_read_stats("garbage_bar")?;
    let width = within("width", width, 1, LONGEST_BAR)?;
    let table = read(rel, MOST_RANGES)?;
    let glyphs = match text::is_unicode() {
        true => Glyphs::Blocks,
        false => Glyphs::Digits,
    };
    Ok(bar(&table.ranges, width as usize, glyphs))
}

fn within(what: &'static str, got: i32, least: u32, most: u32) -> Result<u32, Error> {
    match u32::try_from(got) {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(Error::PictureSize {
            what,
            got,
            least,
            most,
        }),
    }
}
