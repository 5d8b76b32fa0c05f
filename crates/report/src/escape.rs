//! Makes text from other processes harmless for a terminal.

use std::borrow::Cow;

/// Makes everything visible in a text that a terminal would act on or hide: control characters (C0,
/// DEL, C1), line separators, and characters that reorder text or take no space.
///
/// All text that rtops did not write itself goes through here before it is printed.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            hidden if is_hidden(hidden) => escaped.extend(hidden.escape_unicode()),
            plain => escaped.push(plain),
        }
    }
    Cow::Owned(escaped)
}

/// Escapes the same characters in a line of JSON in JSON's own way, so that a document is harmless
/// on a terminal and still means the same.
pub fn escape_json(line: &str) -> Cow<'_, str> {
    if !line.chars().any(is_hidden) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 8);
    for character in line.chars() {
        if is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str("\\u");
                let digits = [12, 8, 4, 0].map(|shift| u32::from(*unit >> shift & 0xf));
                escaped.extend(digits.into_iter().filter_map(|d| char::from_digit(d, 16)));
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::{escape, escape_json};

    #[test]
    fn harmless_text_is_left_alone() {
        for text in ["", "gateway", "größe ✓ 日本", "a\\b"] {
            assert_eq!(escape(text), text);
        }
    }

    #[test]
    fn what_a_terminal_acts_on_is_made_visible() {
        for (hostile, shown) in [
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{7f}\0\u{7}", "\\u{7f}\\u{0}\\u{7}"),
            ("user\u{202e}toor", "user\\u{202e}toor"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{2028}", "\\u{2028}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(escape(hostile), shown);
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let hostile = "a\u{9b}2J\u{202e}\u{7f}\u{e0041}z";
        let line = format!("{{\"name\": \"{hostile}\"}}");
        let escaped = escape_json(&line);
        assert!(escaped.is_ascii() && !escaped.contains('\u{7f}'));
        let parsed: serde_json::Value = serde_json::from_str(&escaped).unwrap_or_default();
        assert_eq!(parsed["name"], hostile);
    }

    #[test]
    fn no_control_character_is_let_through() {
        for character in (0..=0x10_ffff).filter_map(char::from_u32) {
            let text = character.to_string();
            assert!(
                !escape(&text).chars().any(char::is_control),
                "{character:?}"
            );
        }
    }
}
