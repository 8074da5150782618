//! Numbers of a JSON text that would not be kept as they were sent: the parser has 64 bits for each, and tells nobody what it drops.

/// Which numbers of the text, counted from 0, have more digits than are kept.
pub(super) fn altered(mut text: &[u8]) -> Vec<usize> {
    let (mut found, mut nth) = (Vec::new(), 0);
    while let Some((first, rest)) = text.split_first() {
        match first {
            b'"' => text = after_string(rest),
            b'-' | b'0'..=b'9' => {
                let end = text.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
                let (number, rest) = text.split_at(end.unwrap_or(text.len()));
                if std::str::from_utf8(number).is_ok_and(is_altered) {
                    found.push(nth);
                }
                nth += 1;
                text = rest;
            }
            _ => text = rest,
        }
    }
    found
}

/// What stands behind the closing quote.
fn after_string(mut text: &[u8]) -> &[u8] {
    loop {
        match text {
            [] => return text,
            [b'"', rest @ ..] => return rest,
            [b'\\', _, rest @ ..] | [_, rest @ ..] => text = rest,
        }
    }
}

fn is_altered(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return number.parse::<i64>().is_err() && number.parse::<u64>().is_err();
    }
    // What is no number, or too large for one, the parser refuses.
    let Ok(kept) = number.parse::<f64>() else { return false };
    kept.is_finite() && digits(number) != digits(&format!("{kept:e}"))
}

/// The digits that count, and the power of ten of the last of them.
fn digits(number: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, decimals) = mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{}{decimals}", whole.trim_start_matches('-'));
    let counted = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - counted.len()).ok()?;
    let exponent = exponent.parse::<i64>().ok()? - i64::try_from(decimals.len()).ok()? + dropped;
    let counted = counted.trim_start_matches('0');
    Some((counted.to_owned(), if counted.is_empty() { 0 } else { exponent }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_kept_are_left_alone() {
        for number in [
            "0",
            "-0",
            "0.0",
            "0e5",
            "1",
            "-9223372036854775808",
            "18446744073709551615",
            "9007199254740993",
            "0.1",
            "-12.50",
            "1e30",
            "1.5E-7",
            "100.000000000000000000000",
            "1.7976931348623157e308",
            "5e-324",
            "0.30000000000000004",
            "1e400",
        ] {
            assert!(!is_altered(number), "{number}");
        }
    }

    #[test]
    fn numbers_with_more_digits_than_are_kept_are_found() {
        for number in
            ["18446744073709551616", "-9223372036854775809", "79201001234567890123", "3.14159265358979323846", "1e-400"]
        {
            assert!(is_altered(number), "{number}");
        }
        let text =
            r#"{"1": "99999999999999999999", "\\\"2": [0, 99999999999999999999, -1.5], "x": 79201001234567890123}"#;
        assert_eq!(altered(text.as_bytes()), [1, 3]);
    }
}
