//! Where a stack ends, from what its thread knows and from the mappings.

use super::maps::{MapTable, MappingKind};
use crate::gate::StackHints;

/// The end of a stack, exclusive.
pub(crate) struct StackEnd {
    pub(crate) address: u64,
    pub(super) access: Access,
}

/// How a stack may be read.
pub(super) enum Access {
    /// It is this thread's own, and stays mapped as long as the thread runs on it.
    Direct,
    /// It is memory that something else manages (a coroutine's stack): what lies beside it may be
    /// unmapped while we read, so that the kernel has to do it.
    ByKernel,
}

/// Where the stack that holds `sp` ends. Async-signal-safe.
pub(crate) fn stack_end(sp: u64, hints: StackHints, maps: Option<&MapTable>) -> Option<StackEnd> {
    let direct = |address| {
        Some(StackEnd {
            address,
            access: Access::Direct,
        })
    };
    if hints.alternate_end != 0 {
        return direct(hints.alternate_end);
    }
    let mapping = maps?.find(sp)?;
    if sp < hints.thread_pointer && hints.thread_pointer < mapping.end {
        return direct(hints.thread_pointer);
    }
    match mapping.kind {
        MappingKind::MainStack => direct(mapping.end),
        MappingKind::Other => Some(StackEnd {
            address: mapping.end,
            access: Access::ByKernel,
        }),
    }
}
