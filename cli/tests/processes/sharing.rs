//! What tasks and threads wait for, and who else refers to it, read from
//! memory: no lock here records its holders.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    reply::{Party, Shared, Stack},
    support::{Build, Target},
};

/// How long a thread may take to reach the lock that it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the first look at which the thread waits.
fn look() -> Stack {
    let target = Target::start(Build::Dev, &["sharing"]);
    let until = Instant::now() + PATIENCE;
    loop {
        let stack = target.stack(&[]);
        if shared(&stack).iter().any(|one| one.kind == "lock") {
            return stack;
        }
        assert!(Instant::now() < until, "{:#?}", stack.shared);
        thread::sleep(Duration::from_millis(20));
    }
}

fn shared(stack: &Stack) -> &[Shared] {
    stack.shared.as_deref().unwrap()
}

/// Returns the names of tasks or threads.
fn names(stack: &Stack, parties: &[Party]) -> Vec<String> {
    let name = |party: &Party| {
        let groups = || stack.task_groups().iter();
        let is_it = |id| groups().find(|group| group.tasks.iter().any(|task| task.id == id));
        let threads = || {
            stack
                .thread_groups()
                .iter()
                .flat_map(|group| &group.threads)
        };
        let task = party.task.and_then(is_it);
        let task = task.map(|group| group.name.clone().unwrap_or_default());
        task.or_else(|| {
            let thread = threads().find(|thread| Some(thread.tid) == party.tid)?;
            Some(thread.name.clone())
        })
        .unwrap_or_else(|| panic!("nobody is {party:?}"))
    };
    parties.iter().map(name).collect()
}

/// Returns the only resource of a kind whose first waiter is this one.
#[track_caller]
fn waited_for_by<'a>(stack: &'a Stack, kind: &str, first: &str) -> &'a Shared {
    let all = shared(stack).iter().filter(|one| {
        one.kind == kind && names(stack, &one.waiters).first().map(String::as_str) == Some(first)
    });
    match all.collect::<Vec<_>>()[..] {
        [one] => one,
        ref all => panic!("{first:?} waits for {all:#?}; there is {:#?}", stack.shared),
    }
}

#[test]
fn who_waits_for_what_and_who_holds_it() {
    let stack = look();
    let expect = |kind, waiters: &[&str], others: &[&str], holders: &[&str]| {
        let one = waited_for_by(&stack, kind, waiters[0]);
        assert_eq!(names(&stack, &one.waiters), waiters, "{one:#?}");
        assert_eq!(names(&stack, &one.others), others, "{one:#?}");
        assert_eq!(names(&stack, &one.holders), holders, "{one:#?}");
        assert!(one.complete, "{one:#?}");
    };
    // In queue order, and without the task that has dropped its handles.
    let waiters = ["first", "second", "third"];
    expect("queue", &waiters, &["holder"], &["holder"]);
    // The children of `pool` have all permits, and it does not poll them.
    expect("queue", &["pool", "victim"], &["pool"], &["pool"]);
    // Each waits for room in a channel that the other one receives from.
    expect("queue", &["left"], &["right"], &["right"]);
    expect("queue", &["right"], &["left"], &["left"]);
    expect("slot", &["receiver"], &["sender"], &["sender"]);
    expect("queue", &["alone"], &[], &[]);
}

#[test]
fn a_thread_waits_for_a_lock_that_a_task_keeps() {
    let stack = look();
    let lock = waited_for_by(&stack, "lock", "locking");
    let others = names(&stack, &lock.others);
    assert!(others.contains(&"keeper".to_owned()), "{lock:#?}");
    assert_eq!(names(&stack, &lock.holders), ["keeper"], "{lock:#?}");
}

#[test]
fn without_an_image_nothing_is_told() {
    let target = Target::start(Build::Dev, &["sharing"]);
    let stack = target.stack(&["--attach=never"]);
    assert_eq!(shared(&stack).len(), 0);
}
