//! The process that reads symbols: it reports what the files contain,
//! and if it fails, only names are lost.
#![allow(clippy::unwrap_used)]

#[path = "common/symbols.rs"]
#[allow(dead_code, reason = "some of it is for the other tests")]
mod symbols;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, dup},
};
use rtops_protocol::{End, Reply, Saved, Stacks, Thread};
use rtops_report::dump::fixtures::{self, on};
use rtops_symbols::{Address, Function, LackReason, Symbols, child::ChildOptions};
use symbols::{Program, Reader, SOON, wait_for};

fn rtops() -> Program {
    Program::of(Path::new(env!("CARGO_BIN_EXE_rtops")), 2000)
}

/// Returns the only lack that is reported; no name is found.
fn lack(program: &Program, symbols: &mut Symbols) -> String {
    let looked_up = program.look_up(symbols);
    assert_eq!(looked_up.resolved.len(), program.addresses.len());
    for resolved in looked_up.resolved.values() {
        let function = &resolved.frames[0].function;
        assert!(
            matches!(function, Function::ModuleOffset { .. }),
            "{function:?}"
        );
    }
    // The process is not started again, and the lack is not reported twice.
    program.look_up(symbols);
    let lacks = symbols.lacks();
    let [lack] = lacks.as_slice() else {
        panic!("{lacks:?}");
    };
    assert!(matches!(lack.reason, LackReason::Unread(_)), "{lack:?}");
    lack.to_string()
}

#[test]
fn what_it_tells_is_what_is_read_here() {
    let program = rtops();
    let mut here = Symbols::new(vec![program.module.clone()], program.options.clone());
    let expected = program.look_up(&mut here);
    let named = expected
        .resolved
        .values()
        .filter(|resolved| matches!(resolved.frames[0].function, Function::Named(_)));
    assert!(named.count() > 1000);
    assert!(!expected.pollers.is_empty());

    let reader = Reader::new();
    let mut there = program.read_by(reader.options());
    let told = program.look_up(&mut there);
    assert_eq!(told.resolved, expected.resolved);
    assert_eq!(told.pollers, expected.pollers);
    assert_eq!(there.lacks(), here.lacks());
    assert_eq!(there.segments(), here.segments());
    assert_eq!(there.source_directories(), here.source_directories());
    // The process answers as often as it is asked, and ends when nobody can ask it any more.
    let again = there.look_up([program.addresses[7]], []);
    assert_eq!(
        again.resolved[&program.addresses[7]],
        expected.resolved[&program.addresses[7]]
    );
    assert!(reader.process().is_some());
    drop(there);
    assert_eq!(reader.process(), None);
}

#[test]
fn it_has_no_more_rights_memory_or_files_than_it_needs() {
    let program = rtops();
    let reader = Reader::new();
    let file = reader.directory.path().join("left open");
    // Unlike a descriptor opened by std, this one is not closed by an exec.
    let left_open = dup(fs::File::create(&file).unwrap()).unwrap();
    let mut symbols = program.read_by(reader.options());
    symbols.resolve(&program.addresses);
    let pid = reader.process().unwrap();
    drop(left_open);
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(read("oom_score_adj").trim(), "1000");
    assert!(read("status").contains("NoNewPrivs:\t1\n"));
    let limits = read("limits");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let first = line.unwrap().split_whitespace().next().unwrap();
        first.parse::<u64>().unwrap()
    };
    assert_eq!(limit("Max address space"), reader.options().memory);
    assert_eq!(limit("Max cpu time"), SOON.as_secs() + 1);
    assert_eq!(limit("Max core file size"), 0);
    assert!(!read("environ").contains("PATH="));
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<PathBuf> = open
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!open.contains(&file), "{open:?}");
}

#[test]
fn one_that_is_killed_in_the_middle_costs_names() {
    let program = rtops();
    let reader = Reader::new();
    let mut symbols = program.read_by(reader.options());
    let lack = thread::scope(|scope| {
        scope.spawn(|| reader.signal(Signal::SIGKILL));
        lack(&program, &mut symbols)
    });
    assert!(
        lack.contains("was killed (SIGKILL); what it had not told has no names"),
        "{lack}"
    );
}

#[test]
fn one_that_hangs_is_given_up_and_ended() {
    let program = rtops();
    let reader = Reader::new();
    let timeout = Duration::from_secs(3);
    let mut symbols = program.read_by(ChildOptions {
        timeout,
        ..reader.options()
    });
    let begin = Instant::now();
    let lack = thread::scope(|scope| {
        scope.spawn(|| reader.signal(Signal::SIGSTOP));
        lack(&program, &mut symbols)
    });
    assert!(
        lack.contains("was not done within 3s; try a longer --timeout"),
        "{lack}"
    );
    assert!(begin.elapsed() >= timeout);
    assert_eq!(reader.process(), None);
}

#[test]
fn one_that_runs_out_of_memory_costs_names() {
    let program = rtops();
    let reader = Reader::new();
    let lack = lack(
        &program,
        &mut program.read_by(ChildOptions {
            memory: 1 << 20,
            ..reader.options()
        }),
    );
    assert!(lack.contains("ran out of memory or stack"), "{lack}");
}

