//! A copy of the process, whatever is polled in it, changes nothing in the process itself, and does not
//! outlive the dump that it was made for.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use nix::sys::signal::Signal;
use tempfile::{TempDir, tempdir, tempdir_in};

use crate::{
    reply::Stack,
    source::Marks,
    support::{Build, DEADLINE, Target, eventually},
};

/// What a poll in the copy does, each in a target of its own.
const HOSTILE: &[&str] = &[
    "abort",
    "close",
    "command",
    "endless",
    "exit",
    "fork",
    "kill-group",
    "kill-original",
    "kill-self",
    "lock",
    "null",
    "overwrite",
    "panic",
    "pipe",
    "receive",
    "recursion",
    "remove",
    "send",
    "shared",
    "shutdown",
    "sleep",
    "stdout",
    "thread",
    "trap",
    "unmap",
];

/// How many connections ask for echoes, all the time.
const CLIENTS: usize = 4;

#[test]
fn dumps_under_load_change_nothing_in_a_release_build() {
    expect_nothing_changes(Build::Release, 8);
}

#[test]
fn dumps_under_load_change_nothing_with_jemalloc() {
    expect_nothing_changes(Build::Jemalloc, 2);
}

fn expect_nothing_changes(build: Build, dumps: usize) {
    let watched = Watched::start(build, "all");
    let load = Load::start(&watched.target);
    load.expect_progress();
    // What a first dump leaves behind is there for the ones that come: an allocator's memory.
    watched.dump();
    watched.expect_no_copy();
    let before = watched.facts();
    for _ in 0..dumps {
        expect_neighbours(&watched.dump());
        watched.expect_no_copy();
        load.expect_progress();
        watched.target.expect_progress();
        watched.expect(&before);
    }
    watched.expect_pokes_to_be_counted(before);
    assert!(load.stop() > 0);
    assert_eq!(watched.target.log(), "");
}

#[test]
fn no_hostile_poll_reaches_the_process() {
    for kind in HOSTILE {
        let watched = Watched::start(Build::Release, kind);
        watched.dump();
        let before = watched.facts();
        expect_neighbours(&watched.dump());
        watched.expect_no_copy();
        watched.target.expect_progress();
        watched.expect(&before);
        assert_eq!(watched.target.log(), "", "{kind}");
    }
}

#[test]
fn children_of_the_process_itself_end_as_they_did() {
    let watched = Watched::start(Build::Release, "all");
    let mut ended = 0;
    for _ in 0..2 {
        let mut dump = watched.start_dump();
        // At least one, and as many as there is time for.
        loop {
            assert_eq!(watched.target.command("child"), "exit status: 7");
            ended += 1;
            if dump.try_wait().unwrap().is_some() {
                break;
            }
        }
        watched.expect_no_copy();
    }
    let state = watched.state();
    assert_eq!((state["children"], state["signals"]), (ended, ended));
}

#[test]
fn a_copy_is_gone_soon_after_its_process() {
    for kind in ["none", "endless", "sleep"] {
        let mut watched = Watched::start(Build::Release, kind);
        let mut dump = watched.dump_in_the_middle();
        watched.target.signal(Signal::SIGKILL);
        watched.target.wait();
        eventually("the copy is gone, too", || watched.copies().is_empty());
        eventually("the client notices", || dump.try_wait().unwrap().is_some());
    }
}

#[test]
fn a_copy_is_gone_soon_after_the_client_for_whom_it_was_made() {
    for kind in ["none", "endless", "sleep"] {
        let watched = Watched::start(Build::Release, kind);
        watched.dump();
        let before = watched.facts();
        let mut dump = watched.dump_in_the_middle();
        dump.kill().unwrap();
        dump.wait().unwrap();
        eventually("the copy is gone, too", || watched.copies().is_empty());
        watched.expect(&before);
        expect_neighbours(&watched.dump());
        watched.target.expect_progress();
    }
}

/// What waits beside hostile tasks is found, and that there was a copy is said.
fn expect_neighbours(stack: &Stack) {
    let marks = Marks::read();
    for name in ["untouched-beside", "untouched-accept"] {
        assert!(
            stack.has_task_at(marks.of(name)),
            "{name}: {:#?}",
            stack.task_groups()
        );
    }
    let copy = stack.copy.as_ref();
    let times = copy.and_then(|copy| copy.pause_ms.zip(copy.lived_ms));
    assert!(times.is_some(), "{copy:?}");
}

/// A target whose program has a path of its own, by which its copies are found.
struct Watched {
    target: Target,
    program: PathBuf,
    _programs: TempDir,
}

/// What nobody but the target itself may change.
#[derive(Debug, Eq, PartialEq)]
struct Facts {
    state: BTreeMap<String, u64>,
    descriptors: BTreeMap<String, String>,
    mappings: Vec<String>,
}

impl Watched {
    fn start(build: Build, kind: &str) -> Self {
        // A link: of a copy, a child that another test forks could hold the descriptor that wrote it.
        let programs = tempdir_in(build.path().parent().unwrap()).unwrap();
        let program = programs.path().join("watched");
        fs::hard_link(build.path(), &program).unwrap();
        let directory = Arc::new(tempdir().unwrap());
        Self {
            target: Target::start_in(directory, &program, &["untouched", kind]),
            program,
            _programs: programs,
        }
    }

