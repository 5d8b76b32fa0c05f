//! `cargo xtask oldest-rust`: checks what a service links with the oldest Rust that each package
//! declares, and with the dependencies that cargo chooses for that.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
};

use crate::cargo::{self, Package, output};

/// Checks every published package that declares an older Rust than the command does. Says so if a
/// toolchain is not installed, and skips it.
///
/// # Errors
/// If something does not build.
pub fn run() -> io::Result<()> {
    let workspace = cargo::workspace()?;
    let metadata = cargo::metadata(&workspace, &["--no-deps"])?;
    let command = metadata.packages.iter().find(|p| p.name == "rtops");
    let newest = command.and_then(Package::rust);
    let published = metadata.packages.iter().filter(|p| p.is_published());
    let older: Vec<&Package> = published.filter(|p| p.rust() < newest).collect();
    let versions: BTreeSet<_> = older.iter().filter_map(|package| package.rust()).collect();
    for (major, minor) in versions {
        let version = format!("{major}.{minor}");
        if !is_installed(&version)? {
            writeln!(io::stderr(), "skipped: Rust {version} is not installed")?;
            continue;
        }
        let folder = metadata.target_directory.join("oldest-rust").join(&version);
        let packages = older
            .iter()
            .filter(|package| package.rust() <= Some((major, minor)));
        let packages: Vec<String> = packages
            .map(|package| dependency(package, package.rust() < Some((major, minor))))
            .collect();
        make_package(&folder, &version, &packages)?;
        // This cargo can choose dependencies that work with that Rust.
        output(cargo::cargo(&folder).args(["update", "--quiet"]))?;
        let mut check = toolchain(&version);
        check.args(["cargo", "check", "--quiet", "--locked"]);
        check.env("CARGO_TARGET_DIR", folder.join("target"));
        output(check.current_dir(&folder))?;
        let count = packages.len();
        writeln!(io::stdout(), "Rust {version} builds {count} packages")?;
    }
    Ok(())
}

/// Returns a command for a program of a toolchain, without the variables by which cargo
/// makes programs that it starts use its own.
fn toolchain(version: &str) -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(["run", version]);
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        rustup.env_remove(variable);
    }
    rustup
}

/// Whether the toolchain is installed: none is installed for this.
fn is_installed(version: &str) -> io::Result<bool> {
    let rustc = toolchain(version).args(["rustc", "--version"]).output()?;
    Ok(rustc.status.success())
}

/// Formats a line of a manifest. What a package declares holds for its default
/// features; a newer Rust has to build all of them.
fn dependency(package: &Package, all_features: bool) -> String {
    let path = package.manifest_path.parent().unwrap_or(Path::new(""));
    let features = package.features.keys().filter(|_| all_features);
    let features: Vec<&String> = features.collect();
    let name = &package.name;
    format!("{name} = {{ path = {path:?}, features = {features:?} }}\n")
}

/// Creates a package that depends on these.
fn make_package(folder: &Path, version: &str, dependencies: &[String]) -> io::Result<()> {
    let manifest = format!(
        "[package]\nname = \"service\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         rust-version = \"{version}\"\n[workspace]\n[dependencies]\n{}",
        dependencies.concat()
    );
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    fs::write(folder.join("Cargo.toml"), manifest)
}
