//! What `rtops-report` says of a dump, as text, as JSON, and as the profiles that Go's tools read.
//!
//! With [`style`], [`bars`], [`wrap`] and `table` the command prints what it knows itself. Nothing here asks anybody
//! anything.
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
