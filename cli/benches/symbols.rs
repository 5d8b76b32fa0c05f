//! The time and memory it takes to name functions and lines: of a small service, and of a
//! program with over 200 MB of debug info.
//!
//! `cargo bench -p rtops --bench symbols` prints, for each of the two: the median time of
//! `rtops stack` without a cache, with an empty one and with one that an earlier look has filled;
//! the peak memory in each case, including the process that reads symbols; the time of
//! `addr2line` for the same addresses; and ratios.
//!
//! `RTOPS_BEFORE` names a directory with an `rtops` of an earlier revision. Then the same is
//! printed for that, with the ratio of the current second look to its; all in turn, in one run.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/e2e/build.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod build;
#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod common;
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod measure;

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::support::{Build, Target};
use measure::median;
use rtops_protocol::{ModuleKind, Reply};
use rtops_report::dump::{self, Dump};
use tempfile::TempDir;

const RTOPS: &str = env!("CARGO_BIN_EXE_rtops");
const RUNS: usize = 9;
/// This many modules have more than 200 MB of debug info.
const MODULES: usize = 430;
/// A thread waits in this many of them.
const THREADS: usize = 64;

fn main() {
    let before =
        env::var_os("RTOPS_BEFORE").map(|directory| PathBuf::from(directory).join("rtops"));
    println!(
        "                  no cache        first look      second look     second/first  addr2line  first/addr2line"
    );
    // Without an agent: the current one may not speak with an earlier command.
    let mut small = Command::new(Build::Release.path());
    small.arg("joins");
    let small = Target::without_agent(small);
    small.ready();
    measure("small", small.pid, before.as_deref());
    let large = Large::start();
    measure("large", large.pid(), before.as_deref());
}

/// A way to look at a process.
struct Look<'a> {
    program: &'a Path,
    pid: i32,
    caches: &'a Path,
    arguments: &'a [&'a str],
}

impl Look<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env_clear().env("XDG_CACHE_HOME", self.caches);
        command.args([
            "stack",
            &self.pid.to_string(),
            "--max-pause=10s",
            "--timeout=60s",
        ]);
        command.args(self.arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn time(&self) -> Duration {
        let begin = Instant::now();
        let status = self.command().status().unwrap();
        let time = begin.elapsed();
        assert!(status.success(), "{status}");
        time
    }

    /// Returns the sum of the peak memory of the command and of the processes that it started, each
    /// at its own time, in MiB. Not measured while time is taken.
    fn memory(&self) -> u64 {
        let mut command = self.command().spawn().unwrap();
        let pid = command.id();
        let mut peaks = BTreeMap::new();
        while command.try_wait().unwrap().is_none() {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
            for process in [pid].into_iter().chain(children) {
                let status = fs::read_to_string(format!("/proc/{process}/status"));
                let status = status.unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let peak = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                let known: &mut u64 = peaks.entry(process).or_default();
                *known = peak.unwrap_or(0).max(*known);
            }
            thread::sleep(Duration::from_micros(500));
        }
        peaks.values().sum::<u64>() >> 10
    }
}

