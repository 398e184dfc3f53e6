//! Numbers of bytes as people write them.

/// Units and their factors: the short ones and those with an `i` are powers of 1024, those with a plain `B` powers of 1000.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

/// The number of bytes in a text such as `4096`, `512KiB`, `1.5T` or `2 TB`.
///
/// # Errors
/// It is none; the text says why.
pub fn parse(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim().to_ascii_lowercase());
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = factor.ok_or_else(|| {
        format!("`{text}` is no size: after the number stands K, M, G or T, KiB to TiB, KB to TB")
    })?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let bytes = exact(whole, part, factor);
    bytes.ok_or_else(|| format!("`{text}` is no size, such as 512KiB or 1.5T"))
}

fn exact(whole: &str, part: &str, factor: u64) -> Option<u64> {
    // More digits than these are less than a byte of a terabyte.
    let part = part.get(..part.len().min(12))?;
    let whole: u64 = whole.parse().ok()?;
    let rest = match part {
        "" => 0,
        part => {
            let tenths = 10_u128.pow(u32::try_from(part.len()).ok()?);
            u64::try_from(u128::from(part.parse::<u64>().ok()?) * u128::from(factor) / tenths)
                .ok()?
        }
    };
    whole.checked_mul(factor)?.checked_add(rest)
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
            ("1K", 1024),
            ("1MiB", 1 << 20),
            ("1 mb", 1_000_000),
            ("1.5G", 3 << 29),
            ("2T", 2 << 40),
            ("0.5TB", 500_000_000_000),
            ("16777215T", 16_777_215 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1X", "1..5K", "1.5.5K", ".5K", "16777216T", "1 2K", "1e3"] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }
}
