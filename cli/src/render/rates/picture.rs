//! Rates as a terminal shows them: what they are now, and graphs of what they were.

use std::io::{self, Write};

use rtops_render::style::{Paint, Style};
use rtops_report::{escape::escape, format};

use super::{
    Reading, RuntimeReading, Watched,
    graph::{Row, Section, Series, Unit},
};
use crate::watch::sample::{Sample, alive_tasks};

const LABEL: usize = 12;
const VALUE: usize = 9;
const GAP: usize = 2;
/// A terminal with fewer columns shows no peaks.
const WITH_PEAKS: usize = 60;
/// The columns of a worker that shares a row with others.
const CELL: usize = 5;
/// As many runtimes are shown; anybody may claim to have thousands.
const MAX_RUNTIMES: usize = 16;

/// All figures below their titles, for a terminal with so many rows.
pub fn picture(
    writer: &mut Vec<u8>,
    style: Style,
    rows: usize,
    watched: &Watched,
) -> io::Result<()> {
    let Sample { stats, figures, .. } = &watched.last;
    let title = format!("{} (pid {})", escape(&stats.name), figures.pid);
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
    let missing = watched.missing.as_deref().map(escape).unwrap_or_default();
    writeln!(writer, "{}", style.paint(Paint::Warning, missing))?;
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
        let peak = format!("{:>VALUE$}", text(series.peak));
        write!(writer, "{}", style.paint(Paint::Faint, peak))?;
        left = left.saturating_sub(VALUE);
    }
    let bars = series.bars(left, row.unit);
    writeln!(writer, "{:GAP$}{}", "", bars.trim_end())
}

fn width(style: Style) -> usize {
    style.width.unwrap_or(usize::MAX)
}

fn with_peaks(style: Style) -> bool {
    width(style) >= WITH_PEAKS
}

/// The shares of workers that share rows, each of which begins with the number of its first.
fn cells(writer: &mut Vec<u8>, style: Style, workers: &[Row]) -> io::Result<()> {
    let fitting = width(style).saturating_sub(LABEL) / CELL;
    // A round number is found again more easily.
    let round = [40, 20, 10, 5];
    let in_a_row = round.into_iter().find(|number| *number <= fitting);
    for row in workers.chunks(in_a_row.unwrap_or(1)) {
        if let Some(first) = row.first() {
            write!(writer, "{:LABEL$}", first.label)?;
        }
        for worker in row {
            let percent = worker.level.unwrap_or_default() * 100.0;
            write!(writer, "{:>CELL$}", format!("{percent:.0}%"))?;
        }
        writeln!(writer)?;
    }
    Ok(())
}

/// What is shown of a sample.
pub fn sections(sample: &Sample, reading: &Reading) -> Vec<Section> {
    let Sample { stats, figures, .. } = sample;
    let mut rows = vec![
        row("polls/s", Unit::PerSecond, reading.polls),
        row("spawned/s", Unit::PerSecond, reading.spawned),
        row("finished/s", Unit::PerSecond, reading.finished),
        row("running", Unit::Number, float(stats.running)),
        row(
            "longest poll",
            Unit::Nanoseconds,
            float(longest_poll_ns(sample)),
        ),
        row("tracked", Unit::Number, float(stats.tracked_tasks)),
    ];
    rows.extend(alive_tasks(stats).map(|alive| row("alive", Unit::Number, float(alive))));
    rows.extend([
        row("CPU", Unit::Share, reading.cpu_share),
        row("RSS", Unit::Bytes, float(figures.rss_bytes)),
        row("threads", Unit::Number, float(figures.threads)),
    ]);
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

/// How long the longest poll has lasted, if any is under way.
pub fn longest_poll_ns(sample: &Sample) -> u64 {
    if sample.stats.running > 0 {
        sample.stats.longest_poll_ns
    } else {
        0
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