fn measure(name: &str, pid: i32, before: Option<&Path>) {
    let caches = TempDir::new().unwrap();
    let look = |arguments| Look {
        program: Path::new(RTOPS),
        pid,
        caches: caches.path(),
        arguments,
    };
    let (without, with) = (look(&["--no-cache"]), look(&[]));
    let earlier = before.map(|program| Look {
        program,
        ..look(&[])
    });
    let clear = || drop(fs::remove_dir_all(caches.path().join("rtops")));
    let addresses = Addresses::of(&with);
    let (mut none, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
    let (mut others, mut befores) = (Vec::new(), Vec::new());
    without.time();
    // In turn, so that other work on the machine affects all sides.
    for _ in 0..RUNS {
        none.push(without.time());
        clear();
        first.push(with.time());
        second.push(with.time());
        others.push(addresses.time());
        befores.extend(earlier.as_ref().map(Look::time));
    }
    let memory_without = without.memory();
    clear();
    let memory = [with.memory(), with.memory()];
    let (none, first, second) = (median(none), median(first), median(second));
    let others = median(others);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!(
        "{name:8} {none:>8.1?} {memory_without:>4} MiB {first:>8.1?} {:>4} MiB {second:>8.1?} {:>4} MiB  {:12.2}  {others:>9.1?}  {:15.2}",
        memory[0],
        memory[1],
        ratio(second, first),
        ratio(first, others),
    );
    if let Some(earlier) = earlier {
        let before = median(befores);
        println!(
            "  before {before:>8.1?} {:>4} MiB; second/before {:.2}, first/before {:.2}",
            earlier.memory(),
            ratio(second, before),
            ratio(first, before),
        );
    }
}

/// What `addr2line` is asked: the addresses in the program itself, each once.
struct Addresses {
    program: PathBuf,
    list: Vec<u8>,
}

impl Addresses {
    fn of(look: &Look<'_>) -> Self {
        let saved = look.caches.join("dump");
        let mut command = look.command();
        command
            .arg("--save")
            .arg(&saved)
            .arg("-o")
            .arg(look.caches.join("text"));
        command.status().unwrap();
        let mut file = BufReader::new(File::open(&saved).unwrap());
        let dump = Dump::receive(|| Reply::receive(&mut file)).ok().unwrap();
        let mut modules = dump.modules.iter();
        let program = modules.find(|module| module.kind == ModuleKind::MainExecutable);
        let program = program.unwrap();
        let leaves = dump.threads.iter().filter_map(dump::leaf_of);
        let leaves = leaves.chain(dump.tasks.iter().flat_map(|task| task.leaves.clone()));
        let stacks = leaves.flat_map(|leaf| dump.stack(leaf.stack).iter().copied());
        let visits = dump.traces.iter().flat_map(|trace| &trace.visits);
        let addresses = stacks.chain(visits.map(|visit| visit.ip));
        let mut addresses: Vec<u64> = addresses
            .filter(|address| program.code.contains(address))
            .map(|address| address - program.load_bias)
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut list = String::new();
        for address in &addresses {
            writeln!(list, "{address:#x}").unwrap();
        }
        eprintln!("{} addresses of {}", addresses.len(), program.path);
        Self {
            program: program.path.clone().into(),
            list: list.into_bytes(),
        }
    }

    fn time(&self) -> Duration {
        let begin = Instant::now();
        let mut command = Command::new("addr2line");
        command.args(["-f", "-i", "-C", "-e"]).arg(&self.program);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&self.list).unwrap();
        assert!(child.wait().unwrap().success());
        begin.elapsed()
    }
}

/// A program with a lot of debug info, whose threads wait.
struct Large(Child);

impl Large {
    fn start() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large");
        let program = directory.join("large");
        let source = source();
        let written = directory.join("large.rs");
        // Building it takes a minute.
        if !program.exists() || fs::read_to_string(&written).ok().as_deref() != Some(&source) {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&written, source).unwrap();
            let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
            rustc.args([
                "--edition=2024",
                "-Cdebuginfo=full",
                "-Ccodegen-units=32",
                "--cap-lints=allow",
            ]);
            rustc.args(["-Clink-arg=-Wl,--build-id", "-o"]);
            rustc.arg(&program).arg(&written);
            assert!(rustc.status().unwrap().success());
        }
        let mut child = Command::new(program)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Returns modules that use std's collections with their own types: code and debug info for each.
fn source() -> String {
    let mut source = String::new();
    for number in 0..MODULES {
        source += &MODULE.replace("NUMBER", &number.to_string());
    }
    source += "fn main() {\n    let works: &[fn(u64) -> usize] = &[";
    for number in 0..MODULES {
        write!(source, "m{number}::work, ").unwrap();
    }
    write!(source, "];{MAIN}").unwrap();
    source.replace("THREADS", &THREADS.to_string())
}

const MODULE: &str = r#"
mod mNUMBER {
    use std::collections::{BTreeMap, HashMap};
    #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct OrderNUMBER { a: u64, b: Option<String>, c: Vec<u8> }
    #[derive(Clone, Debug)]
    pub enum AllNUMBER { One(OrderNUMBER), Two(HashMap<OrderNUMBER, u32>), Three(BTreeMap<OrderNUMBER, Vec<OrderNUMBER>>) }
    pub fn work(n: u64) -> usize {
        let order = |a: u64| OrderNUMBER { a, b: Some(a.to_string()), c: vec![1; 3] };
        let mut all: Vec<OrderNUMBER> = (0..n).map(order).collect();
        all.sort();
        let counted: HashMap<OrderNUMBER, u32> = all.iter().cloned().map(|order| (order, 1)).collect();
        let mut sorted: BTreeMap<OrderNUMBER, Vec<OrderNUMBER>> = BTreeMap::new();
        for order in &all { sorted.entry(order.clone()).or_default().push(order.clone()); }
        let all = [AllNUMBER::One(all[0].clone()), AllNUMBER::Two(counted), AllNUMBER::Three(sorted)];
        all.iter().for_each(|_| crate::wait());
        format!("{all:?}").len()
    }
}
"#;

const MAIN: &str = r#"
    for work in works.iter().take(THREADS) { std::thread::spawn(move || work(2)); }
    while WAITING.load(std::sync::atomic::Ordering::Relaxed) < THREADS { std::thread::yield_now(); }
    println!("ready");
    wait();
}
static WAITING: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
fn wait() {
    WAITING.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    loop { std::thread::park(); }
}
"#;