#[test]
fn one_that_tells_nonsense_costs_names() {
    let program = rtops();
    for (script, expected) in [
        (
            "echo nonsense, as long as a header >&0; exec sleep 1000",
            "makes no sense",
        ),
        ("exit 0", "ended early"),
        ("kill -SEGV $$", "crashed (SIGSEGV)"),
    ] {
        let reader = Reader::script(script);
        let lack = lack(&program, &mut program.read_by(reader.options()));
        assert!(lack.contains(expected), "{lack}");
    }
    let directory = tempfile::tempdir().unwrap();
    let none = ChildOptions {
        program: directory.path().join("none"),
        ..ChildOptions::default()
    };
    let lack = lack(&program, &mut program.read_by(none));
    assert!(lack.contains("could not be started"), "{lack}");
}

/// Returns the number of bytes that the process has read so far.
fn bytes_read(pid: i32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn what_was_looked_up_before_is_not_read_again() {
    let reader = Reader::new();
    // Other tests do not change this file.
    let program = Program::of(&reader.path(), 2000);
    let caches = tempfile::tempdir().unwrap();
    let look = |addresses: &[Address]| {
        let mut symbols = program.read_by(ChildOptions {
            cache: Some(caches.path().to_owned()),
            ..reader.options()
        });
        let found = symbols.look_up(addresses.iter().copied(), program.polls.iter().copied());
        let read = bytes_read(reader.process().unwrap());
        let told = (
            found.resolved,
            found.pollers,
            symbols.segments(),
            symbols.lacks(),
        );
        (told, read)
    };
    let (first, some) = (&program.addresses, &program.addresses[..1000]);
    let (expected, all) = look(first);
    let (again, cached) = look(first);
    assert_eq!(again, expected);
    assert!(cached < all / 10, "{cached} of {all} bytes");
    // Only addresses not asked for before are looked up: their unit is
    // read; the list of units is cached.
    let one = Address::InstructionPointer(program.addresses[3].get() + 1);
    let (more, read) = look(&[first.as_slice(), &[one]].concat());
    assert_eq!(more.0.len(), expected.0.len() + 1);
    let mut here = Symbols::new(vec![program.module.clone()], program.options.clone());
    assert_eq!(more.0[&one], here.resolve(&[one])[&one]);
    assert!(cached < read && read < all / 2, "{read} of {all} bytes");
    let (less, cached) = look(some);
    assert_eq!(less.0[&some[7]], expected.0[&some[7]]);
    assert!(cached < all / 10, "{cached} of {all} bytes");

    // A damaged cache costs time only.
    for entry in fs::read_dir(caches.path().join("rtops")).unwrap().flatten() {
        let mut bytes = fs::read(entry.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(entry.path(), bytes).unwrap();
    }
    let (again, read) = look(first);
    assert_eq!(again, expected);
    assert!(read > all / 10, "{read} of {all} bytes");
    let (again, cached) = look(first);
    assert_eq!(again, expected);
    assert!(cached < all / 10, "{cached} of {all} bytes");
}

/// Starts `rtops stack` on a saved dump and waits for the process that reads its symbols.
fn show(reader: &Reader) -> (Child, i32) {
    let program = rtops();
    let dump = reader.directory.path().join("dump");
    save(&program, &dump);
    let mut command = Command::new(reader.path());
    command.args(["stack", "--all-frames", "--timeout=60s", "--from"]);
    command
        .arg(&dump)
        .arg("--symbols")
        .arg(&program.options.symbol_dirs[0]);
    command
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let command = command.spawn().unwrap();
    (command, wait_for(|| reader.process()))
}

#[test]
fn a_command_goes_on_without_it_and_says_so_once() {
    let reader = Reader::new();
    let (command, pid) = show(&reader);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let output = command.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let expected =
        "more could be shown: rtops: the process that reads debug info was killed (SIGKILL)";
    assert_eq!(text.matches(expected).count(), 1, "{text}");
    assert!(text.contains(" rtops+0x"), "{text}");
}

#[test]
fn it_does_not_outlive_a_command_that_is_killed() {
    let reader = Reader::new();
    let (mut command, _) = show(&reader);
    command.kill().unwrap();
    command.wait().unwrap();
    wait_for(|| reader.process().is_none().then_some(()));
}

/// Saves a dump of a thread whose stack has the addresses of a program.
fn save(program: &Program, path: &Path) {
    let addresses = program.addresses.iter().map(|address| address.get());
    let replies = [
        Reply::Saved(Saved {
            taken: 1,
            host: "host".to_owned(),
            pid: rtops_symbols::Pid::new(1),
            inner_pid: 1,
            start_time: None,
            agent_version: None,
            rtops_version: "0.1.0".to_owned(),
        }),
        Reply::Modules(vec![program.module.clone()]),
        Reply::Stacks(Stacks(vec![addresses.collect()])),
        Reply::Threads(vec![Thread {
            state: Some('S'),
            syscall: None,
            ..fixtures::thread(1, Some("thread"), on(0))
        }]),
        Reply::End(End { gaps: Vec::new() }),
    ];
    let mut file = fs::File::create(path).unwrap();
    for reply in replies {
        reply.send(&mut file).unwrap();
    }
}
