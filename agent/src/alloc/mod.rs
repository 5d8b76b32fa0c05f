//! An allocator that counts, around the one that the service has.
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
//! `rtops memstats` then shows how many blocks and bytes are in use, how many come and go in a
//! second, and of which sizes. Any allocator can be inside, such as jemalloc or mimalloc. Without
//! this, `rtops memstats` knows what the kernel and the allocator say.

mod counting;
mod tally;

pub use counting::Counting;
#[cfg(target_os = "linux")]
pub(crate) use tally::counted;
