//! Every kind of await is found at its line, and the wait reason is reported.

use crate::{BUILD, reply::Stack, source::Marks, support::Target};

/// What each task of the target waits for.
const WAITS: &[(&str, &[&str])] = &[
    ("async-block", &["oneshot receive"]),
    ("async-channel", &["channel receive"]),
    ("barrier", &["barrier"]),
    ("broadcast", &["broadcast receive"]),
    ("dyn", &["oneshot receive"]),
    ("futures-mpsc", &["channel receive"]),
    ("futures-oneshot", &["oneshot receive"]),
    ("futures-unordered", &["futures container"]),
    ("hand-written", &[]),
    ("interval", &["interval"]),
    ("join", &["oneshot receive"]),
    ("join-handle", &["join"]),
    ("join-set", &["join"]),
    ("mpsc-recv", &["channel receive"]),
    ("mpsc-send", &["channel send"]),
    ("mutex", &["mutex lock"]),
    ("nested", &["oneshot receive"]),
    ("notify", &["notify"]),
    (HALF, &["once cell"]),
    ("oneshot", &["oneshot receive"]),
    ("process", &["process exit"]),
    ("rwlock-read", &["rwlock read"]),
    ("rwlock-write", &["rwlock write"]),
    ("select", &["oneshot receive"]),
    ("semaphore", &["semaphore acquire"]),
    ("sleep", &["sleep"]),
    ("span", &["oneshot receive"]),
    ("spawn-blocking", &["join"]),
    ("stdin", &["I/O read"]),
    ("tcp-accept", &["I/O accept"]),
    ("tcp-read", &["I/O read"]),
    ("tcp-write", &["I/O write"]),
    ("timeout", &["timeout"]),
    ("tracked-children", &["oneshot receive"]),
    ("udp-recv", &["I/O read"]),
    ("unbounded-recv", &["channel receive"]),
    ("unix-datagram", &["I/O read"]),
    ("unix-read", &["I/O read"]),
    ("watch", &["watch changed"]),
];

/// The other branch of this task's join has no waker. An optimizing compiler
/// leaves no instruction there that has a line.
const HALF: &str = "once-cell";

/// The marked names that do not belong to tasks that wait to be woken.
const OTHERS: &[&str] = &["child", "lost-waker"];

#[test]
fn on_workers() {
    expect_awaits("multi");
}

#[test]
fn on_one_thread() {
    expect_awaits("current");
}

#[test]
fn in_a_local_set() {
    expect_awaits("local");
}

#[test]
fn each_marked_await_is_looked_at() {
    let marks = Marks::read();
    let mut names: Vec<&str> = WAITS.iter().map(|(name, _)| *name).collect();
    names.extend(OTHERS);
    names.sort_unstable();
    assert_eq!(marks.names_in("/awaits/"), names);
}

fn expect_awaits(executor: &str) {
    let marks = Marks::read();
    let target = Target::start(BUILD, &["awaits", executor]);
    let stack = target.stack(&["--tasks"]);
    assert!(stack.complete, "{:?}", stack.gaps);
    let mut wrong = Vec::new();
    for (name, waits) in WAITS {
        let group = stack.group(name);
        assert_eq!((group.count, &*group.kind), (1, "task"), "{group:#?}");
        assert_eq!(group.state, "waiting", "{group:#?}");
        group.expect_lines(marks.of(name));
        let mut found: Vec<&str> = group.waits.iter().map(String::as_str).collect();
        let mut chains = group.stacks.iter();
        if *name == HALF {
            found.retain(|wait| *wait != "never");
            assert!(chains.any(|chain| chain.incomplete.is_none()), "{group:#?}");
        } else {
            assert!(chains.all(|chain| chain.incomplete.is_none()), "{group:#?}");
        }
        if found != *waits {
            wrong.push(format!("{name}: {found:?} is not {waits:?} in {group:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    expect_wakerless(&stack, &marks);
    expect_spans(&stack, &marks);
}

fn expect_wakerless(stack: &Stack, marks: &Marks) {
    for name in ["lost-waker", "pending"] {
        let group = stack.group(name);
        assert_eq!(group.state, "never", "{group:#?}");
        assert_eq!(group.tasks[0].wakers, Some(0), "{group:#?}");
    }
    // `lost-waker` asked for a waker and has shown where it is; none
    // of the own code of `pending` ran.
    stack
        .group("lost-waker")
        .expect_lines(marks.of("lost-waker"));
    let file = &stack.group("pending").site.as_ref().unwrap().file;
    assert!(file.ends_with("awaits/manual.rs"), "{file}");
}

fn expect_spans(stack: &Stack, marks: &Marks) {
    assert_eq!(stack.group("span").spans, ["inner"]);
    // So do the children of a container.
    let children = stack.group("tracked-children");
    assert_eq!(children.spans, ["child"]);
    children.expect_lines(marks.of("child"));
    let counts = children.stacks.iter().map(|chain| chain.count);
    assert_eq!(counts.sum::<usize>(), 3, "{children:#?}");
    // The set has one task, and is polled twice because of it.
    let set = stack.group("join-set");
    assert!(set.stacks.iter().all(|chain| chain.count == 1), "{set:#?}");
}
