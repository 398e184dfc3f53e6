//! Numbers of bytes as people write them, in configurations and on command lines alike.

/// Prefixes and the powers that they stand for: of 1024 with an `i` after them, or else of 1000, as disks are sold.
const PREFIXES: [(&str, u32); 6] = [("", 0), ("k", 1), ("m", 2), ("g", 3), ("t", 4), ("p", 5)];

/// The number of bytes in a text such as `4096`, `512KiB`, `1.5T` or `2 TB`.
///
/// # Errors
/// It is none, or no whole number; the text says why.
pub fn parse(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim().to_ascii_lowercase());
    let factor = factor(&unit).ok_or_else(|| {
        format!("`{text}` is no size: after the number stands K, M, G, T or P, or KiB to PiB for powers of 1024")
    })?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return Err(format!("`{text}` is no size, such as 512KiB or 1.5T"));
    }
    let too_large = || format!("`{text}` is more than this program can count: 18446744 T");
    // Zeros change nothing, and cost digits.
    let part = part.trim_end_matches('0');
    let bytes = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(factor));
    let bytes = bytes.ok_or_else(too_large)?;
    let part = fraction(part, factor)
        .ok_or_else(|| format!("`{text}` is no whole number of bytes: write fewer decimals"))?;
    bytes.checked_add(part).ok_or_else(too_large)
}

fn factor(unit: &str) -> Option<u64> {
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let (prefix, base) = match unit.strip_suffix('i') {
        Some("") => return None,
        Some(prefix) => (prefix, 1024_u64),
        None => (unit, 1000),
    };
    let (_, power) = PREFIXES.iter().find(|(name, _)| *name == prefix)?;
    Some(base.pow(*power))
}

/// That part of the factor, given in decimals; `None` if it is no whole number.
fn fraction(decimals: &str, factor: u64) -> Option<u64> {
    if decimals.is_empty() {
        return Some(0);
    }
    // Of more, the sum below might not fit; nobody writes them.
    let len = u32::try_from(decimals.len()).ok().filter(|len| *len <= 22)?;
    let (parts, of) =
        (decimals.parse::<u128>().ok()?.checked_mul(factor.into())?, 10_u128.pow(len));
    if parts.is_multiple_of(of) { u64::try_from(parts / of).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10b", 10),
            ("1K", 1000),
            ("1MiB", 1 << 20),
            ("4gi", 4 << 30),
            ("1 mb", 1_000_000),
            ("1.5G", 1_500_000_000),
            ("1.5GiB", 3 << 29),
            ("2T", 2_000_000_000_000),
            ("0.5TB", 500_000_000_000),
            ("1.000K", 1000),
            ("0.000000000000001P", 1),
            ("0.0009765625KiB", 1),
            ("18446.744073709551615P", u64::MAX),
            ("16383.9990234375PiB", u64::MAX - (1 << 40) + 1),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_of_bytes_is_refused() {
        for (text, why) in [
            ("", "no size"),
            ("K", "no size"),
            ("-1", "no size"),
            ("1X", "no size"),
            ("1i", "no size"),
            ("1iB", "no size"),
            ("1..5K", "no size"),
            ("1.5.5K", "no size"),
            (".5K", "no size"),
            ("1.K", "no size"),
            ("1 2K", "no size"),
            ("1e3", "no size"),
            ("1.9", "no whole number"),
            ("1.0001K", "no whole number"),
            ("0.1KiB", "no whole number"),
            ("0.00000000000000000000000000000001P", "no whole number"),
            ("18446744073709551616", "more than"),
            ("18446.744073709551616P", "more than"),
            ("16384PiB", "more than"),
            ("99999999999P", "more than"),
        ] {
            let reason = parse(text).expect_err(text);
            assert!(reason.contains(why), "{reason}");
        }
    }
}
