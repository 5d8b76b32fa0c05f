//! Programs that are built by the installed rustc.

use std::{
    env,
    fs::{self, File},
    process::Command,
};

use tempfile::{TempDir, tempdir};

/// A program, and the directory that contains it.
pub struct Program {
    directory: TempDir,
}

impl Program {
    /// Builds a small program with these arguments to rustc.
    pub fn build(arguments: &[&str]) -> Self {
        let directory = tempdir().unwrap();
        fs::write(
            directory.path().join("small.rs"),
            "fn main() { println!(\"{:?}\", std::env::args()) }",
        )
        .unwrap();
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc
            .args([
                "--edition=2024",
                "--crate-name=small",
                "small.rs",
                "-o",
                "small",
            ])
            .args(arguments)
            .current_dir(directory.path());
        run(&mut rustc);
        Self { directory }
    }

    pub fn open(&self) -> File {
        File::open(self.directory.path().join("small")).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.directory.path().join("small")).unwrap()
    }

    /// Changes the program with objcopy.
    pub fn objcopy(&self, arguments: &[&str]) {
        run(Command::new("objcopy")
            .args(arguments)
            .arg("small")
            .current_dir(self.directory.path()));
    }

    /// Writes a file next to the program.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.directory.path().join(name), bytes).unwrap();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
