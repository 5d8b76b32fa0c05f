//! The text output of `rtops stack`.

use std::process::{Child, Command, Stdio};

use tempfile::{TempDir, tempdir};

use crate::{
    redact::redact,
    support::{Build, Target, eventually, rtops},
    terminal::{Size, Terminal},
};

#[test]
fn equal_tasks_are_grouped_with_their_place_and_wait() {
    let target = Target::start(Build::Dev, &["herd", "6"]);
    let text = redact(&target.stack_text(&["--tasks"]));
    insta::assert_snapshot!(text, @r#"
    targets (pid PID): 6 tasks in 3 groups, 6 of 6 alive
    looked at from outside; it stood still for TIME

    2 tasks "receives" [oneshot receive, TIME]
        rtops_testbed::herd::receives  crates/testbed/src/herd.rs:LINE
          > receiver.await.ok(); // AWAIT receives
        spawned at crates/testbed/src/herd.rs:LINE

    2 tasks "waits" [notify, TIME]
        rtops_testbed::herd::waits  crates/testbed/src/herd.rs:LINE
          > Notify::new().notified().await; // AWAIT waits
        spawned at crates/testbed/src/herd.rs:LINE

    2 tasks "sleeps" [sleep, TIME] at crates/testbed/src/herd.rs:LINE

    next: rtops leaks PID · rtops stack PID --filter receives
    "#);
    let by_age = target.stack_text(&["--tasks", "--sort=age", "--no-source"]);
    assert!(!by_age.contains("> "), "{by_age}");
    // They were spawned in this order.
    let places = ["sleeps", "receives", "waits"].map(|name| by_age.find(name).unwrap());
    assert!(places.is_sorted(), "{by_age}");
}

#[test]
fn each_task_has_a_block_of_its_own() {
    let target = Target::start(Build::Dev, &["herd", "2"]);
    let text = redact(&target.stack_text(&["--tasks", "--each", "--no-source"]));
    insta::assert_snapshot!(text, @r#"
    targets (pid PID): 2 tasks, 2 of 2 alive
    looked at from outside; it stood still for TIME

    task ID "receives" [oneshot receive, TIME; 1 poll]
        rtops_testbed::herd::receives  crates/testbed/src/herd.rs:LINE
        spawned at crates/testbed/src/herd.rs:LINE

    task ID "sleeps" [sleep, TIME; 1 poll]
        rtops_testbed::herd::sleeps  crates/testbed/src/herd.rs:LINE
        spawned at crates/testbed/src/herd.rs:LINE

    next: rtops leaks PID · rtops stack PID --filter receives
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
        ├─ rtops_testbed::awaits::combinators::joined_first [oneshot receive]  crates/testbed/src/awaits/combinators.rs:LINE
        ├─ rtops_testbed::awaits::combinators::joined_second [oneshot receive]  crates/testbed/src/awaits/combinators.rs:LINE
        └─ rtops_testbed::awaits::combinators::joined_third [oneshot receive]  crates/testbed/src/awaits/combinators.rs:LINE
        spawned at crates/testbed/src/awaits/combinators.rs:LINE
    "#);
}

#[test]
fn thousands_of_numbered_names_are_one_group() {
    let target = Target::start(Build::Dev, &["numbered-herd", "5000"]);
    let text = target.stack_text(&[]);
    assert!(
        text.contains("\n5000 tasks \"shard 0 … shard 4999\" [notify"),
        "{text}"
    );
    assert!(text.lines().count() < 24, "{text}");
    let one = target.stack_text(&["--tasks", "--filter=^shard 7$"]);
    assert!(one.contains("\n1 task \"shard 7\" ["), "{one}");
    // JSON lists each under its own name.
    let groups = target.stack(&["--tasks"]).task_groups().len();
    assert_eq!(groups, 5000);
}

#[test]
fn idle_threads_are_one_line_and_those_of_a_running_task_are_shown_with_it() {
    let target = Target::start(Build::Dev, &["blocked"]);
    let text = target.stack_text(&[]);
    // Either of the two may have begun first.
    let blocks = text.split("\n\n");
    let mut running: Vec<&str> = blocks
        .filter(|block| block.contains(" [running for "))
        .collect();
    running.sort_unstable();
    let [sleeper, spinner] = running[..] else {
        panic!("{text}");
    };
    for (block, name) in [(sleeper, "sleeper"), (spinner, "spinner")] {
        let head = format!("1 task \"{name}\" [running for ");
        assert!(block.starts_with(&head), "{text}");
    }
    assert!(sleeper.contains(", sleeps]\n"), "{text}");
    let place = "sleeps_in_poll  crates/testbed/src/blocked.rs:";
    assert_eq!(text.matches(place).count(), 1, "{text}");
    assert!(
        text.contains("\nidle: ") && text.contains("rtops-agent"),
        "{text}"
    );
    // `--threads` shows the idle threads, too.
    let threads = target.stack_text(&["--threads"]);
    assert!(
        threads.contains("sleeps_in_poll") && !threads.contains("\nidle: "),
        "{threads}"
    );
}

#[test]
fn own_frames_are_those_that_the_user_says() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let text = target.stack_text(&["--tasks", "--own=^tokio::sync", "--filter=receives"]);
    assert!(
        text.contains("    tokio::sync::oneshot::Receiver::poll"),
        "{text}"
    );
    // A foreign frame takes one line, unless showing its source needs no more room.
    let lines: Vec<&str> = text.lines().collect();
    let own = lines
        .iter()
        .position(|line| line.contains("Receiver::poll"));
    assert!(lines[own.unwrap() + 1].starts_with("      > "), "{text}");
    let stack = target.stack(&["--tasks", "--filter=receives"]);
    let frames: Vec<(bool, &str)> = stack.task_groups()[0].stacks[0]
        .frames
        .iter()
        .map(|frame| (frame.own, frame.name.as_str()))
        .collect();
    let expected = [
        (false, "tokio::sync::oneshot::Receiver::poll"),
        (true, "rtops_testbed::herd::receives"),
    ];
    assert_eq!(frames, expected);
}

#[test]
fn long_lines_go_on_between_words_on_a_terminal() {
    let target = Target::start(Build::Dev, &["locks"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtops"));
    command.args(["stack", &target.pid.to_string(), "--color=never"]);
    command.env("RTOPS_DIR", target.directory());
    let size = Size {
        columns: 80,
        rows: 400,
    };
    let mut terminal = Terminal::run(size, &command);
    assert!(terminal.wait().success());
    let lines = terminal.lines();
    assert!(
        lines.iter().any(|line| line.contains("next: ")),
        "{lines:#?}"
    );
    let head = lines
        .iter()
        .position(|line| line.starts_with("2 tasks \"rw-reads\" [never"));
    let head = head.unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(
        !lines[head].contains(']') && lines[head + 1].starts_with("    "),
        "{lines:#?}"
    );
    // The same text as in a pipe, except for line breaks: no word is
    // cut, and the terminal wraps no line.
    let words = |text: &str| -> Vec<String> {
        let words = redact(text);
        words.split_whitespace().map(str::to_owned).collect()
    };
    let shown: Vec<String> = lines.iter().flat_map(|line| words(line)).collect();
    let piped = words(&target.stack_text(&[]));
    let count = |words: &[String], word: &str| words.iter().filter(|known| *known == word).count();
    for word in ["registered,", "anything", "held", "spawned", "taken"] {
        assert_eq!(
            count(&shown, word),
            count(&piped, word),
            "{word} in {lines:#?}"
        );
    }
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

/// The sample service, which is killed on drop.
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

/// Only spans distinguish three calls of one function: their polls look the same.
#[test]
fn equal_calls_in_spans_are_no_children_of_a_container() {
    let demo = Demo::start();
    let mut text = String::new();
    eventually("the task waits, and is read from outside", || {
        text = demo.stack(&["--filter=checkout"]);
        text.contains("looked at from outside; ") && text.contains("span \"user\"")
    });
    assert!(!text.contains("children"), "{text}");
    assert_eq!(text.matches(" + timeout]").count(), 3, "{text}");
}
