//! Interprets the dump of an rtops agent.
//!
//! A [`dump::Dump`] is received from an agent or a file, and checked. [`frames::Frames`] resolves
//! its addresses to names. [`group`] and [`threads`] group what waits in the same way. Nothing here
//! talks to a process or prints: that is left to `rtops-render`, on behalf of the `rtops` command,
//! leak checks in tests and profiles taken inside a service.
#![forbid(unsafe_code)]

pub mod census;
pub mod chains;
mod connection;
pub mod crash;
pub mod diff;
pub mod dump;
pub mod escape;
pub mod format;
pub mod frame;
pub mod frames;
pub mod future;
pub mod group;
pub mod holders;
mod join;
pub mod leaks;
pub mod lineage;
pub mod order;
mod own;
pub mod page;
pub mod remarks;
pub mod runtimes;
pub mod selection;
pub mod shared;
pub mod spans;
pub mod stepped;
pub mod symbolize;
pub mod task;
pub mod threads;
pub mod trace;
pub mod tree;
pub mod untracked;
pub mod verdicts;
pub mod view;
pub mod waits;
pub mod words;
