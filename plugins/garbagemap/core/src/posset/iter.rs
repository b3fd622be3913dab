//! Walking along a set's positions.

/// Word by word, the bits of the positions `lo <= pos < hi`.
pub(super) fn masks(lo: u16, hi: u16) -> impl Iterator<Item = (usize, u64)> {
    let (lo, hi) = (lo as usize, hi as usize);
    let words = if lo < hi {
        lo / 64..hi.div_ceil(64)
    } else {
        0..0
    };
    words.map(move |at| {
        let low = u64::MAX << lo.saturating_sub(at * 64).min(63);
        let keep = (hi - at * 64).min(64);
        (at, low & (u64::MAX >> (64 - keep)))
    })
}

/// Iterator over a [`PosSet`].
pub(crate) enum Iter<'a> {
    Sparse(std::slice::Iter<'a, u16>),
    Dense {
        words: &'a [u64],
        at: usize,
        word: u64,
        hi: u16,
    },
}

impl Iterator for Iter<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        match self {
            Iter::Sparse(list) => list.next().copied(),
            Iter::Dense {
                words,
                at,
                word,
                hi,
            } => {
                while *word == 0 {
                    *at += 1;
                    if *at * 64 >= *hi as usize {
                        return None;
                    }
                    *word = *words.get(*at)?;
                }
                let pos = (*at * 64) as u16 + word.trailing_zeros() as u16;
                *word &= *word - 1;
                (pos < *hi).then_some(pos)
            }
        }
    }
}
