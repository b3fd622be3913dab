//! A table as a sheet of cells in the order of its blocks, dark where the
//! garbage is.

use crate::bins::{Bin, Bins};
use crate::canvas::{DrawError, MARGIN, Rect, SMALL_CHAR, Sheet, draw, empty, fill, frame};
use crate::canvas::{MOST_LINES, hatch, heading, small, spacing};
use crate::palette::{SHADES, colour, hatch_over, shade_of};
use crate::text::{compact, counted, grouped, size_of_blocks};
use crate::{Range, Size, Subject};
use plotters::style::text_anchor::{HPos, VPos};

/// The most cells of a heat map. More would be too small to be seen, and too
/// many for a browser.
const MOST_CELLS: usize = 4096;
/// The most cells of a small picture, of which a page has many.
const MOST_SMALL_CELLS: usize = 400;
const MOST_SMALL_LINES: i64 = 300;
/// No cell is larger, lest a small table look like a large one.
const LARGEST: i32 = 48;
/// Cells from this size on have a gap between them.
const GAPPED: i32 = 14;
const LEGEND: i32 = 42;

/// Draw the heat map of a table.
pub fn heatmap(subject: &Subject, ranges: &[Range], size: Size) -> Result<String, DrawError> {
    let bins = Bins::powers(ranges, MOST_CELLS);
    let title = format!("Heat map of {}", subject.name);
    draw(size, &title, |sheet| {
        let total = bins.total();
        let cell_blocks = subject.range_blocks * bins.per_bin as u64;
        let mut more = Vec::new();
        if bins.per_bin > 1 {
            more.push(format!("each cell {}", counted(cell_blocks, "block")));
        }
        let top = heading(sheet, subject, "dead tuples", &total, &more)?;
        if bins.bins.is_empty() {
            return empty(sheet, top);
        }
        let label = subject.blocks.max(1) - 1;
        let left = MARGIN + SMALL_CHAR * (grouped(label).len() as i32 + 1);
        let inside = Rect {
            x0: left,
            y0: top,
            x1: size.width as i32 - MARGIN,
            y1: size.height as i32 - LEGEND - MARGIN,
        };
        let grid = Grid::within(inside, bins.bins.len(), true);
        grid.paint(sheet, &bins.bins, MOST_LINES)?;
        frame(sheet, grid.area)?;
        rows(sheet, &grid, cell_blocks)?;
        legend(sheet, size, &bins, cell_blocks)
    })
}

/// A heat map without words, for a page of many.
pub fn thumbnail(name: &str, ranges: &[Range], size: Size) -> Result<String, DrawError> {
    let bins = Bins::powers(ranges, MOST_SMALL_CELLS);
    draw(size, name, |sheet| {
        let inside = Rect {
            x0: 0,
            y0: 0,
            x1: size.width as i32 - 1,
            y1: size.height as i32 - 1,
        };
        if !bins.bins.is_empty() {
            Grid::within(inside, bins.bins.len(), false).paint(
                sheet,
                &bins.bins,
                MOST_SMALL_LINES,
            )?;
        }
        frame(sheet, inside)
    })
}

/// Cells in rows, as text is written.
struct Grid {
    area: Rect,
    columns: i32,
    rows: i32,
}

impl Grid {
    /// As square as possible; `tight` leaves room free if there are few cells.
    fn within(area: Rect, cells: usize, tight: bool) -> Grid {
        let (width, height) = (area.x1 - area.x0, (area.y1 - area.y0).max(1));
        let cells = i32::try_from(cells).unwrap_or(i32::MAX).max(1);
        // A power of two: rows then begin at round numbers.
        let ideal = (f64::from(cells) * f64::from(width) / f64::from(height)).sqrt();
        let mut columns = 1 << (ideal.max(1.0).log2().round() as i32);
        while columns < width && (cells + columns - 1) / columns > height {
            columns *= 2;
        }
        if cells < columns {
            columns = cells;
        }
        let rows = (cells + columns - 1) / columns;
        let mut area = area;
        if tight {
            area.x1 = area.x1.min(area.x0 + columns * LARGEST);
            area.y1 = area.y1.min(area.y0 + rows * LARGEST);
        }
        Grid {
            area,
            columns,
            rows,
        }
    }

    fn x(&self, column: i32) -> i32 {
        self.area.x0 + (self.area.x1 - self.area.x0) * column / self.columns
    }

    fn y(&self, row: i32) -> i32 {
        self.area.y0 + (self.area.y1 - self.area.y0) * row / self.rows
    }

