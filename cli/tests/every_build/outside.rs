//! Processes that are looked at from outside, without an agent.

use super::unwrapped::compare;
use crate::{
    BUILD,
    look::{look, stack, state},
    source::Marks,
    support::Target,
    victim::Victim,
};

pub fn expect_awaits(executor: &str) {
    let marks = Marks::read();
    let victim = Victim::start(BUILD.path(), &["unwrapped", executor]).quiet();
    let before = state(victim.pid());
    let stack = stack(victim.pid(), &["--tasks"]);
    compare(&marks, &stack, BUILD).expect_right();
    assert_eq!(state(victim.pid()), before);
}

#[test]
fn on_workers() {
    expect_awaits("multi");
}

/// If memory shows where tasks wait, nobody has to poll them.
#[test]
fn no_task_is_polled_for_a_look() {
    let target = Target::start(BUILD, &["polled"]);
    let polls = target.command("check");
    for command in [
        &["stack"][..],
        &["leaks", "--for=1s"],
        &["stats"],
        &["profile", "tasks", "--debug=1"],
    ] {
        look(command, target.pid, &[]).success();
        let pid = target.pid.to_string();
        target.rtops(&[command, &[&pid]].concat()).success();
        assert_eq!(target.command("check"), polls, "{command:?}");
    }
    let stack = target.stack(&["--tasks"]);
    let [waits, never] = ["waits", "never"].map(|name| stack.group(name));
    assert_eq!((waits.count, &*waits.state), (20, "waiting"), "{waits:#?}");
    assert_eq!(waits.spans, ["inside"], "{waits:#?}");
    assert_eq!((never.count, &*never.state), (20, "never"), "{never:#?}");
    assert_eq!(target.command("check"), polls);
    // An agent without a look from outside polls them.
    target.stack(&["--tasks", "--attach=never"]);
    assert_ne!(target.command("check"), polls);
}
