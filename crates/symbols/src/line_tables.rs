//! Completes the names of functions from line tables, which leave out the path of what is inlined.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use crate::names::{MAX_ARGUMENTS, first_argument, split, strip_reference};

/// The most directories in which the compiler ran that are remembered: each path is
/// compared with all of them.
const MAX_WORKSPACES: usize = 1024;

/// The start of the bare name of the body of an `async fn`.
pub const BODY: &str = "{async_fn#";

/// Whether this is the body of an `async fn` whose name line tables leave out.
pub fn is_nameless(name: &str) -> bool {
    name.split("::")
        .any(|segment| segment.starts_with("{async_fn}"))
}

/// Returns the crate that a compilation unit belongs to, `gateway` for
/// `src/main.rs/@/gateway.0123-cgu.0`. An incremental build has a hash there instead.
pub fn crate_of_unit(unit: &str) -> Option<&str> {
    let (_, codegen) = unit.split_once("/@/")?;
    Some(codegen.split_once('.')?.0)
}

/// Returns the full name of a body that is inlined into a function specific to its future,
/// such as a `poll`: `a::f::{async_fn#0}` for `{async_fn#0}`, inlined into
/// `poll<&mut a::f::{async_fn_env#0}>`.
pub fn body_in(caller: &str, bare: &str) -> Option<String> {
    let kind = bare.split_inclusive('}').next()?;
    let future = kind.strip_prefix('{')?.replacen('#', "_env#", 1);
    let future = format!("{{{future}");
    let mut argument = first_argument(caller)?;
    for _ in 0..MAX_ARGUMENTS {
        argument = strip_reference(argument);
        let last = split(argument, "::").pop()?;
        let before = argument.get(..argument.len() - last.len())?;
        if before.ends_with("::") && last.split_inclusive('}').next() == Some(&future) {
            return Some(format!("{before}{bare}"));
        }
        argument = first_argument(argument)?;
    }
    None
}

/// Where the sources of each crate are.
#[derive(Default)]
pub struct CrateRoots {
    /// The names of crates, by the directory of a crate and by the file of its root module.
    crates: HashMap<String, String>,
    /// The directories in which the compiler ran with relative source paths.
    workspaces: BTreeSet<String>,
}

impl CrateRoots {
    /// Learns from the name of a compilation unit, `src/main.rs/@/gateway.0123-cgu.0`.
    pub fn add(&mut self, unit: &str, comp_dir: Option<&str>) {
        let Some((path, _)) = unit.split_once("/@/") else {
            return;
        };
        let path = match comp_dir {
            Some(dir) if !path.starts_with('/') => {
                let is_own = !dir.starts_with("/rustc/");
                if is_own && self.workspaces.len() < MAX_WORKSPACES {
                    self.workspaces.insert(format!("{dir}/"));
                }
                format!("{dir}/{path}")
            }
            _ => path.to_owned(),
        };
        let Some(name) = crate_of_unit(unit) else {
            return;
        };
        if let Some((dir, _)) = path.rsplit_once('/') {
            let known = self.crates.entry(dir.to_owned());
            known.or_insert_with(|| name.to_owned());
            self.crates.insert(path, name.to_owned());
        }
    }

    /// Returns the directories in which the compiler ran with relative source paths.
    pub fn workspaces(&self) -> impl Iterator<Item = &str> {
        self.workspaces.iter().map(String::as_str)
    }

    /// Makes a source path relative to the directory in which the
    /// compiler ran, if it is below that.
    pub fn relative(&self, file: String) -> String {
        let relative = self
            .workspaces
            .iter()
            .find_map(|dir| file.strip_prefix(dir.as_str()));
        relative.map(str::to_owned).unwrap_or(file)
    }

    /// Puts the path of the source file's module before a name that has none.
    pub fn qualify(&self, bare: &str, file: Option<&str>) -> String {
        // `{async_fn#0}` has lost the name of its function here. Without a number it stands for
        // itself, see `display_name`.
        let bare = match bare.strip_prefix(BODY) {
            Some(rest) => {
                let arguments = rest.split_once('}').map_or("", |(_, rest)| rest);
                Cow::Owned(format!("{{async_fn}}{arguments}"))
            }
            None => Cow::Borrowed(bare),
        };
        match file.and_then(|file| self.module_of(file)) {
            Some(module) => format!("{module}::{bare}"),
            None => bare.into_owned(),
        }
    }

