//! Tests that must pass however a service is built. One tier runs them on dev builds and the other
//! on release builds: each sets its `BUILD`.

pub mod await_kinds;
mod blocked;
mod fibers;
mod joins;
mod locks;
pub mod outside;
mod threads;
pub mod unwrapped;
pub mod wakerless;
