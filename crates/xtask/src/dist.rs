//! The package: the program, completions, man pages, documents and licences.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use serde_json::Value;

use crate::{archive, completions, man};

/// What of the workspace belongs into the package.
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// How to build.
#[derive(Args, Debug)]
pub struct DistArgs {
    /// The profile to build rtops with
    #[arg(long, value_name = "PROFILE", default_value = "release")]
    profile: String,
    /// The platform to build for, by default this one
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Where to put the package, by default target/dist
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Makes the directory and its archive, and says where they are.
///
/// # Errors
/// When rtops does not build, or something can't be written.
pub fn run(args: &DistArgs) -> io::Result<()> {
    let workspace = workspace()?;
    let program = build(&workspace, &args.profile, args.target.as_deref())?;
    let triple = match &args.target {
        Some(triple) => triple.clone(),
        None => host()?,
    };
    let out = match &args.out {
        Some(out) => out.clone(),
        None => target_directory(&workspace)?.join("dist"),
    };
    let package = out.join(format!("rtops-{}-{triple}", env!("CARGO_PKG_VERSION")));
    if package.exists() {
        fs::remove_dir_all(&package)?;
    }
    fs::create_dir_all(&package)?;
    fs::copy(&program, package.join("rtops"))?;
    completions(&package.join("completions"))?;
    man::pages(&package.join("man"))?;
    for document in DOCUMENTS {
        fs::copy(workspace.join(document), package.join(document))?;
    }
    copy_pages(&workspace.join("docs"), &package.join("docs"))?;
    let archive = archive::beside(&package);
    archive::pack(&package, &archive)?;
    writeln!(io::stdout(), "{}", archive.display())
}

fn copy_pages(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if path.is_dir() {
            copy_pages(&path, &to.join(name))?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Builds rtops and returns where it is.
///
/// # Errors
/// When it does not build.
pub fn build(workspace: &Path, profile: &str, triple: Option<&str>) -> io::Result<PathBuf> {
    let mut cargo = cargo(workspace);
    cargo
        .args([
            "build",
            "--package",
            "rtops",
            "--bin",
            "rtops",
            "--profile",
            profile,
        ])
        .arg("--message-format=json-render-diagnostics");
    if let Some(triple) = triple {
        cargo.args(["--target", triple]);
    }
    let messages = output(&mut cargo)?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    executables
        .next_back()
        .ok_or_else(|| io::Error::other("cargo does not say where rtops is"))
}

fn target_directory(workspace: &Path) -> io::Result<PathBuf> {
    let mut cargo = cargo(workspace);
    cargo.args(["metadata", "--no-deps", "--format-version=1"]);
    let metadata: Value = serde_json::from_str(&output(&mut cargo)?)?;
    let directory = metadata.get("target_directory").and_then(Value::as_str);
    directory
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("cargo does not say where it builds"))
}

/// The platform that the compiler runs on.
fn host() -> io::Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned)
        .ok_or_else(|| io::Error::other("rustc does not say what it runs on"))
}

/// Where the workspace was when this program was built.
///
/// # Errors
/// When this program's package was moved out of it.
pub fn workspace() -> io::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = own.ancestors().nth(2).map(Path::to_owned);
    workspace.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn cargo(workspace: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace);
    cargo
}

/// What a command prints, if all goes well.
fn output(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "{command:?} failed: {}",
            output.status
        )));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
