//! A sheet with a title, and marks in pixels on it.

use crate::bins::Bin;
use crate::palette::{FAINT, INK};
use crate::text::{ascii, clean, counted, escape, grouped, percent, shorten, size_of_blocks};
use crate::{Size, Subject};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Why a picture could not be drawn; a fault of this crate.
#[derive(Debug)]
pub struct DrawError(String);

impl std::fmt::Display for DrawError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DrawError {}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for DrawError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        DrawError(error.to_string())
    }
}

/// What plotters draws on.
pub type Sheet<'s> = DrawingArea<SVGBackend<'s>, Shift>;

/// Left, top, right, bottom, in pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rect {
    pub x0: i32,
    pub y0: i32,
    pub x1: i32,
    pub y1: i32,
}

/// As plotters counts, which is not the size in the SVG (1.24 times that).
const TITLE: i32 = 22;
pub const SMALL: i32 = 15;
const LINE: i32 = 17;
/// The widest an average character of small text is.
pub const SMALL_CHAR: i32 = 7;
pub const MARGIN: i32 = 14;

/// Draw a picture and return it as a document.
pub fn draw(
    size: Size,
    title: &str,
    paint: impl FnOnce(&Sheet<'_>) -> Result<(), DrawError>,
) -> Result<String, DrawError> {
    let mut svg = String::new();
    {
        let sheet =
            SVGBackend::with_string(&mut svg, (size.width, size.height)).into_drawing_area();
        sheet.fill(&WHITE)?;
        paint(&sheet)?;
        sheet.present()?;
    }
    // What a screen reader reads, and a browser shows under the mouse.
    if let Some(end) = svg.find('>') {
        svg.insert_str(end + 1, &format!("\n<title>{}</title>", escape(title)));
    }
    Ok(ascii(&svg))
}

/// Write the title; returns the first free pixel row below it.
pub fn heading(
    sheet: &Sheet<'_>,
    subject: &Subject,
    what: &str,
    total: &Bin,
    more: &[String],
) -> Result<i32, DrawError> {
    let width = sheet.dim_in_pixel().0 as i32 - 2 * MARGIN;
    let title = format!("{}: {what}", clean(&subject.name));
    let style = ("sans-serif", TITLE)
        .into_font()
        .style(FontStyle::Bold)
        .color(&INK);
    sheet.draw(&Text::new(
        shorten(&title, (width / 12) as usize),
        (MARGIN, MARGIN),
        style,
    ))?;

    let mut facts = vec![
        format!(
            "{}{} dead",
            if total.inexact() { "at least " } else { "" },
            grouped(total.dead)
        ),
        format!(
            "{} ({})",
            counted(subject.blocks, "block"),
            size_of_blocks(subject.blocks)
        ),
        format!("ranges of {}", counted(subject.range_blocks, "block")),
    ];
    if total.inexact() {
        facts.push(format!(
            "{} of them not known (hatched)",
            percent(total.inexact, total.ranges)
        ));
    }
    facts.extend_from_slice(more);
    facts.push(format!("LSN {}", clean(&subject.lsn)));
    facts.push(clean(&subject.time));

    let mut y = MARGIN + TITLE + 4;
    for line in wrapped(&facts, (width / SMALL_CHAR) as usize) {
        small(sheet, &line, (MARGIN, y), HPos::Left, VPos::Top)?;
        y += LINE;
    }
    Ok(y + 6)
}

/// Facts in as few lines as they fit in.
fn wrapped(facts: &[String], chars: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for fact in facts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + fact.chars().count() + 3 <= chars => {
                line.push_str(" \u{b7} ");
                line.push_str(fact);
            }
            _ => lines.push(fact.clone()),
        }
    }
    lines
}

/// A piece of small text.
pub fn small(
    sheet: &Sheet<'_>,
    text: &str,
    at: (i32, i32),
    h: HPos,
    v: VPos,
) -> Result<(), DrawError> {
    let style = ("sans-serif", SMALL)
        .into_font()
        .color(&INK)
        .pos(Pos::new(h, v));
    sheet.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// What there is to see of a table without blocks.
pub fn empty(sheet: &Sheet<'_>, top: i32) -> Result<(), DrawError> {
    let (width, height) = sheet.dim_in_pixel();
    let rect = Rect {
        x0: MARGIN,
        y0: top,
        x1: width as i32 - MARGIN,
        y1: height as i32 - MARGIN,
    };
    frame(sheet, rect)?;
    let middle = ((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2);
    small(
        sheet,
        "The table is empty.",
        middle,
        HPos::Center,
        VPos::Center,
    )
}

/// A thin line around.
pub fn frame(sheet: &Sheet<'_>, r: Rect) -> Result<(), DrawError> {
    sheet.draw(&Rectangle::new(
        [(r.x0, r.y0), (r.x1, r.y1)],
        FAINT.stroke_width(1),
    ))?;
    Ok(())
}

/// A filled rectangle.
pub fn fill(sheet: &Sheet<'_>, r: Rect, colour: RGBColor) -> Result<(), DrawError> {
    sheet.draw(&Rectangle::new(
        [(r.x0, r.y0), (r.x1, r.y1)],
        colour.filled(),
    ))?;
    Ok(())
}

/// The most lines all hatches of one picture may have.
pub const MOST_LINES: i64 = 4000;
/// Between two lines, along an edge.
const SPACING: i64 = 6;

/// The spacing of hatches that cover these rectangles, the same for all of
/// them: the lines of neighbours meet.
pub fn spacing(rects: impl Iterator<Item = Rect>, most_lines: i64) -> i32 {
    let edges: i64 = rects
        .map(|r| i64::from(r.x1 - r.x0) + i64::from(r.y1 - r.y0))
        .sum();
    SPACING.max(edges.div_euclid(most_lines) + 1) as i32
}

/// Diagonal lines over a rectangle.
pub fn hatch(sheet: &Sheet<'_>, r: Rect, spacing: i32, colour: RGBColor) -> Result<(), DrawError> {
    // Lines are x + y = c. A rectangle that falls between two gets one.
    let first = (r.x0 + r.y0).div_euclid(spacing) * spacing + spacing;
    let last = r.x1 + r.y1;
    let first = if first < last {
        first
    } else {
        (r.x0 + r.y0 + last) / 2
    };
    for c in (first..last).step_by(spacing as usize) {
        let from = (r.x0.max(c - r.y1), r.y1.min(c - r.x0));
        let to = (r.x1.min(c - r.y0), r.y0.max(c - r.x1));
        sheet.draw(&PathElement::new([from, to], colour.stroke_width(1)))?;
    }
    Ok(())
}
