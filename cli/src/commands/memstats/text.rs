//! What a process uses its memory for.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::{Duration, Instant},
};

use rtops_protocol::{Allocator, Counted, Memory, SizeClass, Unit};
use rtops_render::{
    section::{INDENT, section},
    style::{Paint, Style},
    table::{self, Column, Fit},
};
use rtops_report::{escape::escape, format};

use crate::proc::{Figures, allocators::Sums, memory::Resident};

/// One or two samples of a process.
#[derive(Debug)]
pub struct Report {
    pub figures: Figures,
    pub now: Sample,
    /// The sample that changes are relative to.
    pub earlier: Option<Sample>,
}

/// What was known at one time.
#[derive(Debug)]
pub struct Sample {
    pub at: Instant,
    pub resident: Resident,
    /// What the agent reported, else why it reported nothing.
    pub agent: Result<Agent, String>,
}

/// What an agent reported.
#[derive(Debug)]
pub struct Agent {
    pub name: String,
    pub version: String,
    pub memory: Memory,
}

/// What the rates per second are computed from: an earlier sample, and the time since then.
#[derive(Debug)]
pub struct Rates<'a> {
    pub earlier: &'a Counted,
    pub elapsed_ns: u64,
}

impl Report {
    pub fn name(&self) -> &str {
        let agent = self.now.agent.as_ref();
        agent.map_or(self.figures.name.as_str(), |agent| &agent.name)
    }

    /// Returns what was counted, with the rates if there is an earlier sample.
    pub fn counted(&self) -> Option<(&Counted, Option<Rates<'_>>)> {
        let now = &self.now.agent.as_ref().ok()?.memory;
        let rates = self.earlier.as_ref().and_then(|earlier| {
            let earlier = &earlier.agent.as_ref().ok()?.memory;
            Some(Rates {
                earlier: earlier.counted.as_ref()?,
                elapsed_ns: now.clock_ns.saturating_sub(earlier.clock_ns),
            })
        });
        Some((now.counted.as_ref()?, rates))
    }
}

impl Rates<'_> {
    /// Returns how fast a number grew, per second.
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    pub fn of(&self, now: u64, earlier: impl Fn(&Counted) -> u64) -> f64 {
        let grown = now.saturating_sub(earlier(self.earlier));
        grown as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }

    /// Returns how fast a number of a size class grew; the class may be new.
    pub fn of_class(&self, now: &SizeClass, of: impl Fn(&SizeClass) -> u64) -> f64 {
        self.of(of(now), |earlier| {
            let mut classes = earlier.classes.iter();
            let class = classes.find(|class| class.up_to == now.up_to);
            class.map_or(0, &of)
        })
    }
}

/// Prints a summary line, and sections with the rest.
pub fn text(writer: &mut impl Write, style: Style, report: &Report) -> io::Result<()> {
    let Sample {
        resident, agent, ..
    } = &report.now;
    let title = format!("{} (pid {})", escape(report.name()), report.figures.pid);
    let version = match agent {
        Ok(agent) => format!(", rtops-agent {}", escape(&agent.version)),
        Err(_) => String::new(),
    };
    writeln!(
        writer,
        "{}, up {}{version}",
        style.paint(Paint::Heading, title),
        format::duration(report.figures.uptime)
    )?;
    let sums = agent.as_ref().map(|agent| Sums::of(&agent.memory)).ok();
    writeln!(
        writer,
        "\n{}",
        glance(sums.unwrap_or_default(), resident.rss)
    )?;
    section(writer, style, "process", process_lines(report))?;
    let agent = match agent {
        Ok(agent) => agent,
        Err(missing) => {
            let text = format!("heap not known: {}", escape(missing));
            return writeln!(writer, "\n{}", style.paint(Paint::Faint, text));
        }
    };
    for allocator in &agent.memory.allocators {
        heap(writer, style, allocator)?;
    }
    if let Some((counted, rates)) = report.counted() {
        section(
            writer,
            style,
            "blocks as counted",
            counted_lines(counted, rates.as_ref()),
        )?;
        writeln!(writer)?;
        classes(writer, style, counted, rates.as_ref())?;
    }
    Ok(())
}

/// Says how the heap relates to what is in memory.
pub fn glance(sums: Sums, rss: u64) -> String {
    let rss_text = format::bytes(rss);
    let (Some(in_use), Some(kept)) = (sums.in_use, sums.kept) else {
        return match (sums.in_use, sums.held) {
            (Some(in_use), _) => format!("in use {}, of RSS {rss_text}", format::bytes(in_use)),
            (None, Some(held)) => format!("heap {}, of RSS {rss_text}", format::bytes(held)),
            (None, None) => format!("RSS {rss_text}"),
        };
    };
    // Memory that was returned, or never touched, is not resident.
    let remark = if in_use.saturating_add(kept) > rss {
        " (not all of it in memory)"
    } else {
        ""
    };
    format!(
        "in use {}, free but kept {}{remark}, of RSS {rss_text}",
        format::bytes(in_use),
        format::bytes(kept)
    )
}

