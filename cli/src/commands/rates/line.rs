//! Rates for a file or pipe: one line per sample.

use std::io::{self, Write};

use rtops_report::{escape::escape, format};

use super::{graph::Unit, watched::Watched};

/// After this many lines, the titles are printed again.
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

/// Prints the line of this sample. No field contains a space.
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
    writeln!(writer, "  {}", workers(watched))?;
    faults(writer, watched, time)
}

/// Prints a line for each fault that was not there at the look before.
fn faults(writer: &mut dyn Write, watched: &mut Watched, time: &str) -> io::Result<()> {
    let Some(looked) = watched.looks.as_ref().and_then(|looks| looks.last.as_ref()) else {
        return Ok(());
    };
    // Sentences say how long it has been so, which must not make them differ.
    let timeless = |text: &str| text.replace(|character: char| character.is_ascii_digit(), "");
    for (fault, sentence) in &looked.faults {
        let is_it =
            |(known, told): &(&str, String)| known == fault && timeless(told) == timeless(sentence);
        if !watched.told.iter().any(is_it) {
            writeln!(writer, "{time:TIME$}  {fault}: {sentence}")?;
        }
    }
    watched.told.clone_from(&looked.faults);
    Ok(())
}

fn fields(watched: &Watched) -> [String; TITLES.len()] {
    let (reading, figures) = (&watched.reading, &watched.last.figures);
    let number = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
    let rate = |rate: Option<f64>| rate.map_or_else(none, |rate| Unit::PerSecond.text(rate));
    [
        rate(reading.polls),
        rate(reading.spawned),
        rate(reading.finished),
        number(reading.running),
        reading
            .longest_poll_ns
            .map_or_else(none, format::nanoseconds),
        number(reading.tracked),
        number(reading.alive),
        number(reading.queue()),
        format::percent(reading.cpu_share),
        format::bytes(figures.rss_bytes),
        figures.threads.to_string(),
        reading.busy().map_or_else(none, format::percent),
    ]
}

/// Formats the busy percentages of all workers, with a slash between runtimes.
fn workers(watched: &Watched) -> String {
    let runtimes = watched.reading.runtimes.iter().map(|runtime| {
        let workers = runtime.workers.iter();
        let percents = workers.map(|share| format!("{:.0}", share * 100.0));
        percents.collect::<Vec<_>>().join(",")
    });
    let workers = runtimes.collect::<Vec<_>>().join("/");
    match workers.is_empty() {
        true => none(),
        false => workers,
    }
}

fn none() -> String {
    "-".to_owned()
}
