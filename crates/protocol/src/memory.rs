//! What the allocators of a process report, and what counting its blocks shows.

use serde::{Deserialize, Serialize};

/// The answer to [`Request::Memory`](crate::Request::Memory).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Memory {
    /// The agent's clock, in nanoseconds: rates between two replies are computed over its advance.
    pub clock_ns: u64,
    /// The allocators that the agent found in the process. That of the service's own code comes
    /// first, if it can be determined. Each has separate memory.
    pub allocators: Vec<Allocator>,
    /// The counts, if the service installed an allocator that counts.
    pub counted: Option<Counted>,
}

/// An allocator and its heap.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Allocator {
    /// Its name, such as `glibc malloc`.
    pub name: String,
    /// Bytes that it got from the system and that may be in memory.
    pub held: Option<u64>,
    /// Bytes of `held` in blocks that are in use, as the allocator rounds them.
    pub in_use: Option<u64>,
    /// Bytes that are free and kept for later.
    pub kept: Option<u64>,
    /// Other figures that it reports.
    pub figures: Vec<Figure>,
    /// What it does not report and why: sentences for the user.
    pub notes: Vec<String>,
    /// How long it took to ask, in nanoseconds.
    pub took_ns: u64,
}

/// A figure that an allocator reports about itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Figure {
    /// What it measures, in the allocator's own words.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// Its value.
    pub value: u64,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
}

/// Counts of blocks since the process started.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counted {
    /// Blocks allocated.
    pub allocations: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Blocks resized.
    pub reallocations: u64,
    /// Blocks in use, by size, the smallest first.
    pub classes: Vec<SizeClass>,
}

/// Blocks of similar size. A block that is resized moves to the class of its new size.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SizeClass {
    /// The largest size of these blocks, in bytes; [`u64::MAX`] for all that are larger.
    pub up_to: u64,
    /// Blocks in use.
    pub live_blocks: u64,
    /// Bytes in the blocks in use, as requested.
    pub live_bytes: u64,
    /// Blocks that ever entered the class.
    pub blocks: u64,
    /// Bytes in the blocks that ever entered the class.
    pub bytes: u64,
}

/// The answer to [`Request::Trim`](crate::Request::Trim).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trimmed {
    /// What the allocators reported before.
    pub before: Memory,
    /// The calls that were made, in order.
    pub calls: Vec<TrimCall>,
    /// What the allocators reported afterwards.
    pub after: Memory,
}

/// A call that made an allocator return memory to the system.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrimCall {
    /// The name of the allocator.
    pub allocator: String,
    /// The call, as code.
    pub call: String,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
    /// The errno, if it failed.
    pub failed: Option<i32>,
}

impl Counted {
    /// Returns the number of blocks in use.
    #[must_use]
    pub fn live_blocks(&self) -> u64 {
        self.sum(|class| class.live_blocks)
    }

    /// Returns the number of bytes in use, as requested.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.sum(|class| class.live_bytes)
    }

    /// Returns the number of bytes ever requested.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sum(|class| class.bytes)
    }

    fn sum(&self, of: impl Fn(&SizeClass) -> u64) -> u64 {
        self.classes.iter().map(of).fold(0, u64::saturating_add)
    }
}
