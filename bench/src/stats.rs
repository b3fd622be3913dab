//! Medians and their spread.

use serde::{Deserialize, Serialize};

/// The middle of several measurements, and the least and the largest of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// How many there were.
    pub n: usize,
}

/// Of several measurements.
pub fn summary(of: &[f64]) -> Summary {
    assert!(!of.is_empty(), "nothing was measured");
    Summary {
        median: percentile(of, 50.0),
        low: percentile(of, 0.0),
        high: percentile(of, 100.0),
        n: of.len(),
    }
}

/// The ratio in each round, summed up. What was measured side by side is
/// compared side by side.
pub fn ratio(of: &[f64], to: &[f64]) -> Summary {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(a, b)| a / b).collect();
    summary(&ratios)
}

/// The value that `p` per cent are not above.
pub fn percentile(of: &[f64], p: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    if p == 50.0 && sorted.len().is_multiple_of(2) {
        return (sorted[last / 2] + sorted[last / 2 + 1]) / 2.0;
    }
    sorted[(last as f64 * p / 100.0).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_and_ends() {
        let s = summary(&[5.0, 1.0, 3.0]);
        assert_eq!((s.median, s.low, s.high, s.n), (3.0, 1.0, 5.0, 3));
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 50.0), 2.5);
        let r = ratio(&[2.0, 9.0], &[1.0, 3.0]);
        assert_eq!((r.low, r.high), (2.0, 3.0));
    }
}
