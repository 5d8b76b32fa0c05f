//! `cargo xtask features`: checks what is published with each combination of its features.

use std::io::{self, Write};

use crate::cargo::{self, Package};

/// Runs clippy on all combinations.
///
/// # Errors
/// If one has warnings or does not build.
pub fn run() -> io::Result<()> {
    let workspace = cargo::workspace()?;
    let packages = cargo::metadata(&workspace, &["--no-deps"])?.packages;
    for package in packages.iter().filter(|package| package.is_published()) {
        for features in combinations(package) {
            writeln!(io::stdout(), "{} --features={features}", package.name)?;
            let mut cargo = cargo::cargo(&workspace);
            cargo.args(["clippy", "--quiet", "--lib", "--no-default-features"]);
            cargo.args(["--package", &package.name, "--features", &features]);
            cargo::output(cargo.args(["--", "--deny=warnings"]))?;
        }
    }
    Ok(())
}

/// Returns all combinations, with commas between features; none for a package without features.
fn combinations(package: &Package) -> Vec<String> {
    let features = package.features.keys();
    let features: Vec<&str> = features
        .map(|name| &**name)
        .filter(|n| *n != "default")
        .collect();
    if features.is_empty() {
        return Vec::new();
    }
    let chosen = |set: usize| {
        let chosen = features
            .iter()
            .enumerate()
            .filter(|(i, _)| set >> i & 1 == 1);
        let chosen: Vec<&str> = chosen.map(|(_, name)| *name).collect();
        chosen.join(",")
    };
    (0..1 << features.len()).map(chosen).collect()
}
