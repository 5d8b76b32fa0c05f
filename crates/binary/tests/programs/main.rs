//! Programs that rustc builds for the tests, intact and damaged.
#![allow(clippy::unwrap_used)]

mod builds;
mod hostile;
mod support;
