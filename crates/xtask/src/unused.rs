//! `cargo xtask unused`: finds dependencies that no source file of the package names.

use std::{fs, io, path::Path};

use crate::cargo::{self, Dependency, Package};

/// Where the code of a library or program is, and where code may use dev-dependencies.
const PRODUCT: [&str; 2] = ["src", "build.rs"];
const TESTS: [&str; 4] = ["src", "tests", "benches", "examples"];

/// Checks all packages of the workspace.
///
/// # Errors
/// If a dependency is unused, or a file can't be read.
pub fn run() -> io::Result<()> {
    let workspace = cargo::workspace()?;
    let packages = cargo::metadata(&workspace, &["--no-deps"])?.packages;
    let mut unused = Vec::new();
    for package in &packages {
        for dependency in &package.dependencies {
            if !is_used(package, dependency)? {
                unused.push(format!("{} does not use {}", package.name, dependency.name));
            }
        }
    }
    if unused.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(unused.join("\n")))
}

fn is_used(package: &Package, dependency: &Dependency) -> io::Result<bool> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
    let places: &[&str] = match dependency.kind.as_deref() {
        Some("dev") => &TESTS,
        _ => &PRODUCT,
    };
    let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
    let name = name.replace('-', "_");
    for file in places.iter().map(|place| folder.join(place)) {
        if any_names(&file, &name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file, or one of those in a folder, contains this name.
/// Examples in comments count, as they are tests.
fn any_names(path: &Path, name: &str) -> io::Result<bool> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            if any_names(&entry?.path(), name)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    if path.extension().is_none_or(|extension| extension != "rs") || !path.is_file() {
        return Ok(false);
    }
    let text = fs::read_to_string(path)?;
    // A file of another package can be a module of this one, too.
    let folder = path.parent().unwrap_or(Path::new(""));
    let elsewhere = text.lines().filter_map(|line| {
        let file = line.strip_prefix("#[path = \"")?.strip_suffix("\"]")?;
        Some(folder.join(file))
    });
    for file in elsewhere {
        if has_word(&fs::read_to_string(file)?, name) {
            return Ok(true);
        }
    }
    Ok(has_word(&text, name))
}

fn has_word(text: &str, name: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| word == name)
}
