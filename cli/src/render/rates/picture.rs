//! Rates as a terminal shows them: what they are now, and graphs of what they were.

use std::io::{self, Write};

use rtops_report::{
    escape::escape,
    format,
    style::{Paint, Style},
};

use super::{
    Reading, RuntimeReading, Watched,
    graph::{Row, Section, Series, Unit},
};
use crate::sample::{Sample, alive_tasks};

const LABEL: usize = 12;
const VALUE: usize = 9;
/// A terminal with fewer columns shows no peaks.
const WITH_PEAKS: usize = 60;
/// More workers than this share rows.
const MAX_ROWS: usize = 8;
const CELL: usize = 5;
/// As many runtimes are shown; anybody may claim to have thousands.
const MAX_RUNTIMES: usize = 16;

/// All figures below their titles.
pub fn picture(writer: &mut Vec<u8>, style: Style, watched: &Watched) -> io::Result<()> {
    let Sample { stats, figures, .. } = &watched.last;
    let width = style.width.unwrap_or(usize::MAX);
    let title = format!("{} (pid {})", escape(&stats.name), figures.pid);
    writeln!(
        writer,
        "{}, up {}, every {}",
        style.paint(Paint::Heading, title),
        format::duration(figures.uptime),
        format::duration(watched.interval)
    )?;
    let missing = watched.missing.as_deref().map(escape).unwrap_or_default();
    writeln!(writer, "{}", style.paint(Paint::Warning, missing))?;
    for (number, section) in sections(&watched.last, &watched.reading).iter().enumerate() {
        if number > 0 {
            writeln!(writer)?;
        }
        let titles = match number {
            0 if width >= WITH_PEAKS => format!(
                "{:LABEL$}{:>VALUE$}{:>VALUE$}",
                section.title, "NOW", "PEAK"
            ),
            0 => format!("{:LABEL$}{:>VALUE$}", section.title, "NOW"),
            _ => section.title.clone(),
        };
        writeln!(writer, "{}", style.paint(Paint::Heading, titles))?;
        for row in &section.rows {
            let series = watched.history.of(number, &row.label);
            figure(writer, style, width, row, series)?;
        }
        cells(writer, width, &section.cells)?;
    }
    Ok(())
}

fn figure(
    writer: &mut Vec<u8>,
    style: Style,
    width: usize,
    row: &Row,
    series: Option<&Series>,
) -> io::Result<()> {
    let level = row
        .level
        .map_or_else(|| "-".to_owned(), |level| row.unit.text(level));
    write!(writer, "{:LABEL$}{level:>VALUE$}", row.label)?;
    let Some(series) = series else {
        return writeln!(writer);
    };
    let mut used = LABEL + VALUE + 2;
    if width >= WITH_PEAKS {
        let peak = format!("{:>VALUE$}", row.unit.text(series.peak));
        write!(writer, "{}", style.paint(Paint::Faint, peak))?;
        used += VALUE;
    }
    writeln!(
        writer,
        "  {}",
        series.bars(width.saturating_sub(used), row.unit)
    )
}

/// Shares in rows, each with the number of its first.
fn cells(writer: &mut Vec<u8>, width: usize, shares: &[f64]) -> io::Result<()> {
    let fitting = width.saturating_sub(LABEL) / CELL;
    // A round number is found again more easily.
    let in_a_row = [40, 20, 10, 5]
        .into_iter()
        .find(|number| *number <= fitting)
        .unwrap_or(1);
    for (number, row) in shares.chunks(in_a_row).enumerate() {
        write!(writer, "{:LABEL$}", format!("worker {}", number * in_a_row))?;
        for share in row {
            write!(writer, "{:>CELL$}", format!("{:.0}%", share * 100.0))?;
        }
        writeln!(writer)?;
    }
    Ok(())
}

/// What is shown of a sample.
pub fn sections(sample: &Sample, reading: &Reading) -> Vec<Section> {
    let Sample { stats, figures, .. } = sample;
    let mut tasks = vec![
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
    tasks.extend(alive_tasks(stats).map(|alive| row("alive", Unit::Number, float(alive))));
    let process = vec![
        row("CPU", Unit::Share, reading.cpu_share),
        row("RSS", Unit::Bytes, float(figures.rss_bytes)),
        row("threads", Unit::Number, float(figures.threads)),
    ];
    let mut sections = vec![section("tasks", tasks), section("process", process)];
    let runtimes = reading.runtimes.iter().take(MAX_RUNTIMES);
    sections.extend(runtimes.map(runtime_section));
    sections
}

fn runtime_section(runtime: &RuntimeReading) -> Section {
    let mut rows = vec![
        row("alive", Unit::Number, float(runtime.alive_tasks)),
        row("queue", Unit::Number, float(runtime.queue)),
        Row {
            label: "busy".to_owned(),
            unit: Unit::Share,
            level: runtime.busy(),
        },
    ];
    let mut cells = Vec::new();
    if runtime.workers.len() > MAX_ROWS {
        cells.clone_from(&runtime.workers);
    } else {
        let workers = runtime.workers.iter().enumerate();
        rows.extend(
            workers.map(|(number, share)| row(&format!("worker {number}"), Unit::Share, *share)),
        );
    }
    Section {
        title: format!("runtime \"{}\"", escape(&runtime.name)),
        rows,
        cells,
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

fn section(title: &str, rows: Vec<Row>) -> Section {
    Section {
        title: title.to_owned(),
        rows,
        cells: Vec::new(),
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
