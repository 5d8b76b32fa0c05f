//! Replies about memory, and about trimming it.

use rtops_protocol::{
    Allocator, Counted, Figure, Memory, Reply, SizeClass, TrimCall, Trimmed, Unit,
};

fn memory(in_use: Option<u64>) -> Memory {
    let figure = |name: &str, unit, value| Figure {
        name: name.to_owned(),
        unit,
        value,
    };
    let allocator = Allocator {
        name: "glibc malloc".to_owned(),
        held: Some(115_000_000),
        in_use,
        kept: Some(31_000_000),
        figures: vec![
            figure("free at the top", Unit::Bytes, 132_096),
            figure("free pieces", Unit::Count, 1204),
        ],
        notes: vec!["no more is known".to_owned()],
        took_ns: 250_000,
    };
    let class = |up_to| SizeClass {
        up_to,
        live_blocks: 1000,
        live_bytes: 60_000,
        blocks: 70_000,
        bytes: 4_200_000,
    };
    let counted = Counted {
        allocations: 140_000,
        frees: 138_000,
        reallocations: 512,
        classes: vec![class(64), class(u64::MAX)],
    };
    Memory {
        clock_ns: 123_456_789,
        allocators: vec![allocator],
        counted: in_use.map(|_| counted),
    }
}

/// Returns one message of each form.
pub fn memories() -> Vec<Reply> {
    let call = |failed| TrimCall {
        allocator: "glibc malloc".to_owned(),
        call: "malloc_trim(0)".to_owned(),
        took_ns: 8_000_000,
        failed,
    };
    let trimmed = Trimmed {
        before: memory(Some(84_000_000)),
        calls: vec![call(None), call(Some(14))],
        after: memory(None),
    };
    vec![
        Reply::Memory(memory(Some(84_000_000))),
        Reply::Memory(memory(None)),
        Reply::Trimmed(trimmed),
    ]
}
