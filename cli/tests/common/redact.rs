//! Makes output the same in each run.

use regex::Regex;

/// Replaces what differs from run to run, and the lines of source
/// code that an edit of the target moves.
pub fn redact(text: &str) -> String {
    let rules = [
        (r"pid \d+", "pid PID"),
        (r"rtops (leaks|stack) \d+", "rtops $1 PID"),
        (r"(task|span) \d+ ", "$1 ID "),
        (
            r"\d[\d.]* ?(ns|µs|ms|s)( … \d[\d.]* ?(ns|µs|ms|s))?\b",
            "TIME",
        ),
        (r"(\.rs):\d+(:\d+)?", "$1:LINE"),
        (r"\{async block\}:\d+", "{async block}:LINE"),
        (r"\b([a-z][a-z_-]*)-\d+\.\d+\.\d+", "$1-VERSION"),
        (r"(\S) {2,}(\S+LINE)", "$1  $2"),
    ];
    rules.iter().fold(text.to_owned(), |text, (pattern, with)| {
        Regex::new(pattern)
            .unwrap()
            .replace_all(&text, *with)
            .into_owned()
    })
}
