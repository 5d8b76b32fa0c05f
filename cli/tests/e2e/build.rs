//! The ways to build services.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::common::built;

/// The target triple of all tests. Cargo is given it where flags must not
/// apply to code that runs during the build.
pub const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// A way to build the targets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Build {
    Dev,
    Release,
    LtoFat,
    Abort,
    Stripped,
    NoDebug,
    NonPie,
    /// A release build with jemalloc.
    Jemalloc,
    /// A release build with mimalloc.
    Mimalloc,
}

impl Build {
    /// Builds the program, once in this test process, and returns its path.
    pub fn path(self) -> &'static Path {
        static PATHS: [OnceLock<PathBuf>; 9] = [const { OnceLock::new() }; 9];
        PATHS[self as usize].get_or_init(|| match self {
            Self::Dev => built("targets"),
            Self::Stripped => stripped(Self::Release.path()),
            Self::Jemalloc => self.run_cargo("targets-jemalloc"),
            Self::Mimalloc => self.run_cargo("targets-mimalloc"),
            _ => self.run_cargo("targets"),
        })
    }

    /// Returns the path of the gallery of leaks, in a dev build.
    pub fn gallery() -> &'static Path {
        static PATH: OnceLock<PathBuf> = OnceLock::new();
        PATH.get_or_init(|| built("gallery"))
    }

    /// The services with faults, in a dev build without any names.
    pub fn stripped_cases() -> &'static Path {
        static PATH: OnceLock<PathBuf> = OnceLock::new();
        PATH.get_or_init(|| stripped(&built("cases")))
    }

    /// The services on well-known libraries, in a release build.
    pub fn services() -> &'static Path {
        static PATH: OnceLock<PathBuf> = OnceLock::new();
        PATH.get_or_init(|| Self::Release.run_cargo("services"))
    }

    /// Returns the marked awaits that this build lacks: programs that are
    /// built in many ways leave some crates out.
    pub fn lacks(self) -> &'static [&'static str] {
        match self {
            Self::Dev | Self::Release | Self::Stripped | Self::Jemalloc | Self::Mimalloc => &[],
            Self::LtoFat | Self::Abort | Self::NoDebug | Self::NonPie => &["async-channel"],
        }
    }

    fn profile(self) -> &'static str {
        match self {
            Self::Dev | Self::NonPie => "dev",
            Self::Release | Self::Stripped | Self::Jemalloc | Self::Mimalloc => "release",
            Self::LtoFat => "release-lto-fat",
            Self::Abort => "release-abort",
            Self::NoDebug => "release-nodebug",
        }
    }

    fn run_cargo(self, program: &str) -> PathBuf {
        // target/<profile>/rtops
        let rtops = Path::new(env!("CARGO_BIN_EXE_rtops"));
        let mut directory = rtops.parent().and_then(Path::parent).unwrap().to_owned();
        let mut cargo = cargo();
        cargo
            .args(["build", "--quiet", "--package", "rtops-testbed"])
            .args(["--bin", program, "--profile", self.profile()])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if self == Self::NonPie {
            directory.push("non-pie");
            cargo.arg("--target-dir").arg(&directory);
            // With --target, the flags do not apply to procedural macros,
            // which must be shared libraries.
            cargo
                .args(["--target", TRIPLE])
                .env("RUSTFLAGS", "-C relocation-model=static");
            directory.push(TRIPLE);
        } else {
            cargo.arg("--target-dir").arg(&directory);
        }
        // Each program links its own allocator; for release, the code
        // that they share is built only once.
        match self.profile() {
            "release" => cargo.args(["--features", "jemalloc,mimalloc"]),
            _ => cargo.arg("--no-default-features"),
        };
        let built = cargo.output().unwrap();
        assert!(
            built.status.success(),
            "{cargo:?}: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        directory.push(match self.profile() {
            "dev" => "debug",
            other => other,
        });
        directory.join(program)
    }
}

pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Strips a program as `strip = true` in the profile would, without building everything again.
fn stripped(program: &Path) -> PathBuf {
    let directory = program.with_file_name("stripped");
    fs::create_dir_all(&directory).unwrap();
    let to = directory.join(program.file_name().unwrap());
    let mut objcopy = Command::new("objcopy");
    objcopy.arg("--strip-all").arg(program).arg(&to);
    assert!(objcopy.status().unwrap().success(), "{objcopy:?}");
    to
}
