//! `rtops leaks` prints findings, leaves them out, and fails because of them.

use std::{fs, sync::Arc};

use tempfile::tempdir;

use crate::{
    reply::{Finding, Leaks},
    support::{Build, Run, Target, eventually},
};

const ONE_LOOK: &[&str] = &["--for", "0", "--min-age", "1s"];

fn start(case: &str) -> Target {
    Target::start_in(Arc::new(tempdir().unwrap()), Build::gallery(), &[case])
}

fn run(target: &Target, arguments: &[&str]) -> Run {
    let pid = target.pid.to_string();
    target.rtops(&[&["leaks", &pid, "--timeout=60s"], arguments].concat())
}

fn leaks(target: &Target, arguments: &[&str]) -> Leaks {
    let run = run(target, &[arguments, &["--json"]].concat());
    run.json()
}

/// Looks until the finding appears.
fn find(target: &Target, evidence: &str, arguments: &[&str]) -> Finding {
    let mut found = None;
    eventually("the leak is found", || {
        let findings = leaks(target, arguments).findings.into_iter();
        found = findings.into_iter().find(|one| one.evidence == evidence);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn findings_are_an_error_where_that_is_wanted() {
    let target = start("nil-channel");
    find(&target, "proven", ONE_LOOK);
    run(&target, ONE_LOOK).success();
    let failed = run(&target, &[ONE_LOOK, &["--fail"]].concat()).exits(10);
    assert!(failed.stdout.starts_with("gallery (pid "), "{failed}");
    assert!(failed.stderr.contains("1 finding, shown above"), "{failed}");
}

#[test]
fn a_hint_is_no_failure() {
    let target = start("parent-cancelled");
    assert!(find(&target, "orphaned", ONE_LOOK).hint);
    let run = run(&target, &[ONE_LOOK, &["--fail"]].concat()).success();
    assert!(run.stdout.contains("hint, orphaned: "), "{run}");
}

#[test]
fn what_is_ignored_is_counted_and_no_failure() {
    let target = start("nil-channel");
    find(&target, "proven", ONE_LOOK);
    let ignoring = |option: &str, value: &str| {
        let arguments = [ONE_LOOK, &["--fail", option, value]].concat();
        run(&target, &arguments).success();
        leaks(&target, &arguments)
    };
    let by_name = ignoring("--ignore", "^follow$");
    assert!(
        by_name.findings.is_empty() && by_name.ignored == 1,
        "{by_name:?}"
    );
    let folder = tempdir().unwrap();
    let file = folder.path().join("ignored");
    fs::write(
        &file,
        "# what is known\n\n  testbed/src/gallery/leaks/never\\.rs  \n",
    )
    .unwrap();
    let by_site = ignoring("--ignore-file", file.to_str().unwrap());
    assert!(
        by_site.findings.is_empty() && by_site.ignored == 1,
        "{by_site:?}"
    );
    run(
        &target,
        &[ONE_LOOK, &["--fail", "--ignore", "something else"]].concat(),
    )
    .exits(10);
    fs::write(&file, "fine\n(\n").unwrap();
    let wrong = run(&target, &["--ignore-file", file.to_str().unwrap()]).exits(2);
    assert!(wrong.stderr.contains("line 2"), "{wrong}");
}

#[test]
fn a_baseline_shows_what_has_grown_since() {
    let target = start("fan-out");
    let folder = tempdir().unwrap();
    let file = folder.path().join("before");
    let file = file.to_str().unwrap();
    target.stack(&["--save", file]);
    let grown = find(&target, "growing", &["--baseline", file]);
    assert_eq!(grown.tasks.len(), 1);
    assert!(grown.count >= 3, "{grown:?}");
    // The same from two files; a file compared with itself has no findings.
    let later = folder.path().join("after");
    let later = later.to_str().unwrap();
    target.stack(&["--save", later]);
    let offline = |from: &str| {
        let run = target.rtops(&["leaks", "--from", from, "--baseline", file, "--json"]);
        run.success().json::<Leaks>()
    };
    assert!(
        offline(later)
            .findings
            .iter()
            .any(|one| one.evidence == "growing")
    );
    assert!(offline(file).findings.is_empty());
}

#[test]
fn a_deadlock_is_told_as_a_story() {
    let target = start("lock-order");
    let found = find(&target, "deadlock", ONE_LOOK);
    let circle = found.circle.unwrap();
    let mut tasks: Vec<u64> = circle.iter().map(|step| step.task).collect();
    tasks.dedup();
    assert_eq!((found.count, tasks.len()), (1, 2));
    let text = run(&target, ONE_LOOK).success().stdout;
    let holds = text
        .lines()
        .filter(|line| line.starts_with("        holds mutex<"));
    let waits = text
        .lines()
        .filter(|line| line.starts_with("        waits for mutex<"));
    assert_eq!((holds.count(), waits.count()), (2, 2), "{text}");
    assert!(
        text.contains("testbed/src/gallery/leaks/cycles.rs:"),
        "{text}"
    );
}

#[test]
fn what_a_service_waits_for_when_idle_is_counted() {
    let target = start("server-idle");
    let text = || run(&target, ONE_LOOK).success().stdout;
    eventually("idle tasks are counted", || {
        let text = text();
        text.contains("no findings in ") && text.contains("I/O accept")
    });
}
