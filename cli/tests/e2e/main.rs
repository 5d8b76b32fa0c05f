//! The tests that need more than `cargo test --workspace` has: other builds, other versions of tokio, programs
//! of Debian's, other users, namespaces, cgroups. `cargo xtask e2e` runs them. A test that can't run on this
//! machine prints a line that begins with `skipped: `, and why.
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

/// What is looked at by the tests that say nothing of how it is built.
pub const BUILD: build::Build = build::Build::Release;
