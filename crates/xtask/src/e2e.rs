//! `cargo xtask e2e`: runs tests that need more than a
//! toolchain, and lists those that can't run here.

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct E2eArgs {
    /// Only tests whose names contain one of these
    filters: Vec<String>,
    /// Fail if a test is skipped, unless what it says of why contains this; for several, given several times
    #[arg(long, value_name = "WHY")]
    may_skip: Vec<String>,
}

/// What a test that can't run here prints before the reason.
const SKIPPED: &str = "skipped: ";

/// The tests that did not run here, by reason.
type Skipped = BTreeMap<String, Vec<String>>;

/// Runs the tests, one binary after another.
///
/// # Errors
/// If a test fails, or one is skipped that may not be.
pub(crate) fn run(args: &E2eArgs, workspace: &Path) -> io::Result<()> {
    // The programs that the tests start are built with the tests of their package.
    let mut build = cargo(workspace, &["--test", "gallery", "--no-run"]);
    if !build.status()?.success() {
        return Err(io::Error::other("what the tests start can't be built"));
    }
    let mut tests = cargo(workspace, &["--no-fail-fast", "--", "--show-output"]);
    let mut running = tests.args(&args.filters).stdout(Stdio::piped()).spawn()?;
    let skipped = watch(&mut running)?;
    let passed = running.wait()?.success();
    write_table(&skipped)?;
    if !passed {
        return Err(io::Error::other("tests failed"));
    }
    let may_be = |why: &&String| args.may_skip.iter().any(|known| why.contains(known));
    match skipped.keys().find(|why| !may_be(why)) {
        Some(why) if !args.may_skip.is_empty() => {
            Err(io::Error::other(format!("no test may be skipped as {why}")))
        }
        _ => Ok(()),
    }
}

fn cargo(workspace: &Path, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With the features of `cargo test --workspace`, so that nothing is built twice.
    cargo
        .args(["test", "--workspace", "--test", "e2e*"])
        .args(arguments)
        .current_dir(workspace);
    cargo
}

/// Passes on the output of the tests. From that of passed tests, it takes only what was skipped.
fn watch(tests: &mut Child) -> io::Result<Skipped> {
    let mut skipped = Skipped::new();
    let Some(output) = tests.stdout.take() else {
        return Ok(skipped);
    };
    let mut shown = io::stdout().lock();
    let mut is_of_passed = false;
    let mut test = String::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        // Both are headings of libtest.
        is_of_passed = match &*line {
            "successes:" => true,
            "failures:" => false,
            _ => is_of_passed && !line.starts_with("test result: "),
        };
        let heading = line.strip_prefix("---- ");
        if let Some(name) = heading.and_then(|line| line.strip_suffix(" stdout ----")) {
            name.clone_into(&mut test);
        } else if let Some(why) = line.strip_prefix(SKIPPED) {
            let tests = skipped.entry(why.to_owned()).or_default();
            if !tests.contains(&test) {
                tests.push(test.clone());
            }
        }
        if !is_of_passed {
            writeln!(shown, "{line}")?;
        }
    }
    Ok(skipped)
}

fn write_table(skipped: &Skipped) -> io::Result<()> {
    let mut shown = io::stdout().lock();
    let count: usize = skipped.values().map(Vec::len).sum();
    writeln!(shown, "{count} tests were skipped")?;
    for (why, tests) in skipped {
        writeln!(shown, "\n{why}:")?;
        for test in tests {
            writeln!(shown, "    {test}")?;
        }
    }
    Ok(())
}
