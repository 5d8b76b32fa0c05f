//! The stacks of the threads of a program without any async code.

use crate::{
    BUILD,
    support::{Target, eventually},
};

/// The name of each thread, what it waits for, and the function that it is in.
const THREADS: &[(&str, &str, &str)] = &[
    ("parker", "parked", "threads_only::parks"),
    ("reader", "I/O read", "threads_only::reads"),
    ("locker", "mutex lock", "threads_only::locks"),
    ("sleeper", "sleep", "threads_only::sleeps"),
    ("spinner", "running", "threads_only::spins"),
    ("opener", "file open", "threads_only::opens"),
    ("file locker", "file lock", "threads_only::locks_file"),
    ("waiter", "process exit", "threads_only::waits_for_child"),
    ("feeder", "pipe write", "threads_only::feeds_child"),
    ("rw reader", "rwlock read", "threads_only::reads_locked"),
    ("lazy", "once cell", "threads_only::forces"),
    (
        "condvar",
        "condvar wait",
        "threads_only::waits_for_condition",
    ),
    ("receiver", "channel receive", "threads_only::receives"),
    ("barrier", "barrier", "threads_only::meets"),
    ("joiner", "join", "threads_only::joins"),
];

#[test]
fn threads_show_where_they_are() {
    let target = Target::start(BUILD, &["threads-only"]);
    let mut stack = target.stack(&["--threads"]);
    for (name, wait, function) in THREADS {
        // A thread reports that it is there shortly before it is.
        eventually(&format!("{name} is in {function}: {wait}"), || {
            let thread = stack.thread(name).unwrap();
            let right = thread.wait.as_deref() == Some(wait) && thread.has_function(function);
            if !right {
                stack = target.stack(&["--threads"]);
            }
            right
        });
    }
    assert!(stack.task_groups().is_empty());
    let text = target.stack_text(&["--threads", "--filter=threads_only::sleeps"]);
    let head = format!("targets (pid {}): 1 of ", target.pid);
    assert!(text.starts_with(&head), "{text}");
    assert!(
        text.contains("\n\n1 thread \"sleeper\" [sleeping, sleep]\n"),
        "{text}"
    );
    target.expect_progress();
}
