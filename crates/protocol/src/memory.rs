//! What the allocators of a process say, and what counting its blocks says.

use serde::{Deserialize, Serialize};

/// The answer to [`Request::Memory`](crate::Request::Memory).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Memory {
    /// The agent's clock, in nanoseconds: rates between two replies are taken over its advance.
    pub clock_ns: u64,
    /// The allocators that the agent found in the process, that of the service's own code first as
    /// far as can be told. Each has memory of its own.
    pub allocators: Vec<Allocator>,
    /// What was counted, where the service installed an allocator that counts.
    pub counted: Option<Counted>,
}

/// An allocator and its heap.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Allocator {
    /// What it is called, such as `glibc malloc`.
    pub name: String,
    /// Bytes that it got from the system and may be in memory.
    pub held: Option<u64>,
    /// Bytes of these in blocks that are in use, as the allocator rounds them.
    pub in_use: Option<u64>,
    /// Bytes that are free, and kept for later.
    pub kept: Option<u64>,
    /// What else it says.
    pub figures: Vec<Figure>,
    /// What it does not say and why: sentences for the user.
    pub notes: Vec<String>,
    /// The time that it took to ask, in nanoseconds.
    pub took_ns: u64,
}

/// Something that an allocator says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, in the allocator's own words.
    pub name: String,
    /// What it is in.
    pub unit: Unit,
    /// How much.
    pub value: u64,
}

/// What a figure is in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
}

/// Blocks, counted since the process started.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counted {
    /// Blocks asked for.
    pub allocations: u64,
    /// Blocks given back.
    pub frees: u64,
    /// Blocks that were made larger or smaller.
    pub reallocations: u64,
    /// Blocks in use, by size, the smallest first.
    pub classes: Vec<SizeClass>,
}

/// Blocks of similar size. One that is made larger or smaller leaves its class for another one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SizeClass {
    /// The largest size of these blocks, in bytes; [`u64::MAX`] for all that are larger.
    pub up_to: u64,
    /// Blocks in use.
    pub live_blocks: u64,
    /// Bytes in these, as they were asked for.
    pub live_bytes: u64,
    /// Blocks that came into the class.
    pub blocks: u64,
    /// Bytes in these.
    pub bytes: u64,
}

/// The answer to [`Request::Trim`](crate::Request::Trim).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trimmed {
    /// What the allocators said before.
    pub before: Memory,
    /// What was done, one after the other.
    pub calls: Vec<TrimCall>,
    /// What they said after it.
    pub after: Memory,
}

/// A call that had an allocator give memory back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrimCall {
    /// The name of the allocator.
    pub allocator: String,
    /// What was called.
    pub call: String,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
    /// What went wrong: an errno.
    pub failed: Option<i32>,
}

impl Counted {
    /// Blocks in use.
    #[must_use]
    pub fn live_blocks(&self) -> u64 {
        self.sum(|class| class.live_blocks)
    }

    /// Bytes in use, as they were asked for.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.sum(|class| class.live_bytes)
    }

    /// Bytes that were ever asked for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sum(|class| class.bytes)
    }

    fn sum(&self, of: impl Fn(&SizeClass) -> u64) -> u64 {
        self.classes.iter().map(of).fold(0, u64::saturating_add)
    }
}
