//! What `rtops stack` prints for people.

use std::process::{Child, Command, Stdio};

use tempfile::{TempDir, tempdir};

use crate::{
    redact::redact,
    support::{Build, Target, eventually, rtops},
};

#[test]
fn equal_tasks_are_grouped_with_their_place_and_wait() {
    let target = Target::start(Build::Dev, &["herd", "6"]);
    let text = redact(&target.stack_text(&["--tasks"]));
    insta::assert_snapshot!(text, @r#"
    targets (pid PID): 6 tasks in 3 groups, 6 of 6 alive
    looked at from outside; it stood still for TIME

    2 tasks "sleeps" [sleep, TIME]
        tokio::time::sleep::Sleep::poll  tokio-VERSION/src/time/sleep.rs:LINE
        rtops_testbed::herd::sleeps  crates/testbed/src/herd.rs:LINE
        spawned at crates/testbed/src/herd.rs:LINE

    2 tasks "receives" [oneshot receive, TIME]
        tokio::sync::oneshot::Receiver::poll  tokio-VERSION/src/sync/oneshot.rs:LINE
        rtops_testbed::herd::receives  crates/testbed/src/herd.rs:LINE
        spawned at crates/testbed/src/herd.rs:LINE

    2 tasks "waits" [notify, TIME]
        tokio::sync::notify::Notified::poll  tokio-VERSION/src/sync/notify.rs:LINE
        rtops_testbed::herd::waits  crates/testbed/src/herd.rs:LINE
        spawned at crates/testbed/src/herd.rs:LINE
    "#);
}

#[test]
fn each_task_has_a_block_of_its_own() {
    let target = Target::start(Build::Dev, &["herd", "2"]);
    let text = redact(&target.stack_text(&["--tasks", "--each"]));
    insta::assert_snapshot!(text, @r#"
    targets (pid PID): 2 tasks, 2 of 2 alive
    looked at from outside; it stood still for TIME

    task ID "sleeps" [sleep, TIME; 1 poll]
        tokio::time::sleep::Sleep::poll  tokio-VERSION/src/time/sleep.rs:LINE
        rtops_testbed::herd::sleeps  crates/testbed/src/herd.rs:LINE
        spawned at crates/testbed/src/herd.rs:LINE

    task ID "receives" [oneshot receive, TIME; 1 poll]
        tokio::sync::oneshot::Receiver::poll  tokio-VERSION/src/sync/oneshot.rs:LINE
        rtops_testbed::herd::receives  crates/testbed/src/herd.rs:LINE
        spawned at crates/testbed/src/herd.rs:LINE
    "#);
}

#[test]
fn waits_at_several_places_are_drawn_as_a_tree() {
    let target = Target::start(Build::Dev, &["awaits", "multi"]);
    let text = redact(&target.stack_text(&["--tasks", "--filter=combinators::joining"]));
    insta::assert_snapshot!(text, @r#"
    targets (pid PID): 1 of 43 tasks in 1 group, 43 of 43 alive
    looked at from outside; it stood still for TIME

    1 task "join" [oneshot receive, TIME]
        rtops_testbed::awaits::combinators::joining  crates/testbed/src/awaits/combinators.rs:LINE
        rtops_testbed::awaits::combinators::joining::{closure}  tokio-VERSION/src/macros/join.rs:LINE
        ├─ rtops_testbed::awaits::combinators::joined_first  crates/testbed/src/awaits/combinators.rs:LINE
        │  tokio::sync::oneshot::Receiver::poll [oneshot receive]  tokio-VERSION/src/sync/oneshot.rs:LINE
        ├─ rtops_testbed::awaits::combinators::joined_second  crates/testbed/src/awaits/combinators.rs:LINE
        │  tokio::sync::oneshot::Receiver::poll [oneshot receive]  tokio-VERSION/src/sync/oneshot.rs:LINE
        └─ rtops_testbed::awaits::combinators::joined_third  crates/testbed/src/awaits/combinators.rs:LINE
           tokio::sync::oneshot::Receiver::poll [oneshot receive]  tokio-VERSION/src/sync/oneshot.rs:LINE
        spawned at crates/testbed/src/awaits/combinators.rs:LINE
    "#);
}

#[test]
fn the_filters_and_limits_hold() {
    let target = Target::start(Build::Dev, &["awaits", "multi"]);
    let tasks = target.stack(&["--tasks", "--filter=^sleep$"]);
    let names: Vec<_> = tasks
        .task_groups()
        .iter()
        .map(|group| group.name.as_deref())
        .collect();
    assert_eq!(names, [Some("sleep")]);
    let limited = target.stack(&["--limit=2"]);
    assert_eq!(
        (limited.task_groups().len(), limited.thread_groups().len()),
        (2, 2)
    );
    assert!(
        target
            .stack(&["--tasks", "--min-age=1h"])
            .task_groups()
            .is_empty()
    );
    let folded = target.stack_text(&["--tasks"]);
    let whole = target.stack_text(&["--tasks", "--all-frames"]);
    assert!(whole.lines().count() > folded.lines().count());
    for hidden in ["rtops_tasks::", "core::task::wake::Waker::clone"] {
        assert!(!folded.contains(hidden), "{folded}");
        assert!(whole.contains(hidden), "{whole}");
    }
}

/// The sample service, which is ended when this is dropped.
struct Demo {
    service: Child,
    directory: TempDir,
}

impl Demo {
    fn start() -> Self {
        let directory = tempdir().unwrap();
        let mut service = Command::new(env!("CARGO_BIN_EXE_rtops"));
        service.args(["demo", "--serve"]).env_clear();
        service.env("RTOPS_DIR", directory.path());
        Self {
            service: service.stdout(Stdio::null()).spawn().unwrap(),
            directory,
        }
    }

    fn stack(&self, arguments: &[&str]) -> String {
        let pid = self.service.id().to_string();
        let arguments = [&["stack", &pid][..], arguments].concat();
        rtops(Some(self.directory.path()), &arguments).stdout
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.service.kill().ok();
        self.service.wait().ok();
    }
}

/// Only spans tell three calls of one function apart: the polls that are read look the same.
#[test]
fn equal_calls_in_spans_are_no_children_of_a_container() {
    let demo = Demo::start();
    let mut text = String::new();
    eventually("the task waits, and is read from outside", || {
        text = demo.stack(&["--filter=checkout"]);
        text.contains("looked at from outside; ") && text.contains("span \"user\"")
    });
    assert!(!text.contains("children"), "{text}");
    assert_eq!(text.matches("Timeout::poll [timeout]").count(), 3, "{text}");
}
