//! `cargo xtask release`: checks what the registry and docs.rs need to know about each package,
//! then has cargo publish all of them, dependencies first.

use std::{
    io::{self, Write},
    path::Path,
};

use clap::Args;

use crate::cargo::{self, Dependency, Package};

/// The licence in [`FILES`], and the only one.
const LICENSE: &str = "MIT OR Apache-2.0";
const FILES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

#[derive(Args, Debug)]
pub struct ReleaseArgs {
    /// Package and build everything, and upload nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: package everything, and build nothing
    #[arg(long, requires = "dry_run")]
    no_verify: bool,
}

/// Publishes the workspace, or does everything but that.
///
/// # Errors
/// If a manifest lacks something, or cargo can't package, build or upload.
pub fn run(args: &ReleaseArgs) -> io::Result<()> {
    let workspace = cargo::workspace()?;
    let packages = cargo::metadata(&workspace, &["--no-deps"])?.packages;
    let published: Vec<&Package> = packages.iter().filter(|p| p.is_published()).collect();
    let mut faults = Vec::new();
    for package in &published {
        let missing = missing(package).into_iter();
        faults.extend(missing.map(|what| format!("{}: no {what}", package.name)));
        let dependencies = package.dependencies.iter();
        let faulty = dependencies.filter_map(|used| fault_of_dependency(package, used, &published));
        faults.extend(faulty.map(|what| format!("{}: {what}", package.name)));
    }
    // The repository may not exist before the release, so only this may be missing in a dry run.
    let homeless = published.iter().any(|package| package.repository.is_none());
    let homeless = homeless.then(|| "no repository in [workspace.package]".to_owned());
    if args.dry_run {
        if let Some(fault) = homeless {
            writeln!(io::stderr(), "before the release: {fault}")?;
        }
    } else {
        faults.extend(homeless);
    }
    if !faults.is_empty() {
        return Err(io::Error::other(faults.join("\n")));
    }
    publish(&workspace, args)?;
    let done = if args.dry_run { "can be" } else { "were" };
    let count = published.len();
    writeln!(io::stdout(), "{count} packages {done} published")
}

fn publish(workspace: &Path, args: &ReleaseArgs) -> io::Result<()> {
    let mut cargo = cargo::cargo(workspace);
    // Quiet, because cargo warns about each test that is not in a package.
    cargo.args(["publish", "--workspace", "--quiet"]);
    if args.dry_run {
        cargo.args(["--dry-run", "--allow-dirty"]);
    }
    if args.no_verify {
        cargo.arg("--no-verify");
    }
    cargo::output(&mut cargo).map(drop)
}

/// Lists what cargo does not demand, but people or other tools need.
fn missing(package: &Package) -> Vec<&'static str> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
    let has_files = FILES.iter().all(|file| folder.join(file).is_file());
    let has_program = package.targets.iter().any(|t| t.kind == ["bin"]);
    let has_features = package.features.keys().any(|name| name != "default");
    let rustdoc = package.metadata.pointer("/docs/rs/all-features");
    let checks = [
        (package.description.is_some(), "description"),
        (package.license.as_deref() == Some(LICENSE), "licence"),
        (has_files, "licence files"),
        (package.readme.is_some(), "readme"),
        (package.rust().is_some(), "rust-version"),
        (!package.keywords.is_empty(), "keywords"),
        (!package.categories.is_empty(), "categories"),
        (
            !has_program || package.metadata.get("binstall").is_some(),
            "[package.metadata.binstall]",
        ),
        (
            !has_features || rustdoc.is_some(),
            "all-features in [package.metadata.docs.rs]",
        ),
    ];
    let missing = checks.into_iter().filter(|(is_there, _)| !is_there);
    missing.map(|(_, what)| what).collect()
}

/// Says what is wrong with a dependency on another package of the workspace.
fn fault_of_dependency(
    package: &Package,
    used: &Dependency,
    published: &[&Package],
) -> Option<String> {
    used.path.as_ref()?;
    let name = &used.name;
    let Some(found) = published.iter().find(|package| package.name == *name) else {
        // cargo drops a dev-dependency that has no version.
        let is_left_away = used.kind.as_deref() == Some("dev") && used.req == "*";
        return (!is_left_away).then(|| format!("{name} is not published"));
    };
    if used.req == "*" {
        return Some(format!("no version of {name}"));
    }
    // Whoever enables a feature accepts what it needs.
    let is_newer = used.kind.is_none() && !used.optional && found.rust() > package.rust();
    is_newer.then(|| format!("{name} needs a newer Rust"))
}
