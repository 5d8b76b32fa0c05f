//! Runs the tests. One program serves as tests, helper, and targets, so `main` can become the
//! helper before anything else happens.

use std::{panic::catch_unwind, process::ExitCode, time::Instant};

use crate::{process, targets};

pub type Test = (&'static str, fn());

pub fn main(tests: &[&[Test]]) -> ExitCode {
    rtops_attach::run_helper_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name, rest @ ..] = &arguments[..]
        && first == targets::ARGUMENT
    {
        targets::run(name, rest);
        return ExitCode::SUCCESS;
    }
    let tests = tests.concat();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    // The tests run one after the other, because they look for leftover processes.
    process::adopt_orphans();
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|one| !one.starts_with('-'))
        .collect();
    let mut failed = 0;
    for (name, test) in tests {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(&***filter)) {
            continue;
        }
        // In the format of libtest's output.
        println!("---- {name} stdout ----");
        let begun = Instant::now();
        let result = catch_unwind(test);
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {word} ({} ms)",
            begun.elapsed().as_millis()
        );
        failed += u32::from(result.is_err());
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{failed} failed");
        ExitCode::FAILURE
    }
}
