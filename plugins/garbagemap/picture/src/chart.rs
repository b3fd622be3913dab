//! What the two histograms share.

use crate::Size;
use crate::canvas::MARGIN;
use crate::palette::{GRID, INK};
use plotters::prelude::*;

/// Room for the labels at the axes.
pub const LEFT: i32 = 62;
pub const BOTTOM: i32 = 44;

/// Marks there is room for side by side.
pub fn most_bars(size: Size, right: i32) -> usize {
    let width = size.width as i32 - 2 * MARGIN - LEFT - right;
    (width / 2).clamp(1, 1500) as usize
}

/// Text at the axes.
pub fn axis_text<'t>() -> TextStyle<'t> {
    ("sans-serif", crate::canvas::SMALL).into_font().color(&INK)
}

/// Lines of the grid.
pub fn grid_lines() -> ShapeStyle {
    GRID.stroke_width(1)
}

/// How many labels an axis of whole numbers may have.
pub fn labels(most: u64) -> usize {
    most.clamp(1, 9) as usize + 1
}

/// The end of an axis from 0: never 0, and with some air above.
pub fn with_air(most: u64) -> f64 {
    if most == 0 { 1.0 } else { most as f64 * 1.06 }
}
