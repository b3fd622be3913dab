//! A relation's counters and rates as words.

use crate::{Counters, Rates};

/// Words of the counters.
pub(super) const COUNTERS: usize = 8;
/// Words of the rates.
pub(super) const RATE_WORDS: usize = 6;

pub(super) fn words(counters: &Counters) -> [u64; COUNTERS] {
    [
        counters.dead_by_delete,
        counters.dead_by_update,
        counters.dead_by_abort,
        counters.pruned,
        counters.vacuumed,
        counters.hot_updates,
        counters.other_updates,
        counters.visible_lost,
    ]
}

pub(super) fn rate_words(rates: &Rates) -> [u64; RATE_WORDS] {
    let ([c0, c1], [r0, r1]) = (rates.created, rates.removed);
    let bits = f64::to_bits;
    [
        rates.since as u64,
        rates.at as u64,
        bits(c0),
        bits(c1),
        bits(r0),
        bits(r1),
    ]
}

pub(super) fn read(words: [u64; COUNTERS + RATE_WORDS]) -> (Counters, Rates) {
    let [
        del,
        upd,
        abort,
        pruned,
        vacuumed,
        hot,
        other,
        visible,
        rates @ ..,
    ] = words;
    let [since, at, c0, c1, r0, r1] = rates;
    let number = f64::from_bits;
    (
        Counters {
            dead_by_delete: del,
            dead_by_update: upd,
            dead_by_abort: abort,
            pruned,
            vacuumed,
            hot_updates: hot,
            other_updates: other,
            visible_lost: visible,
        },
        Rates {
            since: since as i64,
            at: at as i64,
            created: [number(c0), number(c1)],
            removed: [number(r0), number(r1)],
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_they_are_given() {
        let words: [u64; COUNTERS + RATE_WORDS] = std::array::from_fn(|i| i as u64 + 1);
        let (counters, rates) = read(words);
        let mut again = words;
        again[..COUNTERS].copy_from_slice(&super::words(&counters));
        again[COUNTERS..].copy_from_slice(&rate_words(&rates));
        assert_eq!(again, words);
    }
}
