//! Packages that tests build, outside of this workspace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::build::{TRIPLE, cargo};

/// A package that is built below `target`, so that what was built once is built no more.
pub struct Package {
    root: PathBuf,
    /// Where in it cargo builds.
    folder: String,
    /// What cargo is told by its environment.
    settings: Vec<(&'static str, String)>,
}

impl Package {
    /// Writes a package: its manifest, and its sources by their paths.
    pub fn make(name: &str, manifest: &str, sources: &[(&str, &str)]) -> Self {
        let rtops = Path::new(env!("CARGO_BIN_EXE_rtops"));
        let target = rtops.parent().and_then(Path::parent).unwrap();
        let root = target.join("packages").join(name);
        for (path, text) in [("Cargo.toml", manifest)].iter().chain(sources) {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // What did not change is not built anew.
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

    /// The same built in a folder of its own.
    pub fn in_folder(mut self, folder: &str) -> Self {
        self.folder = folder.to_owned();
        self
    }

    /// The same with a setting of cargo's environment.
    pub fn with(mut self, setting: &'static str, value: &str) -> Self {
        self.settings.push((setting, value.to_owned()));
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn cargo(&self, arguments: &[&str]) {
        let mut cargo = cargo();
        // What several packages need, such as the parsers of macros, is built once for all. One builds at a
        // time then.
        cargo
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_BUILD_BUILD_DIR", self.root.with_file_name("build"))
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        let output = cargo.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{cargo:?}: {said}");
    }

    /// Builds it for release; where its programs and libraries are then.
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
