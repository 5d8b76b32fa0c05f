//! Real processes are frozen. This program is the tests, the helper and the targets: so there is a `main` that can
//! be the helper before anything else happens.
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod ends;
mod harm;
mod kills;
mod modes;
mod process;
mod refusals;
mod rich;
mod targets;

use std::{panic::catch_unwind, process::ExitCode};

type Test = (&'static str, fn());

fn main() -> ExitCode {
    rtops_attach::run_helper_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name, rest @ ..] = &arguments[..]
        && first == targets::ARGUMENT
    {
        targets::run(name, rest);
        return ExitCode::SUCCESS;
    }
    let tests: Vec<Test> = [
        modes::TESTS,
        refusals::TESTS,
        harm::TESTS,
        kills::TESTS,
        ends::TESTS,
    ]
    .concat();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    // One after the other: they look for processes that are left over.
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
        let begun = std::time::Instant::now();
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