    /// The cells, those alike and side by side as one if they are small.
    fn runs(&self, bins: &[Bin], most: u64) -> Vec<(Rect, usize, bool)> {
        let cell_width = (self.area.x1 - self.area.x0) / self.columns;
        let cell_height = (self.area.y1 - self.area.y0) / self.rows;
        let gap = i32::from(cell_width.min(cell_height) >= GAPPED);
        let look = |bin: &Bin| (shade_of(bin.mean(), most), bin.inexact());
        let mut runs: Vec<(Rect, usize, bool)> = Vec::new();
        for (row, bins) in (0..).zip(bins.chunks(self.columns as usize)) {
            let mut open: Option<(Rect, usize, bool)> = None;
            for (column, bin) in (0..).zip(bins) {
                let (shade, inexact) = look(bin);
                let rect = Rect {
                    x0: self.x(column),
                    y0: self.y(row),
                    x1: self.x(column + 1) - gap,
                    y1: self.y(row + 1) - gap,
                };
                match &mut open {
                    Some((run, s, i)) if gap == 0 && (*s, *i) == (shade, inexact) => {
                        run.x1 = rect.x1;
                    }
                    _ => runs.extend(open.replace((rect, shade, inexact))),
                }
            }
            runs.extend(open);
        }
        runs
    }

    fn paint(&self, sheet: &Sheet<'_>, bins: &[Bin], most_lines: i64) -> Result<(), DrawError> {
        let most = most(bins);
        let runs = self.runs(bins, most);
        let unknown = runs.iter().filter(|(_, _, inexact)| *inexact);
        let spacing = spacing(unknown.map(|(rect, _, _)| *rect), most_lines);
        for (rect, shade, inexact) in runs {
            fill(sheet, rect, colour(SHADES[shade]))?;
            if inexact {
                hatch(sheet, rect, spacing, hatch_over(shade))?;
            }
        }
        Ok(())
    }
}

fn most(bins: &[Bin]) -> u64 {
    bins.iter().map(Bin::mean).max().unwrap_or(0)
}

/// At each row its first block, as far as there is room.
fn rows(sheet: &Sheet<'_>, grid: &Grid, cell_blocks: u64) -> Result<(), DrawError> {
    let height = (grid.area.y1 - grid.area.y0) / grid.rows;
    let every = (18 + height - 1) / height.max(1);
    for row in (0..grid.rows).step_by(every.max(1) as usize) {
        let block =
            u64::from(row.unsigned_abs()) * u64::from(grid.columns.unsigned_abs()) * cell_blocks;
        let middle = (grid.y(row) + grid.y(row + 1)) / 2;
        let at = (grid.area.x0 - 6, middle);
        small(sheet, &grouped(block), at, HPos::Right, VPos::Center)?;
    }
    Ok(())
}

/// What the shades mean.
fn legend(sheet: &Sheet<'_>, size: Size, bins: &Bins, cell_blocks: u64) -> Result<(), DrawError> {
    let most = most(&bins.bins);
    let y = size.height as i32 - LEGEND + 4;
    let swatch = |x0: i32, width: i32| Rect {
        x0,
        y0: y,
        x1: x0 + width,
        y1: y + 14,
    };
    let text = |text: &str, x: i32| small(sheet, text, (x, y + 7), HPos::Left, VPos::Center);
    let mut x = MARGIN;

    let none = swatch(x, 18);
    fill(sheet, none, colour(SHADES[0]))?;
    frame(sheet, none)?;
    text("none", none.x1 + 5)?;
    x = none.x1 + 46;

    if most > 0 {
        let shades = SHADES.iter().skip(1).step_by(2);
        for shade in shades {
            fill(sheet, swatch(x, 12), colour(*shade))?;
            x += 12;
        }
        let label = format!("up to {} dead per range", compact(most as f64));
        text(&label, x + 5)?;
        x += 12 + SMALL_CHAR * (label.len() as i32 + 1);
    }
    let unknown = swatch(x, 18);
    fill(sheet, unknown, colour(SHADES[0]))?;
    hatch(sheet, unknown, 6, hatch_over(0))?;
    frame(sheet, unknown)?;
    text("not known", unknown.x1 + 5)?;
    x = unknown.x1 + 5 + SMALL_CHAR * 11;

    let cell = format!(
        "cell: {} ({})",
        counted(cell_blocks, "block"),
        size_of_blocks(cell_blocks)
    );
    if x + SMALL_CHAR * (cell.len() as i32) < size.width as i32 - MARGIN {
        text(&cell, x)?;
    }
    Ok(())
}
