//! The appearance of output, colour and width, decided once and passed down.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

/// What the writers need to know about the destination of the output.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// Whether colour escape sequences are written.
    color: bool,
    /// The columns of the terminal; `None` if nothing may be cut.
    pub width: Option<usize>,
    /// The link targets of places in the source, on a terminal that shows links.
    links: Option<&'a dyn Links>,
}

/// Finds link targets for places in the source.
pub trait Links: fmt::Debug {
    /// Returns the address for a place as shown, `file:line:column`; `None` if there is none. It is
    /// written unchanged, so it must not contain control characters.
    fn address(&self, place: &str) -> Option<String>;
}

/// The role of a piece of text, which determines its colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Paint {
    /// The first line of a section.
    Heading,
    /// A place in the source or another side remark.
    Faint,
    /// Something that deserves a look.
    Warning,
}

impl Style<'static> {
    /// No colour and no width, as for files and pipes.
    pub const PLAIN: Self = Self::new(false, None);

    /// Creates a style with or without colour, for this width, without links.
    #[must_use]
    pub const fn new(color: bool, width: Option<usize>) -> Self {
        Self {
            color,
            width,
            links: None,
        }
    }
}

impl<'a> Style<'a> {
    /// Returns the same style with these links, if any.
    #[must_use]
    pub const fn with_links(self, links: Option<&'a dyn Links>) -> Self {
        Self { links, ..self }
    }

    /// Whether escape sequences may be written.
    #[must_use]
    pub const fn has_color(self) -> bool {
        self.color
    }

    /// Returns the text in its colour.
    pub fn paint<T: Display>(self, paint: Paint, text: T) -> impl Display {
        Painted {
            paint: self.color.then_some(paint),
            text,
        }
    }

    /// Returns a place in the source as shown, `file:line:column`, as a link if it has an address.
    pub fn place(self, place: &str) -> impl Display {
        self.linked(place, self.paint(Paint::Faint, place))
    }

    /// Returns prose in which words that are places are links.
    pub fn prose<'t>(self, text: &'t str) -> Cow<'t, str> {
        if self.links.is_none() {
            return Cow::Borrowed(text);
        }
        let words = text.split(' ').map(|word| {
            let place = word.trim_matches(['(', ')', '[', ']', ',', ';', ':', '.']);
            word.replacen(place, &self.linked(place, place), 1)
        });
        Cow::Owned(words.collect::<Vec<_>>().join(" "))
    }

    fn linked(self, place: &str, shown: impl Display) -> String {
        match self.links.and_then(|links| links.address(place)) {
            Some(address) => format!("\x1b]8;;{address}\x1b\\{shown}\x1b]8;;\x1b\\"),
            None => shown.to_string(),
        }
    }
}

struct Painted<T> {
    paint: Option<Paint>,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.paint {
            None => return self.text.fmt(f),
            Some(Paint::Heading) => 1,
            Some(Paint::Faint) => 2,
            Some(Paint::Warning) => 33,
        };
        write!(f, "\x1b[{code}m{}\x1b[0m", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct ToMain;

    impl Links for ToMain {
        fn address(&self, place: &str) -> Option<String> {
            let (file, line) = place.split_once(':')?;
            (file == "src/main.rs").then(|| format!("file:///srv/src/main.rs#{line}"))
        }
    }

    #[test]
    fn a_place_is_a_link_where_it_leads_somewhere() {
        let shown = |style: Style, place: &str| style.place(place).to_string();
        let style = Style::new(true, None);
        assert_eq!(shown(style, "src/main.rs:3"), "\x1b[2msrc/main.rs:3\x1b[0m");
        let style = style.with_links(Some(&ToMain));
        assert_eq!(
            shown(style, "src/main.rs:3"),
            "\x1b]8;;file:///srv/src/main.rs#3\x1b\\\x1b[2msrc/main.rs:3\x1b[0m\x1b]8;;\x1b\\"
        );
        assert_eq!(shown(style, "lib.rs:3"), "\x1b[2mlib.rs:3\x1b[0m");
        assert_eq!(
            style.prose("held (at src/main.rs:3, since 3 s) : lib.rs:3"),
            "held (at \x1b]8;;file:///srv/src/main.rs#3\x1b\\src/main.rs:3\x1b]8;;\x1b\\, since 3 s) : lib.rs:3"
        );
    }
}