    /// Returns the name of the crate that a file belongs to.
    pub fn crate_name(&self, file: &str) -> Option<String> {
        let known = self.crates.get(file).cloned();
        known.or_else(|| Some(self.crate_of(file)?.1))
    }

    fn module_of(&self, file: &str) -> Option<String> {
        if let Some(name) = self.crates.get(file) {
            return Some(name.clone());
        }
        let (root, name) = self.crate_of(file)?;
        let inner = file.get(root..)?.strip_prefix('/')?.strip_suffix(".rs")?;
        let inner = match inner {
            "lib" | "main" | "mod" => "",
            _ => inner.strip_suffix("/mod").unwrap_or(inner),
        };
        let mut module = name;
        for part in inner.split('/').filter(|part| !part.is_empty()) {
            module.push_str("::");
            module.push_str(part);
        }
        Some(module)
    }

    /// Returns the length of the path to the crate's sources, and the crate's name.
    fn crate_of(&self, file: &str) -> Option<(usize, String)> {
        let mut dir = file;
        while let Some((parent, _)) = dir.rsplit_once('/') {
            if let Some(name) = self.crates.get(parent) {
                return Some((parent.len(), name.clone()));
            }
            dir = parent;
        }
        // A crate of which only inlined code is left: `…/tokio-1.54.1/src/task/mod.rs`.
        let root = file.rfind("/src/")?;
        let package = file.get(..root)?.rsplit('/').next()?;
        let name = match package.rsplit_once('-') {
            Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
            _ => package,
        };
        (!name.is_empty()).then(|| (root + "/src".len(), name.replace('-', "_")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_path_of_the_future_that_is_polled() {
        for (caller, bare, name) in [
            (
                "poll<&mut a::f::{async_fn_env#0}>",
                "{async_fn#0}",
                Some("a::f::{async_fn#0}"),
            ),
            (
                "poll<core::pin::Pin<&mut a::f::{async_block_env#1}<u8>>, b::S>",
                "{async_block#1}<u8>",
                Some("a::f::{async_block#1}<u8>"),
            ),
            ("poll<a::f::{async_fn_env#1}, b::S>", "{async_fn#0}", None),
            ("poll<a::Map<a::f::{async_fn_env#0}>>", "{async_fn#1}", None),
            ("poll", "{async_fn#0}", None),
            ("poll<a::f::{async_fn_env#0}>", "poll", None),
            ("{async_fn#0}", "{async_fn#0}", None),
        ] {
            assert_eq!(body_in(caller, bare).as_deref(), name, "{caller}");
        }
    }

    #[test]
    fn a_bare_name_gets_the_path_of_its_file() {
        let mut roots = CrateRoots::default();
        roots.add("src/main.rs/@/gateway.7f16c182-cgu.00", Some("/srv/g"));
        roots.add(
            "/home/u/registry/tokio-1.54.1/src/lib.rs/@/tokio.1-cgu.0",
            None,
        );
        for (bare, file, name) in [
            (
                "recv<u8>",
                "/home/u/registry/tokio-1.54.1/src/sync/mpsc/chan.rs",
                "tokio::sync::mpsc::chan::recv<u8>",
            ),
            ("f", "/srv/g/src/main.rs", "gateway::f"),
            (
                "{async_fn#0}",
                "/srv/g/src/conn/mod.rs",
                "gateway::conn::{async_fn}",
            ),
            (
                "g",
                "/x/async-io-2.6.0/src/reactor.rs",
                "async_io::reactor::g",
            ),
            (
                "poll",
                "/rustc/0/library/core/src/future/poll_fn.rs",
                "core::future::poll_fn::poll",
            ),
            ("f", "f.c", "f"),
        ] {
            assert_eq!(roots.qualify(bare, Some(file)), name);
        }
        assert_eq!(
            roots.relative("/srv/g/src/main.rs".to_owned()),
            "src/main.rs"
        );
    }
}
