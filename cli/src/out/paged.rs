//! Text for standard output that is shown in a pager if it is longer than the terminal.

use std::io::{self, Stdout, Write};

use rtops_attach::Yielding;
use rtops_report::escape::escape;

use super::{
    pager::{self, Pager},
    terminal::{self, Size},
};

/// Text that is held back until it is known where it will be shown.
#[derive(Debug)]
pub struct Paged {
    shown: Shown,
    /// Ends before a pager starts, which would otherwise yield forever.
    yielding: Option<Yielding>,
}

#[derive(Debug)]
enum Shown {
    /// Nowhere yet: so far it fits on the terminal.
    Held {
        text: Vec<u8>,
        size: Size,
        command: Vec<String>,
    },
    Plain(Stdout),
    Pager(Pager),
}

impl Paged {
    /// Begins a text. Without a terminal, it is written as it comes.
    pub fn begin(yielding: Option<Yielding>) -> Self {
        let shown = match (terminal::size(), pager::command()) {
            (Some(size), Some(command)) => Shown::Held {
                text: Vec::new(),
                size,
                command,
            },
            _ => Shown::Plain(io::stdout()),
        };
        Self { shown, yielding }
    }

    /// Shows what is still held back, and waits until the user has left the pager.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub fn finish(self) -> io::Result<()> {
        match self.shown {
            Shown::Held { text, .. } => io::stdout().write_all(&text)?,
            Shown::Pager(pager) => drop(pager),
            Shown::Plain(_) => {}
        }
        io::stdout().flush()
    }
}

impl Write for Paged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (text, command) = match &mut self.shown {
            Shown::Plain(stdout) => return stdout.write(bytes),
            Shown::Pager(pager) => return pager.write(bytes),
            Shown::Held {
                text,
                size,
                command,
            } => {
                text.extend_from_slice(bytes);
                if terminal::rows(&String::from_utf8_lossy(text), *size) < usize::from(size.rows) {
                    return Ok(bytes.len());
                }
                (text, command)
            }
        };
        drop(self.yielding.take());
        let shown = Pager::start(command).map_or_else(
            |error| {
                let name = escape(command.first().map_or("", String::as_str));
                // If standard error is closed too, nobody is left to tell.
                drop(writeln!(
                    io::stderr(),
                    "rtops: can't start the pager {name}: {error}; set RTOPS_PAGER to another, or use --no-pager"
                ));
                Shown::Plain(io::stdout())
            },
            Shown::Pager,
        );
        let held = std::mem::take(text);
        self.shown = shown;
        self.write_all(&held)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.shown {
            Shown::Plain(stdout) => stdout.flush(),
            // A pager reads when the user asks for more.
            Shown::Held { .. } | Shown::Pager(_) => Ok(()),
        }
    }
}
