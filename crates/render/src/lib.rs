//! Renders what `rtops-report` finds in a dump as text, as JSON, and as profiles for Go's tools.
//!
//! The command also uses [`style`], [`bars`], [`wrap`] and `table` for its own output.
//! Nothing here talks to a process.
#![forbid(unsafe_code)]

pub mod bars;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "pprof")]
pub mod pprof;
#[cfg(feature = "table")]
pub mod section;
pub mod style;
#[cfg(feature = "table")]
pub mod table;
pub mod text;
pub mod wrap;
