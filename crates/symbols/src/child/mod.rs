//! Reads symbols in a separate process.
//!
//! The process is confined (`rtops_confined`): whatever happens to it costs only names.
//!
//! All questions are sent at once (`message`). The answers are not trusted either: their
//! number and length are bounded, and their text is escaped where it is shown, like all text.

mod client;
mod message;
mod serve;
mod take;
mod tell;

use std::{path::PathBuf, time::Duration};

use rtops_protocol::Module;

use crate::{Options, Symbols};
pub use client::ReaderProcess;
pub(crate) use message::Question;
pub(crate) use take::Answers;
pub(crate) use tell::Teller;

/// The argument that makes the program read symbols.
const ARGUMENT: &str = "--rtops-symbols-reader";

/// The process that reads symbols, and what it may use.
#[derive(Clone, Debug)]
pub struct ChildOptions {
    /// The program to start; it must begin with [`run_if_asked`].
    pub program: PathBuf,
    /// How long all questions together may take.
    pub timeout: Duration,
    /// How much address space it may use, in bytes.
    pub memory: u64,
    /// The user's cache directory; `None` if nothing is to be kept.
    pub cache: Option<PathBuf>,
}

impl Default for ChildOptions {
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            timeout: Duration::from_secs(10),
            memory: 2 << 30,
            cache: None,
        }
    }
}

impl Symbols {
    /// Prepares to look up addresses in these modules, whose files another process reads. If
    /// that fails, [`Symbols::lacks`] has one sentence about it.
    #[must_use]
    pub fn in_child(modules: Vec<Module>, options: Options, process: ReaderProcess) -> Self {
        Self::read_by(modules, Box::new(client::Client::new(options, process)))
    }
}

/// Becomes the process that reads symbols, if this process was started as one; then it does
/// not return. The program that [`ChildOptions::program`] names calls this before anything
/// else, while it has one thread and no open files.
pub fn run_if_asked() {
    if rtops_confined::is_asked(ARGUMENT) {
        // The asking process sees that this one has ended; there is nobody else to tell.
        let code = i32::from(serve::run().is_err());
        std::process::exit(code);
    }
}
