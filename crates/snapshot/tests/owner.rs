//! A copy ends with the thread that made it. Alone in its process, whose children it looks at.
#![allow(clippy::unwrap_used)]

use std::{
    thread,
    time::{Duration, Instant},
};

use rtops_snapshot::{Plan, Snapshot, Turn};
use rtops_threads::Signal;

#[test]
fn a_copy_does_not_outlive_the_thread_that_made_it() {
    let maker = thread::spawn(|| {
        let capturer = rtops_threads::install(Signal::URGENT).unwrap();
        let plan = Plan {
            capturer: &capturer,
            spare: &[],
            max_pause: Duration::from_secs(5),
            deadline: Instant::now() + Duration::from_secs(3600),
        };
        let turn = Turn::wait(plan.deadline).unwrap();
        let snapshot = Snapshot::take(&turn, &plan, |copy| {
            copy.next_order();
        })
        .unwrap();
        assert_eq!(copies(), 1);
        std::mem::forget(snapshot);
    });
    maker.join().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while copies() > 0 {
        assert!(Instant::now() < deadline, "the copy outlives its thread");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The living children; nobody waits for one that has ended.
fn copies() -> usize {
    let own = i32::try_from(std::process::id()).unwrap();
    let all = procfs::process::all_processes().unwrap();
    let stats = all.filter_map(|process| process.ok()?.stat().ok());
    stats
        .filter(|stat| stat.ppid == own && stat.state != 'Z')
        .count()
}
