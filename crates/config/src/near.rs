//! "Did you mean": the valid word that is closest to a wrong one. It never guesses when nothing is close.

/// Longer words are not compared; no key or name is that long.
const WORD_MAX: usize = 64;

/// At most this many candidates are compared, so that a file full of mistakes is still answered at once.
const CANDIDATES_MAX: usize = 1000;

/// The shortest beginning that tells which word was meant.
const BEGINNING_MIN: usize = 3;

/// The candidate that is most like `wrong`, when one is like it at all: one slip in a short word, two or three in a
/// long one, only upper case or `-` for `_`, or one the beginning of the other.
pub(crate) fn nearest<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if wrong.len() > WORD_MAX {
        return None;
    }
    let folded = fold(wrong);
    let slips_max = match folded.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    };
    let begins = |candidate: &str| {
        let shorter = folded.len().min(candidate.len());
        shorter >= BEGINNING_MIN
            && (candidate.starts_with(&folded) || folded.starts_with(candidate))
    };
    let slips = |candidate: &str| match strsim::osa_distance(&folded, candidate) {
        slips if slips <= slips_max => Some(slips),
        _ => begins(candidate).then_some(slips_max + 1),
    };
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .filter_map(|candidate| Some((slips(&fold(candidate))?, candidate)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_mended_and_a_stranger_is_not() {
        let check = |wrong, expected| {
            assert_eq!(
                nearest(wrong, ["listeners", "pools", "io", "p2c"]),
                expected,
                "{wrong}"
            )
        };
        check("listners", Some("listeners"));
        check("Pools", Some("pools"));
        check("pool", Some("pools"));
        check("lsiteners", Some("listeners"));
        check("listeners_of_mine", Some("listeners"));
        check("p2", None);
        check("IO", Some("io"));
        check("servers", None);
        check("", None);
    }
}
