//! Versions of tokio back to 1.20, in services that know of no agent.

use super::{
    Victim, of_core,
    packages::{self, SERVICE},
    stack,
};
use crate::{source::Marks, versions::expected};

/// The path of the service's source in a verdict.
const MARKED: &str = "service/src/main.rs";
pub const VERSIONS: [&str; 7] = [
    "1.20.6", "1.28.2", "1.35.1", "1.38.1", "1.41.1", "1.44.2", "1.49.0",
];

#[test]
fn each_version_of_tokio_shows_its_tasks() {
    for version in VERSIONS {
        let service = packages::service(version).build().join("service");
        let mut victim = Victim::start(&service, &["ten"]).parked();
        let Some(core) = victim.dump() else { return };
        let stack = stack(&core, &["--tasks"]);
        let marks = marks();
        let verdict = expected(&marks, &[]).compare(&stack);
        assert!(verdict.is_right(), "tokio {version}: {verdict}");
        eprintln!("tokio {version}: all right");
    }
}

#[test]
fn tasks_of_an_older_version_may_be_missing() {
    let service = packages::service("1.19.2").build().join("service");
    let mut victim = Victim::start(&service, &["ten"]).parked();
    let Some(core) = victim.dump() else { return };
    for command in ["stack", "stats", "leaks"] {
        let run = of_core(&[command], &core, &[]).exits(6);
        let missing = "the program has tokio 1.19.2, which is older than 1.20";
        assert!(run.stderr.contains(missing), "{run}");
    }
}

#[test]
fn a_runtime_in_a_shared_library_shows_its_tasks() {
    let mut victim = Victim::start(&packages::program("loader"), &["ten"]).parked();
    let Some(core) = victim.dump() else { return };
    let marks = marks();
    let verdict = expected(&marks, &[]).compare(&stack(&core, &["--tasks"]));
    assert!(verdict.is_right(), "{verdict}");
}

/// Returns the lines where its ten tasks wait.
pub fn marks() -> Marks {
    Marks::of_text(SERVICE, MARKED)
}

/// Returns the lines with another sign.
pub fn signed(sign: &str) -> Marks {
    Marks::signed(SERVICE, MARKED, sign)
}
