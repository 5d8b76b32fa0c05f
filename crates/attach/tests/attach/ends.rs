//! Things that end during a look: the target, the helper, the copy. Also two looks at once.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd,
};
use rtops_attach::{EndedEarly, Frozen, Pid, Refusal, Threads, freeze};

use crate::{
    Test,
    harm::options,
    kills::numbers,
    process::{Facts, Target, children, helper, wait_until, wait_until_free, wait_until_no_copy},
};

pub const TESTS: &[Test] = &[
    ("a_target_that_is_killed_meanwhile", target_killed),
    ("a_copy_ends_with_its_helper", helper_killed),
    ("a_copy_that_is_killed_by_somebody_else", copy_killed),
    ("two_look_at_the_same_process", two),
    ("a_helper_that_nobody_asked_ends", unasked),
];

fn target_killed() {
    let mut frozen = 0;
    for number in numbers().take(60) {
        let mut target = Target::start("plain", &[]);
        let threads = if number % 2 == 0 {
            Threads::One
        } else {
            Threads::All
        };
        std::thread::scope(|scope| {
            let freezing = scope.spawn(|| freeze(Pid::new(target.pid), &options(threads)));
            wait_until("there is a helper", || {
                helper(&[target.pid]).is_some() || freezing.is_finished()
            });
            std::thread::sleep(Duration::from_micros(number % 5000));
            kill(unistd::Pid::from_raw(target.pid), Signal::SIGKILL).unwrap();
            match freezing.join().unwrap() {
                Ok(_) => frozen += 1,
                Err(Refusal::BrokenOff { .. } | Refusal::NotInTime { .. }) => {
                    panic!("nobody had to wait")
                }
                Err(_) => {}
            }
        });
        wait_until("it has ended", || !target.is_alive());
        wait_until_no_copy(&[target.pid]);
    }
    println!("{frozen} of 60 frozen");
}

fn helper_killed() {
    let target = Target::start("memory", &["50"]);
    let before = target.facts();
    let frozen = freeze(Pid::new(target.pid), &options(Threads::All)).unwrap();
    let helper = helper(&[target.pid]).unwrap();
    kill(unistd::Pid::from_raw(helper), Signal::SIGKILL).unwrap();
    assert_killed(frozen, &target, &before);
}

fn copy_killed() {
    let target = Target::start("memory", &["50"]);
    let before = target.facts();
    let frozen = freeze(Pid::new(target.pid), &options(Threads::All)).unwrap();
    let own = std::process::id().cast_signed();
    let helper = helper(&[target.pid]).unwrap();
    let known = [target.pid, helper];
    let mut copies = children(own)
        .into_iter()
        .filter(|child| !known.contains(child));
    kill(
        unistd::Pid::from_raw(copies.next().unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    assert_killed(frozen, &target, &before);
}

/// Asserts that the kill of the copy is reported and that nothing is left of it.
fn assert_killed(mut frozen: Frozen, target: &Target, before: &Facts) {
    assert_eq!(frozen.held.take().unwrap().end(), Some(EndedEarly::Killed));
    drop(frozen);
    wait_until_no_copy(&[target.pid]);
    target.facts().assert_same(before);
}

fn two() {
    let target = Target::start("plain", &[]);
    let before = target.facts();
    let mut refused = 0;
    for _ in 0..20 {
        std::thread::scope(|scope| {
            let both = [(); 2]
                .map(|()| scope.spawn(|| freeze(Pid::new(target.pid), &options(Threads::All))));
            for one in both {
                match one.join().unwrap() {
                    Ok(_) => {}
                    Err(Refusal::Traced(_)) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
        });
        wait_until_free(target.pid);
    }
    println!("{refused} of 40 refused");
    wait_until_no_copy(&[target.pid]);
    target.facts().assert_same(&before);
}

fn unasked() {
    let status = Command::new("/proc/self/exe")
        .arg("--rtops-attach-helper")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}
