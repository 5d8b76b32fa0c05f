//! Wraps prose at the width of the terminal.

use std::io::{self, Write};

use crate::style::{Paint, Style};

/// The minimum width of a line.
const LEAST: usize = 16;

/// The units of times.
const UNITS: [&str; 4] = ["s", "ms", "µs", "ns"];

/// A piece of prose in one colour.
pub type Part<'a> = (Option<Paint>, &'a str);

/// Writes prose wrapped between words, with `first` before the first line and `others` before the
/// rest. If the width is unknown, it is a single line.
///
/// # Errors
/// If the writer fails.
pub fn write(
    writer: &mut impl Write,
    style: Style,
    (first, others): (&str, &str),
    parts: &[Part],
) -> io::Result<()> {
    let mut indent = first;
    for line in lines(style.width, first, others, parts) {
        write!(writer, "{indent}")?;
        for (index, (paint, text)) in line.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            let text = style.prose(text);
            match paint {
                Some(paint) => write!(writer, "{gap}{}", style.paint(*paint, text))?,
                None => write!(writer, "{gap}{text}")?,
            }
        }
        writeln!(writer)?;
        indent = others;
    }
    Ok(())
}

/// Returns the lines, each as pieces of one colour. A word that is too long gets its own line.
fn lines(
    width: Option<usize>,
    first: &str,
    others: &str,
    parts: &[Part],
) -> Vec<Vec<(Option<Paint>, String)>> {
    let mut lines: Vec<Vec<(Option<Paint>, String)>> = Vec::new();
    let mut used = 0;
    for (paint, text) in parts {
        for (index, word) in words(text).into_iter().enumerate() {
            let length = word.chars().count();
            let indent = if lines.len() > 1 { others } else { first };
            let room = width.map(|width| width.saturating_sub(indent.chars().count()).max(LEAST));
            let fits = room.is_none_or(|room| used + 1 + length <= room);
            match lines.last_mut() {
                Some(line) if fits => {
                    match line.last_mut() {
                        // Words of one part share a piece.
                        Some((_, text)) if index > 0 => {
                            text.push(' ');
                            text.push_str(&word);
                        }
                        _ => line.push((*paint, word)),
                    }
                    used += 1 + length;
                }
                _ => {
                    lines.push(vec![(*paint, word)]);
                    used = length;
                }
            }
        }
    }
    lines
}

/// Splits a text into words; a number stays with its unit, and a place with the `at` before it.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let unit = word.trim_end_matches(|character: char| ",;:.])".contains(character));
        let belongs = |before: &String| {
            let is_number = before.ends_with(|character: char| character.is_ascii_digit());
            before == "at" || before == "…" || (is_number && UNITS.contains(&unit))
        };
        match words.last_mut().filter(|before| belongs(before)) {
            Some(before) => {
                before.push(' ');
                before.push_str(word);
            }
            None => words.push(word.to_owned()),
        }
    }
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wrapped(width: Option<usize>, parts: &[Part]) -> String {
        let mut text = Vec::new();
        let style = Style::new(false, width);
        write(&mut text, style, ("  ", "      "), parts).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_break_between_words() {
        let parts: [Part; 2] = [
            (None, "12 tasks shop::cart::checkout"),
            (Some(Paint::Warning), "[mutex lock, 7m]"),
        ];
        let whole = "  12 tasks shop::cart::checkout [mutex lock, 7m]\n";
        assert_eq!(wrapped(None, &parts), whole);
        assert_eq!(wrapped(Some(80), &parts), whole);
        assert_eq!(
            wrapped(Some(38), &parts),
            "  12 tasks shop::cart::checkout [mutex\n      lock, 7m]\n"
        );
        let time: [Part; 1] = [(None, "1 task [never, 2.0 s], held at src/main.rs:7")];
        assert_eq!(
            wrapped(Some(20), &time),
            "  1 task [never,\n      2.0 s], held\n      at src/main.rs:7\n"
        );
        // A word is never broken.
        assert_eq!(
            wrapped(Some(10), &parts),
            "  12 tasks\n      shop::cart::checkout\n      [mutex lock, 7m]\n"
        );
    }
}
