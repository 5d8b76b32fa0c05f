//! Programs that were built before the tests.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Returns the path of a testbed program that a dev build of the workspace left beside `rtops`.
pub fn built(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_rtops")).with_file_name(program);
    let is_current = modified(&path).is_some_and(|built| {
        let is_older = |source: &PathBuf| modified(source).is_some_and(|changed| changed <= built);
        sources(&path).iter().all(is_older)
    });
    assert!(
        is_current,
        "{} is missing or older than its sources: run `cargo test --workspace`, or first \
         `cargo build -p rtops-testbed`",
        path.display()
    );
    path
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Returns the sources of the program according to cargo.
fn sources(program: &Path) -> Vec<PathBuf> {
    let rule = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let (_, sources) = rule.split_once(": ").unwrap_or_default();
    // A space in a path is escaped by a backslash.
    let sources = sources.replace("\\ ", "\0");
    let sources = sources.split_whitespace();
    sources
        .map(|source| source.replace('\0', " ").into())
        .collect()
}
