//! Programs whose addresses are looked up, and the process that does it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use object::{Object, ObjectSection, ObjectSymbol};
use rtops_symbols::{
    Address, LookedUp, Module, ModuleKind, Options, Symbols,
    child::{ChildOptions, ReaderProcess},
};
use tempfile::TempDir;

/// How long to wait for what happens at once.
pub const SOON: Duration = Duration::from_secs(60);

/// A program that reads symbols, at a path that distinguishes it from those of other tests.
pub struct Reader {
    pub directory: TempDir,
}

impl Reader {
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // Another process copies it: a file that a child of this test has
        // open for writing can't be executed.
        let mut copy = Command::new("cp");
        copy.arg(env!("CARGO_BIN_EXE_rtops"))
            .arg(directory.path().join("rtops"));
        assert!(copy.status().unwrap().success());
        Self { directory }
    }

    /// Creates a reader that is a shell script instead.
    pub fn script(text: &str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let written = directory.path().join("text");
        fs::write(&written, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mut install = Command::new("install");
        install
            .arg("-m755")
            .arg(written)
            .arg(directory.path().join("rtops"));
        assert!(install.status().unwrap().success());
        Self { directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("rtops")
    }

    pub fn options(&self) -> ChildOptions {
        ChildOptions {
            program: self.path(),
            timeout: SOON,
            ..ChildOptions::default()
        }
    }

    /// Returns the process id, if the process exists.
    pub fn process(&self) -> Option<i32> {
        let path = self.path();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_it = |pid: &i32| {
            let exe = fs::read_link(format!("/proc/{pid}/exe"));
            let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline"));
            // The command that started it is the same program.
            exe.is_ok_and(|exe| exe == path)
                && arguments.is_ok_and(|arguments| arguments.contains("-reader"))
        };
        pids.find(is_it)
    }

    /// Sends the process a signal as soon as it exists.
    pub fn signal(&self, signal: Signal) {
        let pid = wait_for(|| self.process());
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

pub fn wait_for<T>(what: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(1));
    }
}

/// A program that need not run, and some of its addresses.
pub struct Program {
    pub module: Module,
    pub options: Options,
    pub addresses: Vec<Address>,
    pub polls: Vec<u64>,
}

impl Program {
    pub fn of(path: &Path, most: usize) -> Self {
        let file = fs::read(path).unwrap();
        let elf = object::File::parse(&*file).unwrap();
        let code = elf.section_by_name(".text").unwrap();
        let code = code.address()..code.address() + code.size();
        let functions = elf
            .symbols()
            .filter(|symbol| code.contains(&symbol.address()));
        let functions: BTreeSet<u64> = functions.map(|symbol| symbol.address()).collect();
        let step = functions.len().div_ceil(most);
        let polls = elf.symbols().filter(|symbol| {
            symbol
                .name()
                .is_ok_and(|name| name.contains("7runtime4task3raw4poll"))
        });
        Self {
            addresses: functions
                .iter()
                .step_by(step)
                .map(|address| Address::ReturnAddress(address + 9))
                .collect(),
            polls: polls.map(|symbol| symbol.address()).take(20).collect(),
            options: Options {
                pid: None,
                symbol_dirs: vec![path.parent().unwrap().to_owned()],
                ..Options::default()
            },
            module: Module {
                path: path.to_str().unwrap().to_owned(),
                build_id: elf.build_id().unwrap().unwrap().to_vec(),
                load_bias: 0,
                code,
                kind: ModuleKind::MainExecutable,
            },
        }
    }

    pub fn look_up(&self, symbols: &mut Symbols) -> LookedUp {
        symbols.look_up(self.addresses.iter().copied(), self.polls.iter().copied())
    }

    pub fn read_by(&self, child: ChildOptions) -> Symbols {
        let process = ReaderProcess::start(child);
        Symbols::in_child(vec![self.module.clone()], self.options.clone(), process)
    }
}
