//! Runs cargo in the workspace, and reads what it says about the packages in it.

use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::Value;

/// The parts of `cargo metadata` that are needed.
#[derive(Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub resolve: Option<Resolve>,
    pub target_directory: PathBuf,
}

/// A package of the workspace, or one that it depends on.
#[derive(Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    pub description: Option<String>,
    pub license: Option<String>,
    pub readme: Option<String>,
    pub repository: Option<String>,
    pub rust_version: Option<String>,
    pub keywords: Vec<String>,
    pub categories: Vec<String>,
    pub dependencies: Vec<Dependency>,
    pub features: BTreeMap<String, Vec<String>>,
    pub targets: Vec<Target>,
    pub manifest_path: PathBuf,
    /// The registries that it may be published to; all of them if there is no list.
    pub publish: Option<Vec<String>>,
    /// `[package.metadata]`.
    pub metadata: Value,
}

impl Package {
    pub fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|to| !to.is_empty())
    }

    /// Returns the oldest Rust that it declares, as major and minor version.
    pub fn rust(&self) -> Option<(u32, u32)> {
        let mut numbers = self.rust_version.as_deref()?.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// The name that the code uses for it, if it differs.
    pub rename: Option<String>,
    /// Whether a feature has to enable it.
    pub optional: bool,
    /// `None` for a dependency of the library or program itself.
    pub kind: Option<String>,
    /// The versions that fit: `*` if none is named.
    pub req: String,
    /// Its path, if it is in the workspace.
    pub path: Option<PathBuf>,
}

#[derive(Deserialize)]
pub struct Target {
    pub kind: Vec<String>,
}

/// The versions that cargo chose.
#[derive(Deserialize)]
pub struct Resolve {
    pub nodes: Vec<Node>,
}

/// A package and what it depends on, by ids.
#[derive(Deserialize)]
pub struct Node {
    pub id: String,
    pub deps: Vec<Edge>,
}

#[derive(Deserialize)]
pub struct Edge {
    pub pkg: String,
    pub dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
pub struct EdgeKind {
    pub kind: Option<String>,
}

/// Asks cargo about the workspace, with additional arguments.
///
/// # Errors
/// If cargo fails or says something else.
pub fn metadata(workspace: &Path, arguments: &[&str]) -> io::Result<Metadata> {
    let mut cargo = cargo(workspace);
    cargo.args(["metadata", "--format-version=1"]);
    let text = output(cargo.args(arguments))?;
    Ok(serde_json::from_str(&text)?)
}

/// Returns the platform that the compiler runs on.
///
/// # Errors
/// If the compiler can't be run or does not say.
pub fn host() -> io::Result<String> {
    let version = output(rustc().arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned)
        .ok_or_else(|| io::Error::other("rustc does not say what it runs on"))
}

/// Returns where the workspace was when this program was built.
///
/// # Errors
/// If this program's package was moved out of it.
pub fn workspace() -> io::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = own.ancestors().nth(2).map(Path::to_owned);
    workspace.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Returns a command for the compiler that cargo uses.
pub fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Returns a command for the cargo that runs this program.
pub fn cargo(workspace: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace);
    cargo
}

/// Returns what a command prints, if it succeeds.
///
/// # Errors
/// If it can't be run or fails.
pub fn output(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "{command:?} failed: {}",
            output.status
        )));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
