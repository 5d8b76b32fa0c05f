//! `rtops stack` of several processes at once.

use serde_json::Value;

use crate::support::{Build, Target, eventually};

/// Starts two targets whose sockets are in one directory.
fn two() -> (Target, Target) {
    let first = Target::start(Build::Dev, &["herd", "3"]);
    let second = first.start_beside(Build::Dev, &["wakerless"]);
    (first, second)
}

fn heading(target: &Target) -> String {
    format!("targets (pid {}):", target.pid)
}

/// Returns the first line of each section.
fn headings(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| line.contains(" (pid "));
    lines
        .map(|line| line.split_inclusive(':').next().unwrap())
        .collect()
}

#[test]
fn each_has_a_section_in_the_order_of_the_command_line() {
    let (first, second) = two();
    let pids = [&second, &first].map(|target| target.pid.to_string());
    let arguments = [
        "stack",
        &pids[0],
        &pids[1],
        &pids[0],
        "--tasks",
        "--timeout=60s",
    ];
    let text = first.rtops(&arguments).success().stdout;
    assert_eq!(headings(&text), [heading(&second), heading(&first)]);
    let (of_second, of_first) = text.split_once(&heading(&first)).unwrap();
    assert!(of_first.contains("rtops_testbed::herd::waits"), "{text}");
    assert!(!of_second.contains("rtops_testbed::herd::"), "{text}");
}

#[test]
fn all_agents_are_those_of_the_list() {
    let (first, mut second) = two();
    let all = |json: &str| {
        let arguments = ["stack", "--all-agents", "--threads", "--timeout=60s"];
        let document = first.rtops(&[&arguments[..], &[json]].concat()).success();
        document.json::<Value>()
    };
    let document = all("--json");
    let pids: Vec<_> = document["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| process["process"]["pid"].as_i64().unwrap())
        .collect();
    let mut expected = [first.pid, second.pid].map(i64::from);
    expected.sort_unstable();
    assert_eq!(pids, expected);
    second.signal(nix::sys::signal::Signal::SIGKILL);
    second.wait();
    eventually("the other one is alone", || {
        all("--json")["processes"].as_array().unwrap().len() == 1
    });
}

#[test]
fn one_that_fails_does_not_hide_the_others() {
    let (first, second) = two();
    let own = std::process::id().to_string();
    let pids = [&first, &second].map(|target| target.pid.to_string());
    let arguments = [
        "stack",
        &pids[0],
        &own,
        &pids[1],
        "--tasks",
        "--attach=never",
        "--timeout=60s",
    ];
    let run = first.rtops(&arguments);
    assert_eq!(run.code, Some(6), "{run}");
    assert_eq!(headings(&run.stdout), [heading(&first), heading(&second)]);
    assert!(
        run.stdout.contains(&format!("\n{own}: not shown: ")),
        "{run}"
    );
    assert!(
        run.stderr
            .starts_with("rtops: 1 of 3 processes could not be"),
        "{run}"
    );
    assert!(run.stderr.contains("has no rtops agent"), "{run}");

    let run = first.rtops(&[&arguments[..], &["--json"]].concat());
    let document: Value = run.json();
    let failed = &document["processes"][1];
    assert_eq!(
        (failed["target"].as_str(), failed["exit_code"].as_i64()),
        (Some(&*own), Some(4))
    );
    assert_eq!(document["processes"][2]["complete"], true, "{run}");
}

#[test]
fn where_all_fail_alike_the_exit_code_is_theirs() {
    let target = Target::start(Build::Dev, &["herd", "1"]);
    let run = target.rtops(&["stack", "no-such-name", "nor-this-one"]);
    assert_eq!(run.code, Some(3), "{run}");
    let pid = target.pid.to_string();
    let run = target.rtops(&["stack", &pid, "no-such-name", "--save=x"]);
    assert_eq!(run.code, Some(2), "{run}");
}

#[test]
fn without_any_agent_there_is_nothing_to_show() {
    let directory = tempfile::tempdir().unwrap();
    let run = crate::support::rtops(Some(directory.path()), &["stack", "--all-agents"]);
    assert_eq!(run.code, Some(4), "{run}");
    assert!(run.stdout.is_empty(), "{run}");
}
