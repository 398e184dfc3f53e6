//! Lengths of time as people write them: `30d`, `1d 12h`, `90 min`.

use std::time::Duration;

const DAY: u64 = 24 * 3600;

/// What a unit is called, the first name being the one that is shown, and how many seconds it has.
const UNITS: [(&[&str], u64); 6] = [
    (&["y", "year", "years"], 365 * DAY),
    (&["w", "week", "weeks"], 7 * DAY),
    (&["d", "day", "days"], DAY),
    (&["h", "hr", "hour", "hours"], 3600),
    (&["min", "m", "minute", "minutes"], 60),
    (&["s", "sec", "second", "seconds"], 1),
];

/// The length of time that a text means; a number alone is in seconds. None if it is no such text.
pub fn parse(text: &str) -> Option<Duration> {
    let (mut seconds, mut rest) = (0_u64, text.trim());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let alone = rest.len() == text.trim().len();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let each = match UNITS.iter().find(|(names, _)| names.contains(&unit)) {
            Some((_, each)) => *each,
            None if unit.is_empty() && after.is_empty() && alone => 1,
            None => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(each)?)?;
        rest = after.trim_start();
    }
    Some(Duration::from_secs(seconds))
}

/// The shortest text that means it, to the second.
pub fn show(span: Duration) -> String {
    let mut left = span.as_secs();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut parts = Vec::new();
    // Years and weeks are understood, but days are easier to compare.
    for (names, each) in UNITS.iter().skip(2) {
        if left >= *each {
            parts.push(format!("{}{}", left / each, names[0]));
            left %= each;
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_understood() {
        for (text, seconds, shown) in [
            ("30d", 30 * DAY, "30d"),
            ("1d 12h", 36 * 3600, "1d 12h"),
            ("1d12h", 36 * 3600, "1d 12h"),
            ("90 min", 5400, "1h 30min"),
            ("2 weeks", 14 * DAY, "14d"),
            ("1y", 365 * DAY, "365d"),
            ("45", 45, "45s"),
            (" 0 ", 0, "0s"),
        ] {
            let span = parse(text).expect(text);
            assert_eq!((span.as_secs(), show(span).as_str()), (seconds, shown), "{text}");
            assert_eq!(parse(&show(span)), Some(span));
        }
    }

    #[test]
    fn other_texts_mean_nothing() {
        for text in
            ["", "d", "-1d", "1.5h", "3 parsecs", "5 6", "1h 30", "99999999999999999999s", "1d,2h"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
