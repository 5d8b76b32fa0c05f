//! Processes to write cores of, and the cores.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod forged;
pub mod live;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tempfile::TempDir;

/// A program compiled from `victim.c` or another source, in its own directory.
pub struct Program {
    pub dir: PathBuf,
    pub path: PathBuf,
    /// Removes the directory when dropped.
    owned: Option<TempDir>,
}

impl Program {
    /// Compiles `victim.c` with these flags.
    pub fn build(flags: &[&str]) -> Self {
        Self::build_of("victim.c", flags)
    }

    /// Compiles another source.
    pub fn build_of(source: &str, flags: &[&str]) -> Self {
        let owned = tempfile::tempdir().expect("a directory");
        let mut program = Self::build_in(owned.path(), source, flags);
        program.owned = Some(owned);
        program
    }

    /// Compiles `victim.c` in a directory that stays until the next run,
    /// for programs that are never dropped.
    pub fn keep(name: &str, flags: &[&str]) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).expect("that of the last run");
        }
        fs::create_dir_all(&dir).expect("a directory");
        Self::build_in(&dir, "victim.c", flags)
    }

    fn build_in(dir: &Path, source: &str, flags: &[&str]) -> Self {
        let path = dir.join("victim");
        compile_of(source, &path, flags);
        Self {
            dir: dir.to_owned(),
            path,
            owned: None,
        }
    }

    /// Starts it and waits until it has filled its memory.
    pub fn start(&self) -> Victim {
        self.start_with(&[])
    }

    /// Starts it with more arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Victim {
        let mapped = self.dir.join("mapped");
        fs::write(&mapped, vec![b'm'; 8192]).expect("a file to map");
        let mut child = Command::new(&self.path)
            .arg(&mapped)
            .args(arguments)
            // Otherwise the kernel would write the number of the processor
            // into each thread's memory.
            .env("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let output = child.stdout.take().expect("its output");
        let mut victim = Victim {
            dir: self.dir.clone(),
            child,
            places: HashMap::new(),
        };
        for line in BufReader::new(output).lines() {
            let line = line.expect("its output");
            if line == "ready" {
                break;
            }
            let words: Vec<_> = line.split(' ').collect();
            let [name, start, size] = words.as_slice() else {
                panic!("not a place: {line}");
            };
            let start = u64::from_str_radix(start.trim_start_matches("0x"), 16);
            let start = start.expect("an address");
            let size: u64 = size.parse().expect("a size");
            victim
                .places
                .insert((*name).to_owned(), start..start + size);
        }
        victim
    }
}

/// Compiles `victim.c`.
pub fn compile(to: &Path, flags: &[&str]) {
    compile_of("victim.c", to, flags);
}

/// Compiles one of the sources.
pub fn compile_of(source: &str, to: &Path, flags: &[&str]) {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let source = programs.join(source);
    let status = Command::new("cc")
        .args(["-O1", "-pthread"])
        .arg(source)
        .args(flags)
        .arg("-o")
        .arg(to)
        .status()
        .expect("these tests need a C compiler: install gcc");
    assert!(status.success(), "cc {flags:?} failed");
}

/// The running program.
pub struct Victim {
    dir: PathBuf,
    pub child: Child,
    /// The ranges that it filled, by name.
    pub places: HashMap<String, Range<u64>>,
}

impl Victim {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub fn place(&self, name: &str) -> Range<u64> {
        self.places
            .get(name)
            .unwrap_or_else(|| panic!("no place {name}"))
            .clone()
    }

    pub fn set_filter(&self, filter: u32) {
        let path = format!("/proc/{}/coredump_filter", self.pid());
        fs::write(path, format!("{filter:#x}")).expect("a filter");
    }

    /// Lets it die on its own: by `abort()`, or of a write to an unmapped address.
    pub fn die(mut self, order: char) -> Option<PathBuf> {
        let mut input = self.child.stdin.take().expect("its input");
        write!(input, "{order}").expect("it reads");
        self.child.wait().expect("it ends");
        self.core()
    }

    /// Stops it until it is dropped.
    pub fn freeze(&self) {
        let pid = Pid::from_raw(self.pid());
        kill(pid, Signal::SIGSTOP).expect("a child");
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("it stops");
        assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    }

