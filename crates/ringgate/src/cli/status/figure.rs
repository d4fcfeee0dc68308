//! Figures for people: a span of time and an amount of bytes, in the two or three digits that the eye wants. Who
//! needs them exact asks for JSON.

/// Units of time from the largest, with their seconds.
const SPANS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Units of bytes above the byte, each 1024 times the one before.
const BYTES: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// A span of `seconds` in its two largest units: `3d4h`, `1m12s`, `7s`.
pub(crate) fn span(seconds: f64) -> String {
    // A float turns into the nearest integer that there is, so a clock that ran backwards is 0.
    let seconds = seconds as u64;
    let Some(largest) = SPANS.iter().position(|(_, size)| seconds >= *size) else {
        return "0s".to_owned();
    };
    let (unit, size) = SPANS[largest];
    let rest = seconds % size;
    match SPANS.get(largest + 1) {
        Some((next, next_size)) if rest >= *next_size => {
            format!("{}{unit}{}{next}", seconds / size, rest / next_size)
        }
        _ => format!("{}{unit}", seconds / size),
    }
}

/// An amount of bytes: `512 B`, `1.5 KiB`, `20 GiB`.
pub(crate) fn bytes(amount: u64) -> String {
    let mut size = amount as f64;
    let mut unit = "B";
    for larger in BYTES {
        // 1023.5 would be shown as 1024 of the smaller unit.
        if size < 1023.5 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" || size >= 10.0 {
        format!("{size:.0} {unit}")
    } else {
        format!("{size:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_at_most_two_units() {
        let check = |seconds: f64, expected: &str| assert_eq!(span(seconds), expected);
        check(-5.0, "0s");
        check(0.9, "0s");
        check(59.9, "59s");
        check(72.0, "1m12s");
        check(3600.0, "1h");
        check(3659.0, "1h");
        check(273_600.0, "3d4h");
    }

    #[test]
    fn bytes_have_two_or_three_digits() {
        let check = |amount: u64, expected: &str| assert_eq!(bytes(amount), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check(1024 * 1024 - 1, "1.0 MiB");
        check(20 << 30, "20 GiB");
        check(u64::MAX, "16384 PiB");
    }
}
