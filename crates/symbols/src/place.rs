//! A place in the source, and whose source it is.

use std::fmt;

/// The directory with sources of dependencies that are kept next to those of the target.
const VENDOR: &str = "vendor/";

/// A place in the source.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Place {
    /// The path as the compiler saw it; relative to where the compiler ran, if it is below that.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, if known.
    pub column: Option<u32>,
}

impl Place {
    /// Returns `file:line`, with the path shortened for people.
    #[must_use]
    pub fn line_of_file(&self) -> String {
        format!("{}:{}", shortened(&self.file), self.line)
    }

    /// Returns the dependency that contains it, or `std`; `None`
    /// for a place in the target's own crates.
    #[must_use]
    pub fn package(&self) -> Option<&str> {
        package(&self.file, shortened(&self.file))
    }

    /// Whether it is in a dependency, in the standard library, or in the C library, whose build
    /// names its files relative to where it ran.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.package().is_some() || self.file.starts_with("./")
    }
}

impl fmt::Display for Place {
    /// Writes `file:line:column`, which terminals and editors can open, without the path to a
    /// dependency or to the standard library.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", shortened(&self.file), self.line)?;
        match self.column {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}

/// Returns the part of a path after the directory in which
/// cargo or rustup keeps sources; other paths stay whole.
fn shortened(file: &str) -> &str {
    let behind = |marker: &str, parts: usize| {
        let (_, mut rest) = file.split_once(marker)?;
        for _ in 0..parts {
            (_, rest) = rest.split_once('/')?;
        }
        Some(rest)
    };
    if file.starts_with("/rustc/") {
        return behind("/library/", 0).unwrap_or(file);
    }
    behind("/registry/src/", 1)
        .or_else(|| behind("/git/checkouts/", 0))
        .or_else(|| behind("/lib/rustlib/src/rust/library/", 0))
        .unwrap_or(file)
}

/// Returns the dependency that a file belongs to, or `std`; `short` is the shortened path.
fn package<'f>(file: &'f str, short: &'f str) -> Option<&'f str> {
    if short.len() < file.len() {
        let is_std = file.starts_with("/rustc/") || file.contains("/lib/rustlib/");
        let (package, _) = short.split_once('/')?;
        return Some(if is_std {
            "std"
        } else {
            without_version(package)
        });
    }
    let vendored = match file.strip_prefix(VENDOR) {
        Some(rest) => Some(rest),
        None => file.split_once("/vendor/").map(|(_, rest)| rest),
    };
    // Without absolute paths, a build leaves `hyper-1.0.0/src` for a dependency from a registry.
    let first = vendored.unwrap_or(file).split_once('/');
    let (package, _) = first.filter(|(_, rest)| rest.contains('/') || rest.ends_with(".rs"))?;
    let name = without_version(package);
    (vendored.is_some() || name.len() < package.len()).then_some(name)
}

/// Returns `hyper` for `hyper-1.4.0`, and for cargo's name of a repository's checkout,
/// `hyper-0123456789abcdef`.
fn without_version(package: &str) -> &str {
    match package.rsplit_once('-') {
        Some((name, version))
            if version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.')
                || is_hash(version) =>
        {
            name
        }
        // `foo-1.0.0-beta.1`
        Some((name, _)) if name.contains('.') => without_version(name),
        _ => package,
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str) -> Place {
        Place {
            file: file.to_owned(),
            line: 7,
            column: None,
        }
    }

    #[test]
    fn paths_tell_own_sources_from_others() {
        for (file, package) in [
            ("src/main.rs", None),
            ("crates/cart-2/src/lib.rs", None),
            ("/srv/shop/src/main.rs", None),
            ("/opt/build/shop-1.2.0/src/main.rs", None),
            (
                "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/hyper-util-0.1.3/src/rt.rs",
                Some("hyper-util"),
            ),
            (
                "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/sea-orm-2.0.0-rc.1/src/lib.rs",
                Some("sea-orm"),
            ),
            (
                "/root/.cargo/git/checkouts/tonic-0123456789abcdef/abc1234/src/lib.rs",
                Some("tonic"),
            ),
            ("/rustc/0123/library/core/src/future.rs", Some("std")),
            (
                "/root/.rustup/toolchains/x/lib/rustlib/src/rust/library/std/src/io.rs",
                Some("std"),
            ),
            ("vendor/hyper/src/proto/h1.rs", Some("hyper")),
            ("/srv/shop/vendor/h2-0.4.1/src/lib.rs", Some("h2")),
            ("hyper-1.4.0/src/proto/h1.rs", Some("hyper")),
        ] {
            assert_eq!(self::package(file, shortened(file)), package, "{file}");
            assert_eq!(place(file).is_foreign(), package.is_some(), "{file}");
        }
    }

    #[test]
    fn paths_are_shortened_to_what_tells() {
        for (file, shown) in [
            ("src/main.rs", "src/main.rs"),
            ("/srv/gateway/src/main.rs", "/srv/gateway/src/main.rs"),
            (
                "/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.54.1/src/time/sleep.rs",
                "tokio-1.54.1/src/time/sleep.rs",
            ),
            (
                "/home/u/.cargo/git/checkouts/hyper-1a2b3c/9f8e7d/src/lib.rs",
                "hyper-1a2b3c/9f8e7d/src/lib.rs",
            ),
            (
                "/rustc/0123abcd/library/core/src/future/mod.rs",
                "core/src/future/mod.rs",
            ),
            (
                "/home/u/.rustup/toolchains/x/lib/rustlib/src/rust/library/std/src/thread/mod.rs",
                "std/src/thread/mod.rs",
            ),
            ("/rustc/", "/rustc/"),
        ] {
            assert_eq!(shortened(file), shown);
        }
    }
}
