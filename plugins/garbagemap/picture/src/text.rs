//! Text as it may stand in SVG and HTML. A table may have any name.

use std::fmt::Write as _;

/// Characters that XML does not allow, not even escaped, made visible.
pub fn clean(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && c != '\u{fffe}' && c != '\u{ffff}';
    text.chars()
        .map(|c| if allowed(c) { c } else { '\u{fffd}' })
        .collect()
}

/// Text for HTML and XML, in attributes too.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A document without any character but ASCII: it can be returned in every
/// database encoding, and read from a file without saying which.
pub fn ascii(document: &str) -> String {
    let mut ascii = String::with_capacity(document.len());
    for c in document.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(ascii, "&#{};", u32::from(c));
        }
    }
    ascii
}

/// At most so many characters, with a mark if some are missing.
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('\u{2026}');
    short
}

/// `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A label of an axis: `950`, `1.5k`, `20M`.
pub fn compact(n: f64) -> String {
    let (n, unit) = match n.abs() {
        a if a >= 1e9 => (n / 1e9, "G"),
        a if a >= 1e6 => (n / 1e6, "M"),
        a if a >= 1e4 => (n / 1e3, "k"),
        _ => (n, ""),
    };
    let digits = if (n - n.round()).abs() < 0.05 { 0 } else { 1 };
    format!("{n:.digits$}{unit}")
}

/// The size of so many blocks of 8 kB.
pub fn size_of_blocks(blocks: u64) -> String {
    let kb = blocks.saturating_mul(8);
    match kb {
        0..10_240 => format!("{} kB", grouped(kb)),
        10_240..10_485_760 => format!("{} MB", grouped(kb / 1024)),
        _ => format!("{} GB", grouped(kb / 1_048_576)),
    }
}

/// A share of a whole, `-` if there is no whole.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        p if p > 0.0 && p < 0.1 => "< 0.1 %".to_owned(),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// `per block`, `per 2 blocks`.
pub fn per(n: u64, what: &str) -> String {
    match n {
        1 => format!("per {what}"),
        n => format!("per {}", counted(n, what)),
    }
}

/// `1 block`, `2 blocks`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_legible() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(compact(0.0), "0");
        assert_eq!(compact(2.5), "2.5");
        assert_eq!(compact(9_999.0), "9999");
        assert_eq!(compact(12_500.0), "12.5k");
        assert_eq!(compact(3e6), "3M");
        assert_eq!(size_of_blocks(1), "8 kB");
        assert_eq!(size_of_blocks(12_800), "100 MB");
        assert_eq!(percent(1, 0), "-");
        assert_eq!(percent(1, 100_000), "< 0.1 %");
        assert_eq!(percent(0, 5), "0.0 %");
        assert_eq!(percent(1, 3), "33 %");
        assert_eq!(counted(1, "range"), "1 range");
        assert_eq!(counted(2000, "range"), "2,000 ranges");
    }

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(
            escape("<b a='\"&\u{1}\u{ffff}"),
            "&lt;b a=&#39;&quot;&amp;\u{fffd}\u{fffd}"
        );
        assert_eq!(ascii("a\u{e9}\u{1f600}"), "a&#233;&#128512;");
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab\u{2026}");
    }
}
