//! Rates as a file or pipe gets them: a line a sample.

use std::io::{self, Write};

use rtops_report::{escape::escape, format};

use super::{Watched, graph::Unit, picture::longest_poll_ns};
use crate::watch::sample::{Sample, alive_tasks};

/// After so many lines the titles are printed again.
const PAGE: usize = 20;
const TIME: usize = 20;
const COLUMN: usize = 10;
const TITLES: [&str; 12] = [
    "POLLS/S",
    "SPAWNED/S",
    "FINISHED/S",
    "RUNNING",
    "LONGEST",
    "TRACKED",
    "ALIVE",
    "QUEUE",
    "CPU",
    "RSS",
    "THREADS",
    "BUSY",
];

/// The line of this sample. No field has a space in it.
pub fn text(writer: &mut dyn Write, watched: &mut Watched, time: &str) -> io::Result<()> {
    if watched.printed.is_multiple_of(PAGE) {
        write!(writer, "{:TIME$}", "TIME")?;
        for title in TITLES {
            write!(writer, "  {title:>COLUMN$}")?;
        }
        writeln!(writer, "  WORKERS")?;
    }
    watched.printed += 1;
    if let Some(missing) = &watched.missing {
        return writeln!(writer, "{time:TIME$}  {}", escape(missing));
    }
    write!(writer, "{time:TIME$}")?;
    for field in fields(watched) {
        write!(writer, "  {:>COLUMN$}", field.replace(' ', ""))?;
    }
    writeln!(writer, "  {}", workers(watched))
}

fn fields(watched: &Watched) -> [String; TITLES.len()] {
    let (reading, Sample { stats, figures, .. }) = (&watched.reading, &watched.last);
    let known = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
    [
        Unit::PerSecond.text(reading.polls),
        Unit::PerSecond.text(reading.spawned),
        Unit::PerSecond.text(reading.finished),
        stats.running.to_string(),
        format::nanoseconds(longest_poll_ns(&watched.last)),
        stats.tracked_tasks.to_string(),
        known(alive_tasks(stats)),
        known(reading.queue()),
        format::percent(reading.cpu_share),
        format::bytes(figures.rss_bytes),
        figures.threads.to_string(),
        reading.busy().map_or_else(none, format::percent),
    ]
}

/// The busy percents of all workers, those of several runtimes parted by a slash.
fn workers(watched: &Watched) -> String {
    let runtimes = watched.reading.runtimes.iter().map(|runtime| {
        let workers = runtime.workers.iter();
        let percents = workers.map(|share| format!("{:.0}", share * 100.0));
        percents.collect::<Vec<_>>().join(",")
    });
    runtimes.collect::<Vec<_>>().join("/")
}

fn none() -> String {
    "-".to_owned()
}
