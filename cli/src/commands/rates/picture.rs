//! Rates as a terminal shows them: current values, and graphs of earlier ones.

use std::io::{self, Write};

use rtops_render::style::{Paint, Style};
use rtops_report::{escape::escape, format};

use super::{
    graph::{Row, Section, Series, Unit},
    watched::{Reading, RuntimeReading, Watched},
};
use crate::{commands::stats::text::called, watch::sample::Sample};

const LABEL: usize = 12;
const VALUE: usize = 9;
const GAP: usize = 2;
/// A terminal with fewer columns shows no peaks.
const WITH_PEAKS: usize = 60;
/// The columns of a worker that shares a row with others.
const CELL: usize = 5;
/// Fewer types are not worth the rows.
const FEWEST_TYPES: usize = 3;
/// The columns of a number of tasks, and of how many came or went.
const TASKS: usize = 7;
const MOVED: usize = 8;
/// The most runtimes to show: any process may claim to have thousands.
const MAX_RUNTIMES: usize = 16;

/// Prints all figures below their titles, for a terminal with this many rows.
pub fn picture(
    writer: &mut Vec<u8>,
    style: Style,
    rows: usize,
    watched: &Watched,
) -> io::Result<()> {
    let figures = &watched.last.figures;
    let title = format!("{} (pid {})", escape(watched.last.name()), figures.pid);
    let (title, uptime) = (
        style.paint(Paint::Heading, title),
        format::duration(figures.uptime),
    );
    write!(writer, "{title}, up {uptime}")?;
    if with_peaks(style) {
        let interval = format::duration(watched.interval);
        write!(writer, ", every {interval}, until Ctrl-C")?;
    }
    writeln!(writer)?;
    writeln!(writer, "{}", style.paint(Paint::Warning, remark(watched)))?;
    let sections = sections(&watched.last, &watched.reading);
    // The title, the line below it, and the row of the cursor.
    let all_rows = 3 + sections.iter().map(Section::height).sum::<usize>();
    let in_rows = all_rows <= rows;
    for (number, section) in sections.iter().enumerate() {
        if number > 0 {
            writeln!(writer)?;
        }
        heading(writer, style, number, section)?;
        let shown = if in_rows { &section.workers[..] } else { &[] };
        for row in section.rows.iter().chain(shown) {
            let series = watched.history.of(number, &row.label);
            figure(writer, style, row, series)?;
        }
        if !in_rows {
            cells(writer, style, &section.workers)?;
        }
    }
    let drawn = 1 + writer.iter().filter(|byte| **byte == b'\n').count();
    types(writer, style, watched, rows.saturating_sub(drawn))
}

/// Says what matters most: why there is no sample, or no look, or what is wrong with the process.
fn remark(watched: &Watched) -> String {
    if let Some(missing) = &watched.missing {
        return escape(missing).into_owned();
    }
    let Some(looks) = &watched.looks else {
        return String::new();
    };
    let faults = looks.last.iter().flat_map(|looked| &looked.faults);
    let faults: Vec<_> = faults.collect();
    match (&looks.missing, faults.as_slice()) {
        (Some(missing), _) => format!("not looked at: {}", escape(missing)),
        (None, []) => String::new(),
        (None, [(fault, sentence)]) => format!("{fault}: {sentence}"),
        (None, [(fault, sentence), others @ ..]) => {
            let others = format::count(others.len(), "more fault");
            format!("{fault} (and {others}): {sentence}")
        }
    }
}

/// Prints the tasks by type, with how many came and went, if there are rows for some of them.
fn types(writer: &mut Vec<u8>, style: Style, watched: &Watched, rows: usize) -> io::Result<()> {
    let looks = watched.looks.as_ref();
    let Some(looked) = looks.and_then(|looks| looks.last.as_ref()) else {
        return Ok(());
    };
    // An empty row and the titles.
    let room = rows.saturating_sub(2);
    if room < FEWEST_TYPES {
        return Ok(());
    }
    writeln!(writer)?;
    let moved = looked.since_first.as_deref();
    let number = |count: Option<usize>| count.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let lines: Vec<[String; 4]> = match moved {
        Some(moved) => moved
            .iter()
            .map(|of_type| {
                [
                    of_type.count.to_string(),
                    number(of_type.came),
                    number(of_type.went),
                    called(&of_type.title, of_type.kind),
                ]
            })
            .collect(),
        None => looked
            .census
            .by_type
            .iter()
            .map(|of_type| {
                let title = called(&of_type.title, of_type.kind);
                [of_type.count.to_string(), number(None), number(None), title]
            })
            .collect(),
    };
    let read = format::duration(looked.at.elapsed());
    let heading = format!(
        "{:>TASKS$}{:>MOVED$}{:>MOVED$}  TYPE, as read {read} ago",
        "TASKS", "CAME", "WENT"
    );
    writeln!(writer, "{}", style.paint(Paint::Heading, heading))?;
    for [tasks, came, went, title] in lines.into_iter().take(room) {
        writeln!(
            writer,
            "{tasks:>TASKS$}{came:>MOVED$}{went:>MOVED$}  {title}"
        )?;
    }
    Ok(())
}

