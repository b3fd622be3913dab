//! A map in one line of text.

use crate::Range;
use crate::bins::Bins;

const BLOCKS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];
/// No garbage.
const CLEAN: char = '\u{b7}';

/// At most `width` characters, each for as many ranges: a block as high as
/// there is garbage, a dot for none, `?` where more is unknown than known.
pub fn bar(ranges: &[Range], width: usize) -> String {
    let bins = Bins::at_most(ranges, width).bins;
    let most = bins.iter().map(|b| b.mean()).max().unwrap_or(0);
    bins.iter()
        .map(|bin| match bin.mean() {
            _ if bin.inexact * 2 > bin.ranges => '?',
            0 => CLEAN,
            dead => BLOCKS[((dead * 8).div_ceil(most) - 1) as usize],
        })
        .collect()
}
