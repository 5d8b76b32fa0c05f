//! An allocator that counts, wrapped around the service's own.
//!
//! ```
//! use std::alloc::System;
//! use rtops_agent::alloc::Counting;
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting<System> = Counting::new(System);
//! # fn main() {}
//! ```
//!
//! `rtops memstats` then shows how many blocks and bytes are in use, how many are allocated and
//! freed per second, and of which sizes. Any allocator can be inside, such as jemalloc or mimalloc.
//! Without this, `rtops memstats` shows only what the kernel and the allocator report.

mod counting;
mod tally;

pub use counting::Counting;
#[cfg(target_os = "linux")]
pub(crate) use tally::counted;