fn heading(writer: &mut Vec<u8>, style: Style, number: usize, section: &Section) -> io::Result<()> {
    let mut heading = section.title.clone();
    if number == 0 {
        heading = format!("{heading:LABEL$}{:>VALUE$}", "NOW");
        if with_peaks(style) {
            heading = format!("{heading}{:>VALUE$}", "PEAK");
        }
    }
    writeln!(writer, "{}", style.paint(Paint::Heading, heading))
}

fn figure(
    writer: &mut Vec<u8>,
    style: Style,
    row: &Row,
    series: Option<&Series>,
) -> io::Result<()> {
    let text = |level| row.unit.text(level);
    let level = row.level.map_or_else(|| "-".to_owned(), text);
    write!(writer, "{:LABEL$}{level:>VALUE$}", row.label)?;
    let Some(series) = series else {
        return writeln!(writer);
    };
    let mut left = width(style).saturating_sub(LABEL + VALUE + GAP);
    if with_peaks(style) {
        let peak = series.peak.map_or_else(|| "-".to_owned(), text);
        let peak = format!("{peak:>VALUE$}");
        write!(writer, "{}", style.paint(Paint::Faint, peak))?;
        left = left.saturating_sub(VALUE);
    }
    let bars = series.bars(left, row.unit);
    match bars.trim_end() {
        "" => writeln!(writer),
        bars => writeln!(writer, "{:GAP$}{bars}", ""),
    }
}

fn width(style: Style) -> usize {
    style.width.unwrap_or(usize::MAX)
}

fn with_peaks(style: Style) -> bool {
    width(style) >= WITH_PEAKS
}

/// Prints the shares of workers that share rows; a row begins with the number of its first worker.
fn cells(writer: &mut Vec<u8>, style: Style, workers: &[Row]) -> io::Result<()> {
    let fitting = width(style).saturating_sub(LABEL) / CELL;
    // Workers are easier to find by round numbers.
    let round = [40, 20, 10, 5];
    let in_a_row = round.into_iter().find(|number| *number <= fitting);
    for row in workers.chunks(in_a_row.unwrap_or(1)) {
        if let Some(first) = row.first() {
            write!(writer, "{:LABEL$}", first.label)?;
        }
        for worker in row {
            let percent = worker.level.map(|level| format!("{:.0}%", level * 100.0));
            write!(
                writer,
                "{:>CELL$}",
                percent.unwrap_or_else(|| "-".to_owned())
            )?;
        }
        writeln!(writer)?;
    }
    Ok(())
}

/// Returns what is shown of a sample; unknown figures have no row.
pub fn sections(sample: &Sample, reading: &Reading) -> Vec<Section> {
    let figures = &sample.figures;
    let mut rows = Vec::new();
    let mut known = |label: &str, unit, level: Option<f64>| {
        rows.extend(level.map(|level| row(label, unit, level)));
    };
    known("polls/s", Unit::PerSecond, reading.polls);
    known("spawned/s", Unit::PerSecond, reading.spawned);
    known("finished/s", Unit::PerSecond, reading.finished);
    known("running", Unit::Number, reading.running.map(float));
    // Its row stays even if no poll is under way, or the picture would jump.
    if reading.running.is_some() {
        rows.push(Row {
            label: "longest poll".to_owned(),
            unit: Unit::Nanoseconds,
            level: reading.longest_poll_ns.map(float),
        });
    }
    let mut known = |label: &str, unit, level: Option<f64>| {
        rows.extend(level.map(|level| row(label, unit, level)));
    };
    known("tracked", Unit::Number, reading.tracked.map(float));
    known("alive", Unit::Number, reading.alive.map(float));
    known("CPU", Unit::Share, Some(reading.cpu_share));
    known("RSS", Unit::Bytes, Some(float(figures.rss_bytes)));
    known("threads", Unit::Number, Some(float(figures.threads)));
    let mut sections = vec![Section {
        title: String::new(),
        rows,
        workers: Vec::new(),
    }];
    let runtimes = reading.runtimes.iter().take(MAX_RUNTIMES);
    sections.extend(runtimes.map(runtime_section));
    sections
}

fn runtime_section(runtime: &RuntimeReading) -> Section {
    let workers = runtime.workers.iter().enumerate();
    Section {
        title: format!("runtime \"{}\"", escape(&runtime.name)),
        rows: vec![
            row("alive", Unit::Number, float(runtime.alive_tasks)),
            row("queue", Unit::Number, float(runtime.queue)),
            Row {
                label: "busy".to_owned(),
                unit: Unit::Share,
                level: runtime.busy(),
            },
        ],
        workers: workers
            .map(|(number, share)| row(&format!("worker {number}"), Unit::Share, *share))
            .collect(),
    }
}

fn row(label: &str, unit: Unit, level: f64) -> Row {
    Row {
        label: label.to_owned(),
        unit,
        level: Some(level),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
fn float(count: u64) -> f64 {
    count as f64
}
