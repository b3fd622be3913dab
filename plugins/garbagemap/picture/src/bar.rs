//! A map in one line of text.

use crate::Range;
use crate::bins::Bins;

const BLOCKS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];
const DIGITS: [char; 8] = ['1', '2', '3', '4', '5', '6', '7', '8'];

/// The characters of a bar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Glyphs {
    /// Block elements, and a middle dot for no garbage.
    Blocks,
    /// Digits and a full stop, for what is not Unicode.
    Digits,
}

/// At most `width` characters, each for as many ranges: a block as high as
/// there is garbage (or a digit from 1 to 8), a dot for none, `?` where more is unknown than known.
pub fn bar(ranges: &[Range], width: usize, glyphs: Glyphs) -> String {
    let (clean, heights) = match glyphs {
        Glyphs::Blocks => ('\u{b7}', BLOCKS),
        Glyphs::Digits => ('.', DIGITS),
    };
    let bins = Bins::at_most(ranges, width).bins;
    let most = bins.iter().map(|b| b.mean()).max().unwrap_or(0);
    bins.iter()
        .map(|bin| match bin.mean() {
            _ if bin.inexact * 2 > bin.ranges => '?',
            0 => clean,
            dead => heights[((dead * 8).div_ceil(most) - 1) as usize],
        })
        .collect()
}
