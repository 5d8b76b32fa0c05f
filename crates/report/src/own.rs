//! Which frames are of the target's own crates, and whose the others are.

use std::collections::HashSet;

use rtops_symbols::{FrameClass, Name};

use crate::frame::{Frame, FrameKind, Place};

/// What holds the sources of dependencies that are kept with those of the target.
const VENDOR: &str = "vendor/";

/// Whether a function is of the target's own crates, as far as that is known.
pub(crate) fn is_own(function: &str, name: &Name, place: Option<&Place>, module: &str) -> bool {
    let is_of_library = library(module).is_some() && !function.contains("::");
    let is_known = place.is_some() || function.contains("::");
    name.class() == FrameClass::User
        && !place.is_some_and(Place::is_foreign)
        && is_known
        && !is_of_library
}

/// The crates of the frames that are the target's own.
pub(crate) fn crates(frames: &[Frame]) -> HashSet<String> {
    let own = frames
        .iter()
        .filter(|frame| frame.own && frame.kind == FrameKind::Code && frame.place.is_some());
    let names = own.filter_map(Frame::crate_name);
    names.map(str::to_owned).collect()
}

/// The name of a library that is a file of its own, without its version: `libc` of `libc.so.6`.
pub(crate) fn library(module: &str) -> Option<&str> {
    if module == "[vdso]" {
        return Some("vdso");
    }
    let (name, _) = module.split_once(".so")?;
    Some(name)
}

/// The dependency that a file is of, or `std`; `short` is its path behind where such files are kept.
pub(crate) fn package<'f>(file: &'f str, short: &'f str) -> Option<&'f str> {
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
    // A build without absolute paths leaves `hyper-1.0.0/src` of one from a registry.
    let first = vendored.unwrap_or(file).split_once('/');
    let (package, _) = first.filter(|(_, rest)| rest.contains('/') || rest.ends_with(".rs"))?;
    let name = without_version(package);
    (vendored.is_some() || name.len() < package.len()).then_some(name)
}

/// `hyper` of `hyper-1.4.0`, and of what cargo calls the checkout of a repository, `hyper-0123456789abcdef`.
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
            assert_eq!(
                self::package(file, crate::frame::shortened(file)),
                package,
                "{file}"
            );
            assert_eq!(place(file).is_foreign(), package.is_some(), "{file}");
        }
    }

    #[test]
    fn functions_without_a_place_are_judged_by_name_and_module() {
        for (function, module, own) in [
            ("shop::cart", "shop", true),
            ("tokio::time::sleep::Sleep::poll", "shop", false),
            ("core::pin::Pin::poll", "shop", false),
            ("shop+0x1234", "shop", false),
            ("epoll_wait", "libc.so.6", false),
            ("SSL_read", "libssl.so.3", false),
            ("plugin::run", "libplugin.so", true),
        ] {
            assert_eq!(
                is_own(function, &Name::of(function), None, module),
                own,
                "{function}"
            );
        }
    }
}
