//! Formats durations, sizes and counts for people.

use std::{collections::HashMap, hash::Hash, time::Duration};

const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// Formats a duration in its two largest units: `350 ms`, `4.2 s`, `2m 10s`, `3d 4h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{} ms", duration.as_millis());
    }
    if seconds < 10 {
        return format!("{}.{} s", seconds, duration.subsec_millis() / 100);
    }
    if seconds < 60 {
        return format!("{seconds} s");
    }
    let mut parts = Vec::with_capacity(2);
    let mut rest = seconds;
    for (size, unit) in UNITS {
        if rest >= size || !parts.is_empty() {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
        if parts.len() == 2 {
            break;
        }
    }
    parts.join(" ")
}

/// Formats a number of nanoseconds as a duration.
pub fn nanoseconds(nanoseconds: u64) -> String {
    duration(Duration::from_nanos(nanoseconds))
}

/// Formats bytes in the largest decimal unit that leaves at least one whole: `84 MB`, `1.2 GB`.
pub fn bytes(bytes: u64) -> String {
    let mut unit = 1_u64;
    let mut names = ["B", "kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut name = names.next().unwrap_or_default();
    while bytes / unit >= 1000 {
        let Some(larger) = names.next() else { break };
        unit *= 1000;
        name = larger;
    }
    let whole = bytes / unit;
    if whole < 10 && unit > 1 {
        return format!("{whole}.{} {name}", bytes % unit / (unit / 10));
    }
    format!("{whole} {name}")
}

/// Formats a share of one processor as `top` does: `3.1%`, `212%`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 99.95 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// Returns a count with its noun: `1 task`, `12 tasks`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Returns a count with its noun and verb: `1 task is`, `12 tasks are`.
pub fn is(number: usize, noun: &str) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", count(number, noun))
}

/// Returns the first `most` of some things, and `2 more nouns` for the others.
pub fn first<T>(most: usize, all: &[T], noun: &str, shown: impl Fn(&T) -> String) -> Vec<String> {
    let mut parts: Vec<String> = all.iter().take(most).map(shown).collect();
    if all.len() > most {
        parts.push(count(all.len() - most, &format!("more {noun}")));
    }
    parts
}

/// Sums the counts of equal things and returns them, largest sum first.
pub fn commonest<T: Eq + Hash + Ord>(counted: impl Iterator<Item = (T, usize)>) -> Vec<(T, usize)> {
    let mut sums: HashMap<T, usize> = HashMap::new();
    for (what, count) in counted {
        *sums.entry(what).or_default() += count;
    }
    let mut sums: Vec<(T, usize)> = sums.into_iter().collect();
    sums.sort_unstable_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
    sums
}

/// Joins parts as `a, b and c`.
pub fn list(mut parts: Vec<String>) -> String {
    let last = parts.pop().unwrap_or_default();
    match parts.as_slice() {
        [] => last,
        parts => format!("{} and {last}", parts.join(", ")),
    }
}

/// Parses `5m`, `1h30m`, `250ms`, `2d` or a plain number of seconds.
///
/// # Errors
/// If the text is not such a duration; the error is a sentence for the user.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 500ms, 30s, 5m, 1h30m or 2d");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(milliseconds).ok_or_else(wrong)?;
        total = total
            .checked_add(Duration::from_millis(part))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Ok(total)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_two_units() {
        for (milliseconds, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (4_250, "4.2 s"),
            (42_900, "42 s"),
            (60_000, "1m 0s"),
            (130_000, "2m 10s"),
            (11_040_000, "3h 4m"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), shown);
        }
        assert_eq!(nanoseconds(u64::MAX), "213503d 23h");
    }

    #[test]
    fn sizes_are_decimal() {
        for (size, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (84_300_000, "84 MB"),
            (1_260_000_000, "1.2 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(size), shown);
        }
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(percent(0.031), "3.1%");
        assert_eq!(percent(2.124), "212%");
        assert_eq!(percent(0.9999), "100%");
    }

    #[test]
    fn durations_are_read() {
        for (text, milliseconds) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("2d", 172_800_000),
            ("90", 90_000),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(
                parse_duration(text).unwrap(),
                Duration::from_millis(milliseconds)
            );
        }
        for text in [
            "",
            "m",
            "5x",
            "1h30",
            "-5s",
            "99999999999999999999s",
            "1.5s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
