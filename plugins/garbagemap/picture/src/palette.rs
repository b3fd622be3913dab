//! Colours whose lightness alone tells their order.

use plotters::style::RGBColor;

/// Shades of garbage: `SHADES[0]` is none, each next one is darker.
pub const SHADES: [(u8, u8, u8); 14] = [
    (241, 241, 241),
    (253, 234, 200),
    (251, 218, 166),
    (248, 200, 132),
    (243, 180, 103),
    (236, 158, 80),
    (226, 135, 64),
    (211, 112, 54),
    (192, 90, 49),
    (170, 69, 48),
    (145, 50, 47),
    (117, 34, 45),
    (86, 21, 41),
    (53, 10, 33),
];
/// Lines over what is not known, where the ground is light and where it is dark.
pub const HATCH: [(u8, u8, u8); 2] = [(120, 120, 120), (225, 225, 225)];

/// Text, axes.
pub const INK: RGBColor = RGBColor(34, 34, 34);
/// Less important text, frames.
pub const FAINT: RGBColor = RGBColor(110, 110, 110);
/// Lines of the grid.
pub const GRID: RGBColor = RGBColor(226, 226, 226);
/// Bars of the histograms.
pub const BAR: RGBColor = RGBColor(211, 112, 54);
/// The cumulative share over them.
pub const CURVE: RGBColor = RGBColor(40, 24, 60);

/// The shade of an amount, if `most` is the largest there is. Any garbage at
/// all has another shade than none.
pub fn shade_of(dead: u64, most: u64) -> usize {
    let top = SHADES.len() as u64 - 1;
    if dead == 0 || most == 0 {
        return 0;
    }
    let shade = (u128::from(dead.min(most)) * u128::from(top)).div_ceil(u128::from(most));
    shade as usize
}

/// A shade as plotters wants it.
pub fn colour((r, g, b): (u8, u8, u8)) -> RGBColor {
    RGBColor(r, g, b)
}

/// The colour of the lines over a shade.
pub fn hatch_over(shade: usize) -> RGBColor {
    colour(HATCH[usize::from(lightness(SHADES[shade]) < 110.0)])
}

/// How light a colour is in grey, 0 to 255 (Rec. 601 luma, as printers do).
pub fn lightness((r, g, b): (u8, u8, u8)) -> f64 {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
}
