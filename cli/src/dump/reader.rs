//! The process that reads symbols, from before there is a dump until its names are looked up.

use std::{collections::HashMap, fs::File, sync::Arc, time::Duration};

use rtops_image::Image;
use rtops_report::frames::Shown;
use rtops_symbols::{
    ModuleKind, Options, Pid, Symbols,
    cache::user_directory,
    child::{ChildOptions, ReaderProcess},
};

use super::{Taken, image::files};
use crate::args::SymbolArgs;

/// A process that reads symbols, and where it looks for them.
#[derive(Debug)]
pub struct SymbolReader<'a> {
    args: &'a SymbolArgs,
    shown: Shown,
    process: ReaderProcess,
}

impl<'a> SymbolReader<'a> {
    /// Starts the process; `timeout` covers everything that it is asked.
    pub fn start(args: &'a SymbolArgs, timeout: Duration, shown: Shown) -> Self {
        let process = ReaderProcess::start(ChildOptions {
            timeout,
            cache: user_directory().filter(|_| !args.no_cache),
            ..ChildOptions::default()
        });
        Self {
            args,
            shown,
            process,
        }
    }

    /// Makes it read what it needs of the program of an image, while other work goes on.
    pub fn prepare(&self, pid: Option<Pid>, image: &impl Image) {
        let mut modules = image.modules().iter();
        let program = modules.find(|module| module.kind == ModuleKind::MainExecutable);
        if let Some(program) = program {
            let options = self.options(pid, files(image));
            self.process.prepare(&options, &program.module());
        }
    }

    /// Returns the symbols of a process, or those found for a saved dump.
    pub fn symbols(self, taken: &Taken) -> Symbols {
        let pid = taken.is_live.then_some(taken.pid);
        let options = self.options(pid, taken.files.clone());
        Symbols::in_child(taken.dump.modules.clone(), options, self.process)
    }

    fn options(&self, pid: Option<Pid>, files: HashMap<String, Arc<File>>) -> Options {
        Options {
            pid,
            symbol_dirs: self.args.directories.clone(),
            files,
            c_library_lines: self.shown == Shown::All,
        }
    }
}
