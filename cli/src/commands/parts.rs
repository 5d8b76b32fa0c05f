//! Parts of JSON documents that several commands print.

use rtops_binary::Rustc;
use rtops_protocol::{Allocator, Memory, Unit};
use serde::Serialize;

use crate::proc::{
    Figures,
    allocators::Sums,
    memory::{Resident, Rollup},
};

/// The figures of a process, as every list and report has them.
#[derive(Debug, Serialize)]
pub struct FiguresPart<'a> {
    #[serde(flatten)]
    pub figures: &'a Figures,
    cpu_share: f64,
}

impl<'a> FiguresPart<'a> {
    pub fn of(figures: &'a Figures) -> Self {
        Self {
            figures,
            cpu_share: figures.cpu_share(),
        }
    }
}

/// What is known of a compiler.
#[derive(Serialize)]
pub struct RustcFields<'a> {
    rustc_version: Option<&'a str>,
    rustc_commit: Option<&'a str>,
}

impl<'a> RustcFields<'a> {
    pub fn of(rustc: Option<&'a Rustc>) -> Self {
        let (version, commit) = match rustc {
            Some(Rustc::Version(version)) => (Some(version), None),
            Some(Rustc::Commit(commit)) => (None, Some(commit)),
            None => (None, None),
        };
        Self {
            rustc_version: version.map(String::as_str),
            rustc_commit: commit.map(String::as_str),
        }
    }
}

/// The memory that a process has of the kernel.
#[derive(Serialize)]
pub struct ResidentPart {
    rss_bytes: u64,
    peak_rss_bytes: Option<u64>,
    pss_bytes: Option<u64>,
    private_bytes: Option<u64>,
    shared_bytes: Option<u64>,
    anonymous_bytes: Option<u64>,
    file_bytes: Option<u64>,
    shmem_bytes: Option<u64>,
    swap_bytes: Option<u64>,
    huge_page_bytes: Option<u64>,
    locked_bytes: Option<u64>,
    /// Why some are unknown.
    missing: Option<&'static str>,
}

impl ResidentPart {
    pub fn of(resident: &Resident) -> Self {
        let rollup = |of: fn(&Rollup) -> u64| resident.rollup.as_ref().ok().map(of);
        Self {
            rss_bytes: resident.rss,
            peak_rss_bytes: resident.peak,
            pss_bytes: rollup(|rollup| rollup.pss),
            private_bytes: rollup(|rollup| rollup.private),
            shared_bytes: rollup(|rollup| rollup.shared),
            anonymous_bytes: resident.anonymous,
            file_bytes: resident.file,
            shmem_bytes: resident.shmem,
            swap_bytes: resident.swap,
            huge_page_bytes: rollup(|rollup| rollup.huge),
            locked_bytes: rollup(|rollup| rollup.locked),
            missing: resident.rollup.as_ref().err().copied(),
        }
    }
}

/// What allocators hold, as an agent reports it.
#[derive(Serialize)]
pub struct HeapPart<'a> {
    held_bytes: Option<u64>,
    in_use_bytes: Option<u64>,
    kept_bytes: Option<u64>,
    allocators: Vec<AllocatorPart<'a>>,
}

#[derive(Serialize)]
struct AllocatorPart<'a> {
    name: &'a str,
    held_bytes: Option<u64>,
    in_use_bytes: Option<u64>,
    kept_bytes: Option<u64>,
    figures: Vec<FigurePart<'a>>,
    notes: &'a [String],
    took_ns: u64,
}

#[derive(Serialize)]
struct FigurePart<'a> {
    name: &'a str,
    unit: &'static str,
    value: u64,
}

impl<'a> HeapPart<'a> {
    pub fn of(memory: &'a Memory) -> Self {
        let sums = Sums::of(memory);
        Self {
            held_bytes: sums.held,
            in_use_bytes: sums.in_use,
            kept_bytes: sums.kept,
            allocators: memory.allocators.iter().map(AllocatorPart::of).collect(),
        }
    }
}

impl<'a> AllocatorPart<'a> {
    fn of(allocator: &'a Allocator) -> Self {
        let figures = allocator.figures.iter().map(|figure| FigurePart {
            name: &figure.name,
            unit: match figure.unit {
                Unit::Bytes => "bytes",
                Unit::Count => "count",
            },
            value: figure.value,
        });
        Self {
            name: &allocator.name,
            held_bytes: allocator.held,
            in_use_bytes: allocator.in_use,
            kept_bytes: allocator.kept,
            figures: figures.collect(),
            notes: &allocator.notes,
            took_ns: allocator.took_ns,
        }
    }
}
