//! Packages outside of this workspace that tests build.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::build::{TRIPLE, cargo};

/// A package that is built below `target`, so that it is built only once.
pub struct Package {
    root: PathBuf,
    /// The folder in it that cargo builds in.
    folder: String,
    /// The environment variables that are set for cargo.
    settings: Vec<(&'static str, String)>,
}

impl Package {
    /// Writes a package: its manifest, and its sources by path.
    pub fn make(name: &str, manifest: &str, sources: &[(&str, &str)]) -> Self {
        let rtops = Path::new(env!("CARGO_BIN_EXE_rtops"));
        let target = rtops.parent().and_then(Path::parent).unwrap();
        let root = target.join("packages").join(name);
        for (path, text) in [("Cargo.toml", manifest)].iter().chain(sources) {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Unchanged files are not written, so that they are not built again.
            if fs::read_to_string(&path).ok().as_deref() != Some(text) {
                fs::write(&path, text).unwrap();
            }
        }
        Self {
            root,
            folder: "target".to_owned(),
            settings: Vec::new(),
        }
    }

    /// Builds the package in another folder.
    pub fn in_folder(mut self, folder: &str) -> Self {
        self.folder = folder.to_owned();
        self
    }

    /// Adds a variable to cargo's environment.
    pub fn with(mut self, setting: &'static str, value: &str) -> Self {
        self.settings.push((setting, value.to_owned()));
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn cargo(&self, arguments: &[&str]) {
        let mut cargo = cargo();
        // Dependencies of several packages, such as parsers for macros, are built once for all.
        // Only one package is built at a time, therefore.
        cargo
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_BUILD_BUILD_DIR", self.root.with_file_name("build"))
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        let output = cargo.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{cargo:?}: {said}");
    }

    /// Builds the package for release, and returns the directory of its programs and libraries.
    pub fn build(&self) -> PathBuf {
        let options = [
            "--release",
            "--target",
            TRIPLE,
            "--target-dir",
            &self.folder,
        ];
        self.cargo(&[&["build", "--quiet"], &options[..]].concat());
        self.root.join(&self.folder).join(TRIPLE).join("release")
    }
}
