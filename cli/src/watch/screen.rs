//! A picture on a terminal that is redrawn in place. What was on the terminal
//! before stays, and so does the last picture.
//!
//! Nothing about the terminal is changed that would have to be restored: the cursor stays visible
//! and rests below the picture, so that Ctrl-C may end rtops at any time.

use std::io::{self, Write};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::out::terminal::{Size, visible};

/// Signals that would end or stop rtops in the middle of a picture.
const ENDING: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTSTP,
];

/// The place where the picture is drawn.
#[derive(Debug, Default)]
pub struct Screen {
    /// How many columns each line of the last picture takes.
    drawn: Vec<usize>,
}

impl Screen {
    /// Draws the picture in place of the last one, cut to fit.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub fn draw(&mut self, writer: &mut impl Write, size: Size, picture: &str) -> io::Result<()> {
        let frame = self.frame(size, picture)?;
        let _whole = Uninterrupted::begin();
        writer.write_all(&frame)?;
        writer.flush()
    }

    /// Makes the next picture start below, as something else was written since the last one.
    pub fn leave(&mut self) {
        self.drawn.clear();
    }

    /// Returns the picture and the cursor movements in one piece, so that nobody sees half of it.
    fn frame(&mut self, size: Size, picture: &str) -> io::Result<Vec<u8>> {
        let mut frame = vec![b'\r'];
        match self.rows_above(size) {
            0 => {}
            rows => write!(frame, "\x1b[{rows}A")?,
        }
        let lines: Vec<&str> = picture.lines().collect();
        // The cursor needs a row of its own, or the terminal scrolls.
        let room = usize::from(size.rows).saturating_sub(1).max(1);
        let shown = if lines.len() > room { room - 1 } else { room };
        self.drawn.clear();
        for line in lines.iter().take(shown) {
            self.line(&mut frame, size, line)?;
        }
        if lines.len() > room {
            let hidden = lines.len() - shown;
            self.line(&mut frame, size, &format!("({hidden} more lines)"))?;
        }
        frame.extend(b"\x1b[J");
        Ok(frame)
    }

    fn line(&mut self, frame: &mut Vec<u8>, size: Size, line: &str) -> io::Result<()> {
        let columns = usize::from(size.columns);
        let (cut, width) = cut(line, columns);
        self.drawn.push(width);
        let colour_ends = if cut.len() < line.len() {
            "\x1b[0m"
        } else {
            ""
        };
        // In the last column, the cursor is still on what was written there.
        let erase = if width < columns { "\x1b[K" } else { "" };
        writeln!(frame, "{cut}{colour_ends}{erase}")
    }

    /// Returns the number of rows from the first line of the last picture to the cursor. On a
    /// terminal that was made narrower, a line takes several.
    fn rows_above(&self, size: Size) -> usize {
        let columns = usize::from(size.columns).max(1);
        let rows = self
            .drawn
            .iter()
            .map(|width| width.div_ceil(columns).max(1));
        rows.sum::<usize>()
            .min(usize::from(size.rows).saturating_sub(1))
    }
}

/// Returns the start of a line that fits into this many columns, and how many it takes.
fn cut(line: &str, columns: usize) -> (&str, usize) {
    let mut width = 0;
    for (at, of_character) in visible(line) {
        let next = width + of_character;
        if next > columns {
            return (line.get(..at).unwrap_or_default(), width);
        }
        width = next;
    }
    (line, width)
}

/// Delays signals that end rtops for as long as it exists.
struct Uninterrupted {
    before: Option<SigSet>,
}

impl Uninterrupted {
    fn begin() -> Self {
        let signals: SigSet = ENDING.into_iter().collect();
        Self {
            before: signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok(),
        }
    }
}

impl Drop for Uninterrupted {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // This fails only for a wrong `how`.
            before.thread_set_mask().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Size = Size {
        columns: 10,
        rows: 5,
    };

    fn frame(screen: &mut Screen, size: Size, picture: &str) -> String {
        let frame = screen.frame(size, picture).unwrap_or_default();
        String::from_utf8_lossy(&frame).into_owned()
    }

    #[test]
    fn a_picture_takes_the_place_of_the_last_one() {
        let mut screen = Screen::default();
        let first = frame(&mut screen, WIDE, "one\ntwo\n");
        assert_eq!(first, "\rone\x1b[K\ntwo\x1b[K\n\x1b[J");
        let second = frame(&mut screen, WIDE, "three\n");
        assert_eq!(second, "\r\x1b[2Athree\x1b[K\n\x1b[J");
        screen.leave();
        assert_eq!(frame(&mut screen, WIDE, "4\n"), "\r4\x1b[K\n\x1b[J");
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let mut screen = Screen::default();
        let shown = frame(&mut screen, WIDE, "0123456789abc\n1\n2\n3\n4\n");
        let lines = "\r0123456789\x1b[0m\n1\x1b[K\n2\x1b[K\n(2 more li\x1b[0m\n\x1b[J";
        assert_eq!(shown, lines);
        let narrow = Size {
            columns: 4,
            rows: 20,
        };
        // The two full lines take three rows each now.
        assert!(frame(&mut screen, narrow, "").starts_with("\r\x1b[8A"));
    }

    #[test]
    fn colour_and_wide_characters_are_measured() {
        assert_eq!(cut("\x1b[1mab\x1b[0mc", 2), ("\x1b[1mab\x1b[0m", 2));
        assert_eq!(cut("日本語", 5), ("日本", 4));
    }
}
