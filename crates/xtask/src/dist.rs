//! Packages: the program, completions, man pages, documents and licences, and beside
//! each package a list of what it is made of.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use serde_json::Value;

use crate::{
    archive,
    cargo::{self, cargo, output},
    completions, man, sbom,
};

/// The files of the workspace that belong in the package.
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// The largest size of a packed program, in bytes.
const MAX_SIZE: u64 = 10_000_000;

/// A program for this target runs on every Linux, whatever its C library.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// How to build.
#[derive(Args, Debug)]
pub struct DistArgs {
    /// The profile to build rtops with
    #[arg(long, value_name = "PROFILE", default_value = DIST)]
    profile: String,
    /// A platform to build for, by default this one and static x86_64 Linux
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
    /// Where to put the packages, by default target/dist
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The profile that packages are built with.
const DIST: &str = "release-dist";

/// Makes the archives, the lists of their parts and their checksums, and says where they are.
///
/// # Errors
/// If rtops does not build, or something can't be written.
pub fn run(args: &DistArgs) -> io::Result<()> {
    let workspace = cargo::workspace()?;
    let host = cargo::host()?;
    let targets = match &*args.targets {
        [] => targets(&host)?,
        chosen => chosen.to_vec(),
    };
    let out = match &args.out {
        Some(out) => out.clone(),
        None => cargo::metadata(&workspace, &["--no-deps"])?
            .target_directory
            .join("dist"),
    };
    let mut files = Vec::new();
    for triple in &targets {
        // Without `--target`, earlier builds for this platform are reused.
        let other = (*triple != host).then_some(triple.as_str());
        let program = build(&workspace, &args.profile, other)?;
        if args.profile == DIST {
            check_size(&program)?;
        }
        let name = format!("rtops-{}-{triple}", env!("CARGO_PKG_VERSION"));
        let parts = serde_json::to_vec_pretty(&sbom::document(&workspace, triple)?)?;
        let package = out.join(&name);
        fill(&package, &workspace, &program)?;
        archive::pack(&package, &archive::beside(&package))?;
        fs::write(out.join(format!("{name}.cdx.json")), parts)?;
        files.extend([format!("{name}.cdx.json"), format!("{name}.tar.gz")]);
        writeln!(io::stdout(), "{}", archive::beside(&package).display())?;
    }
    let sums = output(Command::new("sha256sum").args(files).current_dir(&out))?;
    fs::write(out.join("SHA256SUMS"), sums)
}

/// Returns this platform, and the static one if the compiler has it.
fn targets(host: &str) -> io::Result<Vec<String>> {
    let mut rustc = cargo::rustc();
    let library = output(rustc.args(["--print", "target-libdir", "--target", STATIC]))?;
    let mut targets = vec![host.to_owned()];
    if !Path::new(library.trim_end()).exists() {
        writeln!(
            io::stderr(),
            "no static program: `rustup target add {STATIC}` brings what it takes"
        )?;
    } else if host != STATIC {
        targets.push(STATIC.to_owned());
    }
    Ok(targets)
}

fn check_size(program: &Path) -> io::Result<()> {
    let size = fs::metadata(program)?.len();
    if size <= MAX_SIZE {
        return Ok(());
    }
    let program = program.display();
    Err(io::Error::other(format!(
        "{program} has {size} bytes, more than {MAX_SIZE}"
    )))
}

/// Creates the directory that is packed.
fn fill(package: &Path, workspace: &Path, program: &Path) -> io::Result<()> {
    if package.exists() {
        fs::remove_dir_all(package)?;
    }
    fs::create_dir_all(package)?;
    fs::copy(program, package.join("rtops"))?;
    completions(&package.join("completions"))?;
    man::pages(&package.join("man"))?;
    for document in DOCUMENTS {
        fs::copy(workspace.join(document), package.join(document))?;
    }
    copy_pages(&workspace.join("docs"), &package.join("docs"))
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
/// If it does not build.
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
