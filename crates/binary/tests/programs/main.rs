//! Programs that rustc builds for the tests, as they are and spoiled.
#![allow(clippy::unwrap_used)]

mod builds;
mod hostile;
mod support;
