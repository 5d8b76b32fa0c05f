//! What must hold however a service is built. One tier looks at dev builds and the other at release builds:
//! each says which in its `BUILD`.

pub mod await_kinds;
mod blocked;
mod fibers;
mod joins;
mod locks;
pub mod outside;
mod threads;
pub mod unwrapped;
pub mod wakerless;
