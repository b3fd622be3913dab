//! The garbage map drawn: SVG for a browser, a line of text for a terminal, a
//! page of HTML for a whole database.
//!
//! Pure code: ranges in, text out. Two rules hold for all of it. Colour is
//! never the only bearer of meaning (shades differ in lightness, what is not
//! known is hatched), so a picture can be printed in grey. And whatever the
//! number of ranges, a picture has a bounded number of marks: ranges that would
//! be narrower than a mark are put together, and the picture says so.
#![forbid(unsafe_code)]

mod bar;
mod bins;
mod canvas;
mod chart;
mod heatmap;
mod histogram;
mod palette;
mod report;
mod sorted;
mod text;

pub use bar::{Glyphs, bar};
pub use canvas::DrawError;
pub use heatmap::{heatmap, thumbnail};
pub use histogram::histogram;
pub use palette::{HATCH, SHADES, lightness};
pub use report::{Advice, Health, Holder, Plugin, Report, ReportTable, report};
pub use sorted::sorted_histogram;

/// What the map says of one range of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// Dead tuples in what is known of it.
    pub dead: u32,
    /// How much of it is known.
    pub known: Known,
}

/// How much of a range the map knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// Every block: the count is exact.
    Whole,
    /// Some blocks: there may be more.
    Partly,
    /// Nothing.
    Nothing,
}

/// What is drawn, for the title.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The table's name, as it is to be shown.
    pub name: String,
    /// Its size.
    pub blocks: u64,
    /// Blocks in each of the ranges.
    pub range_blocks: u64,
    /// Up to where WAL has been applied.
    pub lsn: String,
    /// When the map was read.
    pub time: String,
}

/// The picture's size in pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

impl Size {
    /// What a picture may measure: smaller has no room for the title, larger is
    /// a typing error.
    pub const LIMITS: (Size, Size) = (
        Size {
            width: 300,
            height: 200,
        },
        Size {
            width: 4000,
            height: 4000,
        },
    );
}
