//! `rtops diff`: the differences between two looks.

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    redact::redact,
    support::{Build, Run, Target, quiet, rtops},
};

/// A directory with the file that a dump of the target is saved to.
struct Saved {
    folder: TempDir,
}

impl Saved {
    fn of(target: &Target) -> Self {
        let saved = Self {
            folder: tempdir().unwrap(),
        };
        quiet(target.pid);
        target.stack_text(&["--save", &saved.path()]);
        saved
    }

    fn path(&self) -> String {
        self.folder.path().join("dump").display().to_string()
    }
}

fn diff(target: &Target, before: &Saved, after: &str, arguments: &[&str]) -> Run {
    quiet(target.pid);
    let line = ["diff", &before.path(), after, "--max-pause=10s"];
    target.rtops(&[&line, arguments].concat()).success()
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

#[test]
fn what_came_went_and_moved_is_told() {
    let target = Target::start(Build::Dev, &["gate"]);
    let pid = target.pid.to_string();
    target.command("come 6");
    let before = Saved::of(&target);
    let same = diff(&target, &before, &pid, &[]);
    assert!(same.stdout.contains("1 group is as it was\n"), "{same}");

    assert_eq!(target.command("admit 2"), "2");
    assert_eq!(target.command("come 5"), "11");
    let run = diff(&target, &before, &pid, &[]);
    let (head, rest) = run.stdout.split_once('\n').unwrap();
    assert!(head.starts_with(&format!("targets (pid {pid}), ")), "{run}");
    assert!(head.ends_with(" later: 11 tasks, 6 before"), "{run}");
    insta::assert_snapshot!(redact(rest), @"
    1 group came, 1 grew; 2 tasks moved

    6 → 9  +3  grew    rtops_testbed::gate::guest [semaphore acquire]  crates/testbed/src/gate.rs:LINE
    0 → 2  +2  came    rtops_testbed::gate::guest [sleep]  crates/testbed/src/gate.rs:LINE

    moved: the same tasks, elsewhere
    2  rtops_testbed::gate::guest [semaphore acquire]  crates/testbed/src/gate.rs:LINE
       → [sleep]  crates/testbed/src/gate.rs:LINE
    ");
    let document = json(&diff(&target, &before, &pid, &["--json"]));
    assert_eq!(document["same_process"], true);
    assert_eq!(document["moved_total"], 2);
    let counts = |side: &str| document[side]["tasks"].as_u64().unwrap();
    assert_eq!((counts("before"), counts("after")), (6, 11));

    let between = Saved::of(&target);
    assert_eq!(target.command("leave 9"), "2");
    let after = Saved::of(&target);
    let run = diff(&target, &between, &after.path(), &["--json"]);
    let document = json(&run);
    let group = &document["groups"][0];
    assert_eq!(
        (&group["change"], &group["before"], &group["after"]),
        (&"went".into(), &9.into(), &0.into()),
        "{run}"
    );
    assert_eq!(
        (
            document["groups_changed"].as_u64(),
            document["moved_total"].as_u64()
        ),
        (Some(1), Some(0)),
        "{run}"
    );
}

#[test]
fn dumps_of_two_processes_are_compared_by_their_groups() {
    let first = Target::start(Build::Dev, &["plain-herd", "3"]);
    let second = Target::start(Build::Dev, &["plain-herd", "9"]);
    let before = Saved::of(&first);
    let run = diff(&second, &before, &second.pid.to_string(), &[]);
    let note = format!(
        "before, it was targets (pid {}): of another process",
        first.pid
    );
    assert!(run.stdout.contains(&note), "{run}");
    assert_eq!(run.stdout.matches("grew").count(), 4, "{run}");
    let limited = diff(&second, &before, &second.pid.to_string(), &["--limit=1"]);
    assert!(
        limited.stdout.contains("(2 more groups not shown"),
        "{limited}"
    );
}

#[test]
fn what_can_not_be_compared_is_refused() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file").display().to_string();
    std::fs::write(&file, "no dump").unwrap();
    let diff = |before: &str, after: &str| rtops(Some(folder.path()), &["diff", before, after]);
    assert!(diff(&file, &file).exits(1).stderr.contains("saved dump"));
    let target = Target::start(Build::Dev, &["herd", "1"]);
    let saved = Saved::of(&target);
    let run = diff(&saved.path(), "no-such-dump").exits(3);
    assert!(
        run.stderr.contains("no file and no process no-such-dump"),
        "{run}"
    );
}
