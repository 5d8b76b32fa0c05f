//! The real `rtops` against real processes with the real agent: the scenarios of
//! `crates/testbed`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests"
)]

mod await_kinds;
mod axum;
mod binaries;
mod blocked;
mod builds;
mod cgroup;
mod churn;
mod closed;
mod completions;
mod core;
mod crowd;
mod endless;
mod executors;
mod fibers;
mod go;
mod harmless;
mod info;
mod joins;
mod json_docs;
mod leak_table;
mod leaks;
mod list;
mod live;
mod load;
mod locks;
mod memory;
mod names;
mod namespaces;
mod outside;
mod package;
mod pollers;
mod profile;
mod refusals;
mod reply;
mod safety;
mod saved;
mod services;
mod several;
mod source;
mod stats;
mod support;
mod terminal;
mod text;
mod threads;
mod untouched;
mod unwrapped;
mod verdict;
mod versions;
mod wakerless;
mod watched;
mod web;