fn process_lines(report: &Report) -> Vec<(&'static str, String)> {
    let resident = &report.now.resident;
    let change = report.earlier.as_ref().map_or_else(String::new, |earlier| {
        let before = earlier.resident.rss;
        let sign = if resident.rss < before { '-' } else { '+' };
        let elapsed = format::duration(report.now.at.duration_since(earlier.at));
        let change = format::bytes(resident.rss.abs_diff(before));
        format!(" ({sign}{change} in {elapsed})")
    });
    let rss = format::bytes(resident.rss);
    let mut lines = vec![("RSS", format!("{rss}{change}"))];
    // The kernel updates the peak only now and then.
    let peak = resident.peak.map(|peak| peak.max(resident.rss));
    lines.extend(peak.map(|peak| ("peak RSS", format::bytes(peak))));
    match &resident.rollup {
        Ok(rollup) => {
            lines.push(("PSS", format::bytes(rollup.pss)));
            lines.push(("private", format::bytes(rollup.private)));
            lines.push(("shared", format::bytes(rollup.shared)));
        }
        Err(reason) => lines.push(("PSS", (*reason).to_owned())),
    }
    for (key, value) in [
        ("anonymous", resident.anonymous),
        ("files", resident.file),
        ("shmem", resident.shmem),
        ("swap", resident.swap),
    ] {
        lines.extend(value.map(|value| (key, format::bytes(value))));
    }
    if let Ok(rollup) = &resident.rollup {
        lines.push(("huge pages", format::bytes(rollup.huge)));
        if rollup.locked > 0 {
            lines.push(("locked", format::bytes(rollup.locked)));
        }
    }
    lines
}

fn heap(writer: &mut impl Write, style: Style, allocator: &Allocator) -> io::Result<()> {
    let known = [
        ("in use", allocator.in_use),
        ("free but kept", allocator.kept),
        ("held", allocator.held),
    ];
    let known = known
        .into_iter()
        .filter_map(|(key, value)| Some((key.into(), format::bytes(value?))));
    let figures = allocator.figures.iter().map(|figure| {
        let value = match figure.unit {
            Unit::Bytes => format::bytes(figure.value),
            Unit::Count => figure.value.to_string(),
        };
        (escape(&figure.name), value)
    });
    // Short times are of no interest.
    let took = Duration::from_nanos(allocator.took_ns);
    let took =
        (took > Duration::from_millis(1)).then(|| ("answered in".into(), format::duration(took)));
    let lines: Vec<(Cow<str>, String)> = known.chain(figures).chain(took).collect();
    let title = format!("heap of {}", escape(&allocator.name));
    section(writer, style, &title, lines)?;
    for note in &allocator.notes {
        let note = style.paint(Paint::Faint, escape(note));
        writeln!(writer, "{INDENT}{note}")?;
    }
    Ok(())
}

fn counted_lines(counted: &Counted, rates: Option<&Rates<'_>>) -> Vec<(&'static str, String)> {
    let rated = |now: u64, of: fn(&Counted) -> u64| {
        let rate = rates.map(|rates| format!(" ({:.1}/s)", rates.of(now, of)));
        format!("{now}{}", rate.unwrap_or_default())
    };
    let bytes = rates.map(|rates| {
        let rate = rates.of(counted.bytes(), Counted::bytes);
        format!(" ({}/s)", whole_bytes(rate))
    });
    vec![
        (
            "live",
            format!(
                "{} in {} blocks",
                format::bytes(counted.live_bytes()),
                counted.live_blocks()
            ),
        ),
        (
            "asked for",
            format!(
                "{}{}",
                format::bytes(counted.bytes()),
                bytes.unwrap_or_default()
            ),
        ),
        (
            "allocations",
            rated(counted.allocations, |counted| counted.allocations),
        ),
        ("frees", rated(counted.frees, |counted| counted.frees)),
        (
            "reallocations",
            rated(counted.reallocations, |counted| counted.reallocations),
        ),
    ]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is no less than zero, and what is too large becomes the largest"
)]
fn whole_bytes(rate: f64) -> String {
    format::bytes(rate as u64)
}

fn classes(
    writer: &mut impl Write,
    style: Style,
    counted: &Counted,
    rates: Option<&Rates<'_>>,
) -> io::Result<()> {
    let mut columns = vec![
        Column::new("UP TO", Fit::Number),
        Column::new("LIVE", Fit::Number),
        Column::new("BYTES", Fit::Number),
    ];
    if rates.is_some() {
        columns.push(Column::new("BLOCKS/S", Fit::Number));
        columns.push(Column::new("BYTES/S", Fit::OptionalNumber(0)));
    }
    let rows = counted.classes.iter().map(|class| {
        let mut cells = vec![
            up_to(class.up_to),
            class.live_blocks.to_string(),
            format::bytes(class.live_bytes),
        ];
        if let Some(rates) = rates {
            let blocks = rates.of_class(class, |class| class.blocks);
            let bytes = rates.of_class(class, |class| class.bytes);
            cells.push(format!("{blocks:.1}"));
            cells.push(whole_bytes(bytes));
        }
        cells
    });
    table::write(writer, style, INDENT, &columns, rows)
}

/// Formats a block size, which is a power of two.
fn up_to(size: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    if size == u64::MAX {
        return "any".to_owned();
    }
    let mut size = size;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size >= 1024 {
        let Some(next) = units.next() else { break };
        unit = next;
        size /= 1024;
    }
    format!("{size} {unit}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
