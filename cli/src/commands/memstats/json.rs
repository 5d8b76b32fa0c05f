//! What a process uses its memory for, as JSON; `docs/operate/json.md` describes every field.

use std::io::{self, Write};

use rtops_protocol::{Counted, SizeClass};
use rtops_render::json;
use serde::Serialize;

use super::text::{Rates, Report};
use crate::commands::parts::{FiguresPart, HeapPart, ResidentPart};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: ProcessPart<'a>,
    memory: ResidentPart,
    /// Absent without an agent that reports it.
    heap: Option<HeapPart<'a>>,
    heap_missing: Option<&'a str>,
    counted: Option<CountedPart>,
    /// Absent if only one sample was taken.
    watched_seconds: Option<f64>,
    rss_change_bytes: Option<i64>,
}

#[derive(Serialize)]
struct ProcessPart<'a> {
    name: &'a str,
    agent_version: Option<&'a str>,
    #[serde(flatten)]
    figures: FiguresPart<'a>,
}

#[derive(Serialize)]
struct CountedPart {
    live_blocks: u64,
    live_bytes: u64,
    bytes: u64,
    allocations: u64,
    frees: u64,
    reallocations: u64,
    bytes_per_second: Option<f64>,
    allocations_per_second: Option<f64>,
    frees_per_second: Option<f64>,
    reallocations_per_second: Option<f64>,
    classes: Vec<ClassPart>,
}

#[derive(Serialize)]
struct ClassPart {
    /// Absent for the class of all larger ones.
    up_to_bytes: Option<u64>,
    live_blocks: u64,
    live_bytes: u64,
    blocks: u64,
    bytes: u64,
    blocks_per_second: Option<f64>,
    bytes_per_second: Option<f64>,
}

/// Prints samples and rates as one document.
pub fn json(writer: &mut impl Write, report: &Report) -> io::Result<()> {
    let now = &report.now;
    let agent = now.agent.as_ref();
    let counted = report.counted();
    let earlier = report.earlier.as_ref();
    let change = |now: u64, earlier: u64| {
        let change = i64::try_from(now.abs_diff(earlier)).unwrap_or(i64::MAX);
        if now < earlier { -change } else { change }
    };
    json::write(
        writer,
        &Document {
            schema: json::SCHEMA,
            process: ProcessPart {
                name: report.name(),
                agent_version: agent.ok().map(|agent| agent.version.as_str()),
                figures: FiguresPart::of(&report.figures),
            },
            memory: ResidentPart::of(&now.resident),
            heap: agent.ok().map(|agent| HeapPart::of(&agent.memory)),
            heap_missing: agent.err().map(String::as_str),
            counted: counted.map(|(counted, rates)| counted_part(counted, rates.as_ref())),
            watched_seconds: earlier.map(|earlier| now.at.duration_since(earlier.at).as_secs_f64()),
            rss_change_bytes: earlier.map(|earlier| change(now.resident.rss, earlier.resident.rss)),
        },
    )
}

fn counted_part(counted: &Counted, rates: Option<&Rates<'_>>) -> CountedPart {
    let rate = |now: u64, of: fn(&Counted) -> u64| Some(rates?.of(now, of));
    CountedPart {
        live_blocks: counted.live_blocks(),
        live_bytes: counted.live_bytes(),
        bytes: counted.bytes(),
        allocations: counted.allocations,
        frees: counted.frees,
        reallocations: counted.reallocations,
        bytes_per_second: rate(counted.bytes(), Counted::bytes),
        allocations_per_second: rate(counted.allocations, |counted| counted.allocations),
        frees_per_second: rate(counted.frees, |counted| counted.frees),
        reallocations_per_second: rate(counted.reallocations, |counted| counted.reallocations),
        classes: counted
            .classes
            .iter()
            .map(|class| class_part(class, rates))
            .collect(),
    }
}

fn class_part(class: &SizeClass, rates: Option<&Rates<'_>>) -> ClassPart {
    let rate = |of: fn(&SizeClass) -> u64| Some(rates?.of_class(class, of));
    ClassPart {
        up_to_bytes: Some(class.up_to).filter(|size| *size != u64::MAX),
        live_blocks: class.live_blocks,
        live_bytes: class.live_bytes,
        blocks: class.blocks,
        bytes: class.bytes,
        blocks_per_second: rate(|class| class.blocks),
        bytes_per_second: rate(|class| class.bytes),
    }
}
