//! Tells own frames from foreign ones, and names the libraries of the latter.

use std::collections::HashSet;

use rtops_symbols::{FrameClass, Name, Place};

use crate::frame::{Frame, FrameKind};

/// Whether a function belongs to the target's own crates, as far as can be told.
pub(crate) fn is_own(function: &str, name: &Name, place: Option<&Place>, module: &str) -> bool {
    let is_of_library = library(module).is_some() && !function.contains("::");
    let is_known = place.is_some() || function.contains("::");
    name.class() == FrameClass::User
        && !place.is_some_and(Place::is_foreign)
        && is_known
        && !is_of_library
}

/// Returns the crates of the own frames.
pub(crate) fn crates(frames: &[Frame]) -> HashSet<String> {
    let own = frames
        .iter()
        .filter(|frame| frame.own && frame.kind == FrameKind::Code && frame.place.is_some());
    let names = own.filter_map(Frame::crate_name);
    names.map(str::to_owned).collect()
}

/// Returns the name of a shared library without its version: `libc` for `libc.so.6`.
pub(crate) fn library(module: &str) -> Option<&str> {
    if module == "[vdso]" {
        return Some("vdso");
    }
    let (name, _) = module.split_once(".so")?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
