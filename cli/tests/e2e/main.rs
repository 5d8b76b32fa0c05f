//! Tests that need more than `cargo test --workspace` has: other builds, other versions of tokio,
//! Debian's programs, other users, namespaces, cgroups. `cargo xtask e2e` runs them. A test that
//! can't run on this machine prints a line that begins with `skipped: ` and gives the reason.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests"
)]

mod allocators;
mod build;
mod builds;
mod cgroup;
mod churn;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each tier uses a part")]
mod common;
mod completions;
mod core;
mod crowd;
mod debug_files;
mod endless;
#[path = "../every_build/mod.rs"]
mod every_build;
mod go;
mod groups;
mod harmless;
mod leak_table;
mod load;
mod namespaces;
mod only;
mod outside;
mod package;
mod pollers;
mod profile;
mod servers;
mod services;
mod symbols;
mod untouched;
mod users;
mod versions;
mod watched;
mod web;

use common::{
    look, memstats, processes, redact, reply, source, support, terminal, verdict, victim,
};

/// The build that is used by tests of every build.
pub const BUILD: build::Build = build::Build::Release;
