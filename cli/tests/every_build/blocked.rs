//! Blocked workers do not delay the records of other tasks, and the target keeps running.

use crate::{
    BUILD,
    source::Marks,
    support::{Target, eventually},
};

#[test]
fn blocked_workers_hide_nothing() {
    let target = Target::start(BUILD, &["blocked"]);
    target.expect_progress();
    let stack = target.stack(&[]);
    assert!(stack.complete, "{:?}", stack.gaps);
    let waiting = stack.group("waiting");
    assert_eq!((waiting.count, &*waiting.state), (120, "waiting"));
    waiting.expect_lines(Marks::read().of("waiting"));
    for (name, function) in [
        ("sleeper", "blocked::sleeps_in_poll"),
        ("spinner", "blocked::spins_in_poll"),
    ] {
        eventually(&format!("{name} runs in {function}"), || {
            let stack = target.stack(&[]);
            let group = stack.group(name);
            let on_its_thread = stack.thread_groups().iter().any(|thread| {
                let tid = group.tasks[0].tid;
                thread.has_function(function)
                    && thread.threads.iter().any(|thread| Some(thread.tid) == tid)
            });
            group.state == "running" && group.has_function(function) && on_its_thread
        });
    }
    target.expect_progress();
}