    fn dump(&self) -> Stack {
        self.target.stack(&["--tasks", "--copy=always"])
    }

    fn start_dump(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_rtops"))
            .args(["stack", &self.target.pid.to_string()])
            .args(["--tasks", "--copy=always"])
            .env_clear()
            .env("RTOPS_DIR", self.target.directory())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// A dump that goes on, and whose copy is alive.
    fn dump_in_the_middle(&self) -> Child {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let mut dump = self.start_dump();
            while dump.try_wait().unwrap().is_none() {
                if !self.copies().is_empty() {
                    return dump;
                }
            }
        }
        panic!("no dump has made a copy");
    }

    /// Processes that run the program or are children of the target, with their states.
    fn copies(&self) -> Vec<String> {
        let processes = procfs::process::all_processes().unwrap();
        let others = processes.flatten();
        let others = others.filter(|process| process.pid() != self.target.pid);
        let copies = others.filter_map(|process| {
            let stat = process.stat().ok()?;
            let runs_it = process.exe().is_ok_and(|program| program == self.program);
            let is_copy = runs_it || stat.ppid == self.target.pid;
            is_copy.then(|| format!("{} {} {}", stat.pid, stat.comm, stat.state))
        });
        copies.collect()
    }

    #[track_caller]
    fn expect_no_copy(&self) {
        assert_eq!(self.copies(), [""; 0]);
    }

    fn state(&self) -> BTreeMap<String, u64> {
        let state = self.target.command("state");
        let pairs = state
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
        pairs.collect()
    }

    fn facts(&self) -> Facts {
        Facts {
            state: self.state(),
            descriptors: self.descriptors(),
            mappings: self.mappings(),
        }
    }

    fn descriptors(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.target.pid)).unwrap();
        let links = entries.flatten().filter_map(|entry| {
            // The agent may be about to close the client's.
            let link = fs::read_link(entry.path()).ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Some((name, link.to_string_lossy().into_owned()))
        });
        links.collect()
    }

    /// All mappings but the private memory that allocators and threads come and go with.
    fn mappings(&self) -> Vec<String> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.target.pid)).unwrap();
        let stays = |line: &&str| {
            let mut fields = line.split_whitespace();
            let permissions = fields.nth(1).unwrap();
            let name = fields.nth(3).unwrap_or_default();
            permissions.contains(['s', 'x']) || name.starts_with('/')
        };
        maps.lines().filter(stays).map(str::to_owned).collect()
    }

    /// Panics unless all is as it was, once the agent has closed the client's connection.
    #[track_caller]
    fn expect(&self, before: &Facts) {
        let end = Instant::now() + DEADLINE;
        while self.facts() != *before && Instant::now() < end {
            thread::yield_now();
        }
        assert_eq!(self.facts(), *before);
    }

    /// Panics unless the process's own polls are counted as they were, here and in shared memory.
    fn expect_pokes_to_be_counted(&self, before: Facts) {
        let count = before.state["polls"];
        assert_eq!(before.state["shared"], count);
        assert_eq!(self.target.command("poke"), "poked");
        eventually("all tasks were polled once", || {
            self.state()["polls"] == 2 * count
        });
        let mut after = before;
        after.state.insert("polls".to_owned(), 2 * count);
        after.state.insert("shared".to_owned(), 2 * count);
        self.expect(&after);
    }
}

/// Clients that send and get back all the time, each over a connection of its own.
struct Load {
    stopped: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<io::Result<()>>>,
}

impl Load {
    fn start(target: &Target) -> Self {
        let port: u16 = target.command("port").parse().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS).map(|_| {
            let (stopped, answered) = (Arc::clone(&stopped), Arc::clone(&answered));
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            thread::spawn(move || {
                while !stopped.load(SeqCst) {
                    ask(&mut stream, answered.fetch_add(1, SeqCst))?;
                }
                Ok(())
            })
        });
        Self {
            clients: clients.collect(),
            stopped,
            answered,
        }
    }

    /// Waits until each client may have been answered.
    fn expect_progress(&self) {
        let before = self.answered.load(SeqCst);
        eventually("requests are answered", || {
            self.answered.load(SeqCst) > before + 2 * CLIENTS as u64
        });
    }

    /// Panics if a request was lost or its answer wrong; returns how many there were.
    fn stop(self) -> u64 {
        self.stopped.store(true, SeqCst);
        for client in self.clients {
            client.join().unwrap().unwrap();
        }
        self.answered.load(SeqCst)
    }
}

/// One request of 64 bytes, whose answer is the same.
fn ask(stream: &mut TcpStream, number: u64) -> io::Result<()> {
    let request: Vec<u8> = (number..number + 8).flat_map(u64::to_be_bytes).collect();
    stream.write_all(&request)?;
    let mut answer = [0; 64];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer[..], request[..]);
    Ok(())
}
