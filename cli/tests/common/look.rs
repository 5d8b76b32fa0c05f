//! Looks from outside at live processes, with or without an agent.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    reply::Stack,
    support::{Run, rtops},
};

/// Runs `rtops COMMAND PID`.
pub fn look(command: &[&str], pid: i32, arguments: &[&str]) -> Run {
    let pid = pid.to_string();
    rtops(
        None,
        &[command, &[&pid, "--timeout=60s"], arguments].concat(),
    )
}

pub fn stack(pid: i32, arguments: &[&str]) -> Stack {
    let run = look(&["stack", "--json"], pid, arguments).success();
    let stack: Stack = run.json();
    let Some(outside) = &stack.outside else {
        panic!("its agent was asked: {run}");
    };
    assert!(outside.pause_ms > 0.0, "{run}");
    assert_eq!(outside.read_standing, None, "{run}");
    stack
}

/// Returns what a look may not change: files, mappings, threads, signals.
pub fn state(pid: i32) -> BTreeMap<&'static str, String> {
    let directory = Path::new("/proc").join(pid.to_string());
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let names = |folder: &str| {
        let entries = fs::read_dir(directory.join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names.join(" ")
    };
    let status = read("status");
    let fixed = [
        "State",
        "TracerPid",
        "Threads",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
    ];
    let status = status
        .lines()
        .filter(|line| fixed.iter().any(|name| line.starts_with(name)));
    BTreeMap::from([
        ("status", status.collect::<Vec<_>>().join("\n")),
        ("maps", read("maps")),
        ("fd", names("fd")),
        ("task", names("task")),
        ("children", read(&format!("task/{pid}/children"))),
    ])
}
