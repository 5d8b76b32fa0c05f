//! Symbols that are read in a process of their own.
//!
//! It is confined (`rtops_confined`): what becomes of it costs names only.
//!
//! All that is to be looked up is asked in one go (`message`). The answers are not trusted either: they are
//! bounded in number and length, and text that comes from there is escaped where it is shown, as all is.

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

/// What the program is asked with to read symbols.
const ARGUMENT: &str = "--rtops-symbols-reader";

/// The process that reads symbols, and what it may use.
#[derive(Clone, Debug)]
pub struct ChildOptions {
    /// The program to start, which begins with [`run_if_asked`].
    pub program: PathBuf,
    /// How long all of one question may take.
    pub timeout: Duration,
    /// How much address space it may have, in bytes.
    pub memory: u64,
    /// Where the caches of the user are; none if nothing is to be kept.
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
    /// Prepares to look up addresses in these modules, whose files another process reads. Where that fails,
    /// [`Symbols::lacks`] has one sentence about it.
    #[must_use]
    pub fn in_child(modules: Vec<Module>, options: Options, process: ReaderProcess) -> Self {
        Self::read_by(modules, Box::new(client::Client::new(options, process)))
    }
}

/// Becomes the process that reads symbols, if this one was started as such: then it does not return. The
/// program that [`ChildOptions::program`] names calls this before anything else, while it has one thread and no open
/// files.
pub fn run_if_asked() {
    if rtops_confined::is_asked(ARGUMENT) {
        // Who asked sees that it has ended; there is nobody else to tell.
        let code = i32::from(serve::run().is_err());
        std::process::exit(code);
    }
}
