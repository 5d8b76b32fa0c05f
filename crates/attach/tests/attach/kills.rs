//! Tests that the helper may be killed or stopped at any time.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd,
};
use rtops_attach::{Frozen, Options, Pid, Refusal, Threads, freeze};

use crate::{
    Test,
    harm::{assert_unharmed, in_namespace, options, wait_for_rounds},
    process::{
        Target, children, helper, is_root, status, wait_until, wait_until_free, wait_until_no_copy,
    },
};

pub const TESTS: &[Test] = &[
    ("killed_at_each_point_with_all_threads_stopped", killed_all),
    ("killed_at_each_point_with_one_thread_stopped", killed_one),
    ("killed_at_random_under_load", killed_at_random),
    ("a_stopped_helper_is_ended_by_the_kernel", stopped_helper),
];

/// These tests need a new namespace or locked memory.
pub const AS_ROOT: &[Test] = &[
    ("killed_at_each_point_in_a_namespace", killed_in_namespace),
    ("killed_at_each_point_while_it_is_read", killed_standing),
];

/// Freezes a target while the helper gets a signal at a point.
fn freeze_at(
    point: u32,
    signal: Signal,
    target: &Target,
    options: &Options,
) -> Result<Frozen, Refusal> {
    // SAFETY: no other thread of this process reads the environment.
    unsafe { std::env::set_var("RTOPS_ATTACH_POINT", format!("{point} {signal}")) };
    let result = freeze(Pid::new(target.pid), options);
    // SAFETY: as above.
    unsafe { std::env::remove_var("RTOPS_ATTACH_POINT") };
    result
}

/// Whether there are points: a release build has none.
const HAS_POINTS: bool = cfg!(debug_assertions);

/// Kills the helper at each point and checks the target after each
/// kill. Returns the number of points.
fn kill_at_each(target: &mut Target, options: &Options, mut look: impl FnMut(&mut Target)) -> u32 {
    if !HAS_POINTS {
        return 0;
    }
    for point in 0.. {
        match freeze_at(point, Signal::SIGKILL, target, options) {
            Err(Refusal::HelperKilled) => {}
            Err(other) => panic!("point {point}: {other}"),
            // There are no more points.
            Ok(_) => {
                println!("{point} points");
                assert!(point > 5);
                return point;
            }
        }
        wait_until_free(target.pid);
        look(target);
        assert!(target.is_alive(), "point {point}");
    }
    unreachable!()
}

fn kill_plain_and_registers(threads: Threads) {
    let options = options(threads);
    let mut target = Target::start("plain", &[]);
    let before = target.facts();
    kill_at_each(&mut target, &options, |target| {
        wait_until_no_copy(&[target.pid]);
        // The injected frames may still have to complete.
        wait_until("all is as before", || target.facts() == before);
    });
    drop(target);
    for name in ["registers", "waits"] {
        let mut target = Target::start(name, &[]);
        kill_at_each(&mut target, &options, |target| {
            wait_until_no_copy(&[target.pid]);
            assert_unharmed(target);
        });
        wait_for_rounds(&mut target, 3);
        assert_unharmed(&mut target);
        wait_until_no_copy(&[target.pid]);
    }
}

fn killed_all() {
    kill_plain_and_registers(Threads::All);
}

fn killed_one() {
    kill_plain_and_registers(Threads::One);
}

fn killed_standing() {
    if !is_root() {
        return;
    }
    let options = options(Threads::All);
    let mut target = Target::start("locked", &["0"]);
    let before = target.facts();
    kill_at_each(&mut target, &options, |target| {
        wait_until("all is as before", || target.facts() == before);
    });
}

fn killed_in_namespace() {
    if !is_root() {
        return;
    }
    let mut target = in_namespace("registers");
    let mut kills = 0;
    kill_at_each(&mut target, &options(Threads::All), |target| {
        kills += 1;
        // Each kill may leave a zombie.
        wait_until("no copy is alive", || {
            children(target.pid)
                .into_iter()
                .all(|child| status(child, "State").is_none_or(|state| state.starts_with('Z')))
        });
        assert!(children(target.pid).len() <= kills);
        assert_unharmed(target);
    });
    wait_for_rounds(&mut target, 3);
    assert_unharmed(&mut target);
}

/// Returns numbers that look random but are the same each time.
pub fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 88_172_645_463_325_252_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    })
}

/// Kills the helper after this time. Returns whether that made the freeze fail.
pub fn kill_once(target: &Target, options: &Options, after: Duration) -> bool {
    let (pid, options) = (target.pid, options.clone());
    let (send, result) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            send.send(freeze(Pid::new(pid), &options).is_err()).unwrap();
        });
        wait_until("there is a helper", || {
            if helper(&[pid]).is_some() {
                return true;
            }
            // It may have ended by now.
            matches!(result.try_recv(), Err(mpsc::TryRecvError::Disconnected))
        });
        std::thread::sleep(after);
        if let Some(helper) = helper(&[pid]) {
            let _is_there = kill(unistd::Pid::from_raw(helper), Signal::SIGKILL);
        }
    });
    result.try_recv().unwrap_or(false)
}

fn killed_at_random() {
    for name in ["waits", "registers", "churn"] {
        let mut target = Target::start(name, &[]);
        let mut killed = 0;
        for number in numbers().take(60) {
            let options = options(if number % 3 == 0 {
                Threads::One
            } else {
                Threads::All
            });
            let after = Duration::from_micros(number % 4000);
            killed += u32::from(kill_once(&target, &options, after));
            wait_until_free_or_churning(&target);
        }
        println!("{name}: {killed} of 60 killed");
        wait_for_rounds(&mut target, 3);
        assert_unharmed(&mut target);
        wait_until_no_copy(&[target.pid]);
    }
}

/// Waits until nobody traces the process. Threads come and go, so only the process is checked.
fn wait_until_free_or_churning(target: &Target) {
    wait_until("nobody traces it", || {
        status(target.pid, "TracerPid").unwrap() == "0"
            && !status(target.pid, "State").unwrap().starts_with(['t', 'T'])
    });
}

fn stopped_helper() {
    if !HAS_POINTS {
        return;
    }
    let mut target = Target::start("registers", &[]);
    let mut broken_off = 0;
    let points = kill_at_each(&mut target, &options(Threads::All), |_| {});
    // Short, because each stop lasts this long.
    let options = Options {
        max_pause: Duration::from_millis(50),
        ..Options::default()
    };
    wait_until_no_copy(&[target.pid]);
    // The first point comes before the pause, the last ones after it.
    for point in (1..points - 4).step_by(3) {
        let begun = Instant::now();
        match freeze_at(point, Signal::SIGSTOP, &target, &options) {
            Err(Refusal::BrokenOff { limit }) => {
                assert_eq!(limit, options.hard_limit());
                broken_off += 1;
            }
            other => panic!("point {point}: {other:?}"),
        }
        println!("point {point}: {:?}", begun.elapsed());
        wait_until_free(target.pid);
        wait_until_no_copy(&[target.pid]);
        assert_unharmed(&mut target);
    }
    assert!(broken_off > 0);
    wait_for_rounds(&mut target, 3);
    assert_unharmed(&mut target);
}
