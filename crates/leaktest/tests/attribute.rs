//! `#[rtops_leaktest::test]`, and what a failing test prints.
//!
//! The tests in `fixture` are ordinary ones that pass. The others run one of
//! them again, in a process in which it fails.
#![allow(clippy::unwrap_used)]

use std::{process::Command, sync::Barrier, thread, time::Duration};

use rtops_leaktest::{Check, Track};
use tokio::sync::oneshot;

/// Set in the process whose tests fail.
const FAILING: &str = "LEAKTEST_ATTRIBUTE";

fn is_failing() -> bool {
    std::env::var_os(FAILING).is_some()
}

async fn lasting() {
    std::future::pending().await
}

mod fixture {
    use super::*;

    async fn leak() {
        if is_failing() {
            let (begin, begun) = oneshot::channel();
            let task = async {
                begin.send(()).unwrap();
                lasting().await;
            };
            tokio::spawn(task.tracked("leaked task"));
            begun.await.unwrap();
        }
    }

    fn verdict() -> Result<(), String> {
        match is_failing() {
            true => Err("the test's own failure".to_owned()),
            false => Ok(()),
        }
    }

    #[rtops_leaktest::test(flavor = "multi_thread", worker_threads = 2, timeout = "20ms")]
    async fn leaks() {
        assert_eq!(tokio::runtime::Handle::current().metrics().num_workers(), 2);
        leak().await;
    }

    #[rtops_leaktest::test(timeout = "20ms")]
    fn leaks_outside_of_a_runtime() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(leak());
        if is_failing() {
            std::mem::forget(runtime);
        }
    }

    #[rtops_leaktest::test(timeout = "20ms")]
    async fn leaks_and_returns_ok() -> Result<(), String> {
        leak().await;
        let number: u32 = "7".parse().map_err(|_| "no number")?;
        assert_eq!(number, 7);
        Ok(())
    }

    #[rtops_leaktest::test]
    async fn leaks_and_returns_an_error() -> Result<(), String> {
        leak().await;
        verdict()
    }

    #[rtops_leaktest::test]
    fn returns_an_error_outside_of_a_runtime() -> Result<(), String> {
        verdict()
    }

    #[rtops_leaktest::test]
    async fn leaks_and_panics() {
        leak().await;
        verdict().unwrap();
    }

    #[tokio::test]
    async fn leaks_and_panics_with_a_guard() {
        let _leaks = rtops_leaktest::check();
        leak().await;
        verdict().unwrap();
    }

    #[rtops_leaktest::test(timeout = "20ms")]
    async fn leaks_an_untracked_task() {
        if is_failing() {
            tokio::spawn(lasting());
        }
    }

    #[rtops_leaktest::test(tokio_alive = false, ignore_name = "left", ignore_site = "other.rs")]
    async fn may_leak() {
        tokio::spawn(lasting());
        tokio::spawn(lasting().tracked("left"));
    }

    #[tokio::test]
    async fn leaks_a_thread() {
        // If it passes, other tests have threads for a while.
        let timeout = Duration::from_millis(if is_failing() { 20 } else { 60_000 });
        let _leaks = Check::new().threads(true).timeout(timeout).guard();
        if is_failing() {
            thread::Builder::new()
                .name("stays".to_owned())
                .spawn(stays)
                .unwrap();
        }
    }

    #[rtops_leaktest::test(threads = true, ignore_name = "may stay", timeout = "1m")]
    async fn leaks_no_thread() {
        // Stays in the pool for a while.
        tokio::task::spawn_blocking(|| {}).await.unwrap();
        thread::spawn(|| thread::sleep(Duration::from_millis(20)));
        thread::Builder::new()
            .name("may stay".to_owned())
            .spawn(stays)
            .unwrap();
        if is_failing() {
            BOTH_RUN.wait();
        }
    }

    static BOTH_RUN: Barrier = Barrier::new(2);

    #[test]
    fn runs_beside_leaks_no_thread() {
        if is_failing() {
            BOTH_RUN.wait();
            // The harness names its threads after their tests, and the system cuts names.
            let is_other = |thread: &rtops_threads::ThreadInfo| {
                "fixture::leaks_no_thread".starts_with(&thread.name)
            };
            while rtops_threads::list().unwrap().iter().any(is_other) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn stays() {
        loop {
            thread::park();
        }
    }
}

#[rtops_leaktest::test(timeout = "20ms")]
#[should_panic(expected = "1 task leaked: still alive 20 ms after the end of the check at ")]
async fn other_attributes_hold() {
    tokio::spawn(lasting().tracked("leaked task"));
}

#[rtops_leaktest::test(start_paused = true)]
async fn in_paused_time_a_long_timer_is_no_leak() {
    tokio::spawn(tokio::time::sleep(Duration::from_secs(3600)).tracked("an hour"));
}

/// Returns what the named tests print if they fail, and whether they do.
fn run(tests: &[&str]) -> (String, bool) {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("--exact")
        .args(tests.iter().map(|test| format!("fixture::{test}")))
        .env(FAILING, "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let count = format!("running {} test", tests.len());
    assert!(text.contains(&count), "{text}");
    (text, output.status.success())
}

fn failure(test: &str) -> String {
    let (text, is_passed) = run(&[test]);
    assert!(!is_passed, "{text}");
    text
}

#[test]
fn a_test_that_leaks_fails_with_the_trees_of_its_tasks() {
    for test in [
        "leaks",
        "leaks_outside_of_a_runtime",
        "leaks_and_returns_ok",
    ] {
        let text = failure(test);
        for part in [
            "1 task leaked: still alive 20 ms after the end of the check at crates/leaktest/tests/attribute.rs:",
            "1 task \"leaked task\" [never: ",
            "spawned at crates/leaktest/tests/attribute.rs:",
            "Have each of them end before the test does",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}

#[test]
fn a_test_that_fails_by_itself_prints_nothing_of_leaks() {
    for test in [
        "leaks_and_returns_an_error",
        "returns_an_error_outside_of_a_runtime",
        "leaks_and_panics",
        "leaks_and_panics_with_a_guard",
    ] {
        let text = failure(test);
        assert!(text.contains("the test's own failure"), "{text}");
        assert!(!text.contains("leaked"), "{text}");
    }
}

#[test]
fn untracked_tasks_count_unless_told_otherwise() {
    let text = failure("leaks_an_untracked_task");
    assert!(text.contains("1 untracked task leaked: "), "{text}");
    let (text, is_passed) = run(&["may_leak"]);
    assert!(is_passed, "{text}");
}

#[test]
fn threads_count_where_that_is_wanted() {
    let text = failure("leaks_a_thread");
    for part in [
        "1 thread leaked: ",
        "1 thread \"stays\" [sleeping, parked]",
        "attribute::fixture::stays ",
        "Run the test alone to know.",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let (text, is_passed) = run(&["leaks_no_thread", "runs_beside_leaks_no_thread"]);
    assert!(is_passed, "{text}");
}
