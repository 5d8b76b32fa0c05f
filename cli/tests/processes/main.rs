//! Runs the real `rtops` against real processes with the real agent: the
//! scenarios of `crates/testbed`, as `cargo test --workspace` builds them. Tests
//! that need more than that are in `tests/e2e`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests"
)]

mod binaries;
mod build;
mod cases;
mod closed;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each tier uses a part")]
mod common;
mod demo;
mod diff;
#[path = "../every_build/mod.rs"]
#[allow(dead_code, reason = "the other tier looks at more builds")]
mod every_build;
mod executors;
mod info;
mod json_docs;
mod leaks;
mod links;
mod list;
mod live;
mod memory;
mod names;
mod outside;
mod pager;
mod refusals;
mod safety;
mod saved;
mod several;
mod sharing;
mod stats;
mod text;
mod untracked;

use common::{
    look, memstats, processes, redact, reply, source, support, terminal, verdict, victim,
};

/// The build that is used by tests of every build.
pub const BUILD: build::Build = build::Build::Dev;