    /// Stops all threads; the main one when it is about to die of a signal.
    pub fn stop(&mut self, signal: Signal) -> Stopped<'_> {
        let mut tids = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads") {
            let name = entry.expect("a thread").file_name();
            tids.push(Pid::from_raw(
                name.to_str().expect("a number").parse().expect("a number"),
            ));
        }
        for tid in &tids {
            ptrace::seize(*tid, ptrace::Options::empty()).expect("the right to trace a child");
            ptrace::interrupt(*tid).expect("it is traced");
            let stopped = waitpid(*tid, Some(WaitPidFlag::__WALL)).expect("it stops");
            assert!(
                matches!(stopped, WaitStatus::PtraceEvent(..)),
                "{stopped:?}"
            );
        }
        let main = Pid::from_raw(self.pid());
        kill(main, signal).expect("a child");
        ptrace::cont(main, None).expect("it is stopped");
        let stopped = waitpid(main, Some(WaitPidFlag::__WALL)).expect("it stops");
        assert!(
            matches!(stopped, WaitStatus::Stopped(_, got) if got == signal),
            "{stopped:?}"
        );
        Stopped {
            victim: self,
            tids,
            signal,
        }
    }

    /// Makes gdb write a core of it.
    pub fn gcore(&self) -> PathBuf {
        let prefix = self.dir.join("gcore");
        let output = Command::new("gcore")
            .arg("-o")
            .arg(&prefix)
            .arg(self.pid().to_string())
            .stdin(Stdio::null())
            .output()
            .expect("these tests need gcore: install gdb");
        let core = self.dir.join(format!("gcore.{}", self.pid()));
        assert!(core.exists(), "gcore failed: {output:?}");
        core
    }

    /// Returns the core that the kernel wrote when it died; `None` if the kernel does not put cores
    /// into the directory of the process, which only the administrator can change.
    fn core(&self) -> Option<PathBuf> {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("Linux");
        let pattern = pattern.trim();
        if pattern.starts_with(['|', '/', '@']) {
            return None;
        }
        let found = fs::read_dir(&self.dir)
            .expect("its directory")
            .find_map(|entry| {
                let path = entry.expect("a file").path();
                let mut head = [0; 18];
                File::open(&path).ok()?.read_exact_at(&mut head, 0).ok()?;
                // A core that the kernel wrote, not gdb.
                let is_core = head.starts_with(b"\x7fELF") && head[16..] == [4, 0];
                let is_gdb = path.file_name()?.to_str()?.starts_with("gcore");
                (is_core && !is_gdb).then_some(path)
            });
        assert!(
            found.is_some(),
            "no core in {}, pattern {pattern}",
            self.dir.display()
        );
        found
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A program whose threads are all stopped.
pub struct Stopped<'a> {
    victim: &'a mut Victim,
    pub tids: Vec<Pid>,
    signal: Signal,
}

impl Stopped<'_> {
    pub fn registers(&self, tid: Pid) -> nix::libc::user_regs_struct {
        ptrace::getregs(tid).expect("it is stopped")
    }

    pub fn maps(&self) -> Vec<Map> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.victim.pid()));
        maps.expect("its mappings")
            .lines()
            .map(Map::parse)
            .collect()
    }

    /// Reads a range; `None` if not even the kernel can.
    pub fn read(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let memory = File::open(format!("/proc/{}/mem", self.victim.pid())).expect("its memory");
        let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("small")];
        memory.read_exact_at(&mut bytes, range.start).ok()?;
        Some(bytes)
    }

    /// Lets the main thread die of its signal, which ends the others where they are.
    pub fn die(self) -> Option<PathBuf> {
        let main = Pid::from_raw(self.victim.pid());
        ptrace::cont(main, self.signal).expect("it is stopped");
        // The tracer reaps a traced thread; the main one comes last.
        for tid in self.tids.iter().rev() {
            while !matches!(
                waitpid(*tid, Some(WaitPidFlag::__WALL)),
                Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) | Err(_)
            ) {}
        }
        self.victim.core()
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // Only the tracer can reap a traced thread. It may have ended.
        for tid in &self.tids {
            ptrace::detach(*tid, None).ok();
        }
    }
}

/// A line of `/proc/PID/maps`.
#[derive(Clone, Debug)]
pub struct Map {
    pub range: Range<u64>,
    pub access: String,
    pub offset: u64,
    pub path: String,
}

impl Map {
    pub fn is_file(&self) -> bool {
        self.path.starts_with('/')
    }

    fn parse(line: &str) -> Self {
        let mut words = line.split_ascii_whitespace();
        let range = words.next().expect("a range");
        let (start, end) = range.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        Self {
            range: number(start)..number(end),
            access: words.next().expect("access").to_owned(),
            offset: number(words.next().expect("an offset")),
            path: words.skip(2).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Reports that a test can't run here.
pub fn no_kernel_core() {
    let text = "skipped: kernel.core_pattern does not put cores into the directory of the process; \
                set it to `core` to run this test\n";
    std::io::stderr()
        .write_all(text.as_bytes())
        .expect("standard error");
}
