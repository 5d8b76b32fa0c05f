//! `verify_all` at the end of a `main`, as in a test binary without a harness.
#![allow(clippy::unwrap_used)]

use std::{
    future::pending,
    process::{Command, Output},
    thread,
    time::Duration,
};

use rtops_leaktest::{Check, Track};

/// Set in the processes that this one starts; says what they do.
const CASE: &str = "LEAKTEST_WHOLE_BINARY";

fn main() {
    match std::env::var(CASE).as_deref() {
        Err(_) => judge(),
        Ok(case) => play(case),
    }
}

fn play(case: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        rtops_agent::spawn(async {}).await.unwrap();
        match case {
            "clean" => {}
            "leak" => {
                tokio::spawn(pending::<()>().tracked("left behind"));
            }
            "leak in a scope" => {
                // What an ended check has ignored is seen here.
                let check = Check::new().ignore_name("left*");
                check
                    .scope(async { drop(tokio::spawn(pending::<()>().tracked("left behind"))) })
                    .await;
            }
            "thread" => {
                let thread = thread::Builder::new().name("left behind".to_owned());
                thread
                    .spawn(|| {
                        loop {
                            thread::park()
                        }
                    })
                    .unwrap();
            }
            "panic" => {
                tokio::spawn(pending::<()>().tracked("left behind"));
                panic!("the test's own failure");
            }
            other => panic!("there is no case {other}"),
        }
    });
    let soon = Check::new().timeout(Duration::from_millis(50));
    match case {
        "clean" => rtops_leaktest::verify_all(),
        "thread" => {
            drop(runtime);
            soon.threads(true).verify_all();
        }
        _ => soon.verify_all(),
    }
}

fn judge() {
    assert!(run("clean").status.success());
    for case in ["leak", "leak in a scope"] {
        let output = run(case);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(101), "{errors}");
        assert!(errors.contains("1 task leaked: "), "{errors}");
        assert!(errors.contains("1 task \"left behind\" ["), "{errors}");
        assert!(
            errors.contains("spawned at crates/leaktest/tests/whole_binary.rs:"),
            "{errors}"
        );
    }
    let output = run("thread");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{errors}");
    assert!(errors.contains("1 thread leaked: "), "{errors}");
    assert!(errors.contains("1 thread \"left behind\" ["), "{errors}");
    let output = run("panic");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{errors}");
    assert!(errors.contains("the test's own failure"), "{errors}");
    assert!(!errors.contains("leaked"), "{errors}");
}

fn run(case: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CASE, case).output().unwrap()
}
