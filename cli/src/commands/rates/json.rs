//! Rates as JSON, one object per line; `docs/operate/json.md` describes every field.

use std::io::{self, Write};

use rtops_render::json;
use rtops_report::{
    census::{Moved, OfType},
    runtimes::SeenRuntime,
};
use rtops_types::Pid;
use serde::Serialize;
use serde_json::Value;

use super::watched::{RuntimeReading, Watched};
use crate::watch::look::Looks;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    time: &'a str,
    pid: Pid,
    name: &'a str,
    /// Why there is no sample; then the rest is absent.
    missing: Option<&'a str>,
    #[serde(flatten)]
    sample: Option<SamplePart<'a>>,
    /// Absent if the process was not looked at this time.
    look: Option<LookPart<'a>>,
    /// Why not, if a look was due.
    look_missing: Option<&'a str>,
}

/// What memory shows.
#[derive(Serialize)]
struct LookPart<'a> {
    pause_ms: f64,
    verdicts: &'a Value,
    types: &'a [OfType],
    /// Absent at the first look.
    since_last: Option<&'a [Moved]>,
    since_first: Option<&'a [Moved]>,
    runtimes: &'a [SeenRuntime],
}

#[derive(Serialize)]
struct SamplePart<'a> {
    interval_seconds: f64,
    process: ProcessPart,
    tasks: TasksPart,
    runtimes: Vec<RuntimePart<'a>>,
}

#[derive(Serialize)]
struct ProcessPart {
    uptime_seconds: f64,
    cpu_share: f64,
    rss_bytes: u64,
    threads: u64,
}

#[derive(Serialize)]
struct TasksPart {
    tracked: Option<u64>,
    alive: Option<u64>,
    running: Option<u64>,
    longest_poll_ns: Option<u64>,
    polls_per_second: Option<f64>,
    spawned_per_second: Option<f64>,
    finished_per_second: Option<f64>,
}

#[derive(Serialize)]
struct RuntimePart<'a> {
    name: &'a str,
    alive_tasks: u64,
    global_queue_depth: u64,
    busy_share: Option<f64>,
    worker_busy_shares: &'a [f64],
}

/// Prints the current rates.
pub fn json(writer: &mut dyn Write, watched: &Watched, time: &str) -> io::Result<()> {
    let document = Document {
        schema: json::SCHEMA,
        time,
        pid: watched.last.figures.pid,
        name: watched.last.name(),
        missing: watched.missing.as_deref(),
        sample: watched.missing.is_none().then(|| sample_part(watched)),
        look: watched.looks.as_ref().and_then(look_part),
        look_missing: watched
            .looks
            .as_ref()
            .and_then(|looks| looks.missing.as_deref()),
    };
    json::write_line(writer, &document)
}

fn look_part(looks: &Looks) -> Option<LookPart<'_>> {
    let looked = looks.last.as_ref().filter(|_| looks.is_new)?;
    Some(LookPart {
        pause_ms: looked.pause.as_secs_f64() * 1e3,
        verdicts: &looked.verdicts,
        types: &looked.census.by_type,
        since_last: looked.since_last.as_deref(),
        since_first: looked.since_first.as_deref(),
        runtimes: &looked.runtimes,
    })
}

fn sample_part(watched: &Watched) -> SamplePart<'_> {
    let (reading, figures) = (&watched.reading, &watched.last.figures);
    SamplePart {
        interval_seconds: reading.seconds,
        process: ProcessPart {
            uptime_seconds: figures.uptime.as_secs_f64(),
            cpu_share: reading.cpu_share,
            rss_bytes: figures.rss_bytes,
            threads: figures.threads,
        },
        tasks: TasksPart {
            tracked: reading.tracked,
            alive: reading.alive,
            running: reading.running,
            longest_poll_ns: reading.longest_poll_ns,
            polls_per_second: reading.polls,
            spawned_per_second: reading.spawned,
            finished_per_second: reading.finished,
        },
        runtimes: reading.runtimes.iter().map(runtime_part).collect(),
    }
}

fn runtime_part(runtime: &RuntimeReading) -> RuntimePart<'_> {
    RuntimePart {
        name: &runtime.name,
        alive_tasks: runtime.alive_tasks,
        global_queue_depth: runtime.queue,
        busy_share: runtime.busy(),
        worker_busy_shares: &runtime.workers,
    }
}
