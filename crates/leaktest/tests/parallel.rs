//! 64 tests that run at once and do not see each other's tasks.
//!
//! The tests in `fixture` are ordinary ones that pass. The last test of this file runs them again,
//! all at the same time, and every second one leaks a task.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, process::Command, sync::Barrier};

use rtops_leaktest::Track;
use tokio::sync::oneshot;

/// Set in the process whose tests leak.
const LEAKING: &str = "LEAKTEST_PARALLEL";
const TESTS: usize = 64;

const LINE_OF_AWAIT: u32 = line!() + 3;

async fn wait_for_the_end(end: oneshot::Receiver<()>) {
    drop(end.await);
}

/// Creates a task, below another one, that ends when the test does or never.
async fn play(number: usize) {
    let (end, ended) = oneshot::channel();
    let task = wait_for_the_end(ended).tracked(format!("task {number:02}"));
    let spawn = async { drop(tokio::spawn(task)) };
    rtops_agent::spawn(spawn).await.unwrap();
    if std::env::var_os(LEAKING).is_none() {
        return;
    }
    // Nobody continues before all 64 have their task.
    static ALL: Barrier = Barrier::new(TESTS);
    ALL.wait();
    if is_leaking(number) {
        std::mem::forget(end);
    }
}

fn is_leaking(number: usize) -> bool {
    number % 2 == 1
}

mod fixture {
    use super::play;

    macro_rules! current_thread {
        ($($name:ident $number:literal,)*) => {$(
            #[rtops_leaktest::test]
            async fn $name() {
                play($number).await;
            }
        )*};
    }

    macro_rules! multi_thread {
        ($($name:ident $number:literal,)*) => {$(
            #[rtops_leaktest::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                play($number).await;
            }
        )*};
    }

    macro_rules! verified {
        ($($name:ident $number:literal,)*) => {$(
            #[tokio::test]
            async fn $name() {
                let leaks = rtops_leaktest::check();
                play($number).await;
                leaks.verify().await;
            }
        )*};
    }

    macro_rules! guarded {
        ($($name:ident $number:literal,)*) => {$(
            #[test]
            fn $name() {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .build()
                    .unwrap();
                let _leaks = rtops_leaktest::check();
                runtime.block_on(play($number));
            }
        )*};
    }

    current_thread! {
        t00 0, t01 1, t02 2, t03 3, t04 4, t05 5, t06 6, t07 7,
        t08 8, t09 9, t10 10, t11 11, t12 12, t13 13, t14 14, t15 15,
    }
    multi_thread! {
        t16 16, t17 17, t18 18, t19 19, t20 20, t21 21, t22 22, t23 23,
        t24 24, t25 25, t26 26, t27 27, t28 28, t29 29, t30 30, t31 31,
    }
    verified! {
        t32 32, t33 33, t34 34, t35 35, t36 36, t37 37, t38 38, t39 39,
        t40 40, t41 41, t42 42, t43 43, t44 44, t45 45, t46 46, t47 47,
    }
    guarded! {
        t48 48, t49 49, t50 50, t51 51, t52 52, t53 53, t54 54, t55 55,
        t56 56, t57 57, t58 58, t59 59, t60 60, t61 61, t62 62, t63 63,
    }
}

#[test]
fn of_64_tests_at_once_those_fail_that_leak_each_with_its_own_task() {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg(format!("--test-threads={TESTS}"))
        .arg("fixture::")
        .env(LEAKING, "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(text.contains("32 passed; 32 failed"), "{text}");
    let failures = failures(&text);
    let leaking: Vec<usize> = (0..TESTS).filter(|number| is_leaking(*number)).collect();
    assert_eq!(Vec::from_iter(failures.keys().copied()), leaking, "{text}");
    for (number, report) in failures {
        let named: Vec<&str> = report
            .split('"')
            .filter(|part| part.starts_with("task "))
            .collect();
        assert_eq!(named, [format!("task {number:02}")], "{report}");
        for part in [
            "1 task leaked: ",
            "[oneshot receive, ",
            "parallel::wait_for_the_end",
            &format!("crates/leaktest/tests/parallel.rs:{LINE_OF_AWAIT}:"),
            "spawned at crates/leaktest/tests/parallel.rs:",
        ] {
            assert!(report.contains(part), "{part} is not in: {report}");
        }
    }
}

/// Returns what each failed test printed.
fn failures(text: &str) -> BTreeMap<usize, &str> {
    let sections = text.split("---- fixture::t").skip(1);
    let sections = sections.map(|section| section.split("\nfailures:\n").next().unwrap());
    let numbered = sections.map(|section| {
        let (number, report) = section.split_once(" stdout ----").unwrap();
        (number.parse().unwrap(), report)
    });
    numbered.collect()
}
