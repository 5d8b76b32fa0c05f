//! Writes a profile as the two texts of Go's goroutine profile.
//!
//! Readers of these texts look for Go's words, so a task is called a goroutine here.

use std::{
    cmp::Reverse,
    collections::HashMap,
    io::{self, Write},
};

use rtops_protocol::TaskKind;
use rtops_report::{
    escape::escape,
    task::{MAX_NESTING, Task, TaskKey},
    tree::MAX_BRANCHES,
};
use rtops_symbols::display_name;

use super::{
    Profile,
    sample::{Call, Sample, samples},
};

const SECONDS_A_MINUTE: u64 = 60;

/// Writes the text of `debug=1`.
pub(super) fn grouped(profile: &Profile, writer: &mut impl Write) -> io::Result<()> {
    let samples = tasks(profile);
    let total: usize = samples.iter().map(|sample| sample.tasks.len()).sum();
    writeln!(writer, "goroutine profile: total {total}")?;
    for sample in &samples {
        write!(writer, "{} @", sample.tasks.len())?;
        let first = sample.ways.first().map_or(&[][..], |way| &way.calls);
        let mut addresses: Vec<u64> = first.iter().filter_map(returns_to).collect();
        if addresses.is_empty() {
            // Readers expect at least one.
            addresses.push(0);
        }
        for address in addresses {
            write!(writer, " {address:#x}")?;
        }
        writeln!(writer)?;
        let labels = sample.labels(None).into_iter();
        let labels: Vec<String> = labels
            .map(|(key, text)| format!("{}:{}", quoted(key), quoted(&text)))
            .collect();
        writeln!(writer, "# labels: {{{}}}", labels.join(", "))?;
        for call in calls(sample) {
            for line in &call.lines {
                writeln!(
                    writer,
                    "#\t{:#x}\t{}+{:#x}\t{}:{}",
                    call.address,
                    line.name,
                    call.offset,
                    known(&line.file),
                    line.line
                )?;
            }
        }
        writeln!(writer)?;
    }
    remarks(profile, writer)
}

/// Writes the text of `debug=2`.
pub(super) fn each(profile: &Profile, writer: &mut impl Write) -> io::Result<()> {
    let by_key = profile.dump.tasks_by_key();
    let samples = tasks(profile);
    // The stacks, formatted once per sample.
    let stacks: Vec<String> = samples.iter().map(stack).collect();
    let mut all: Vec<(&Task, &Sample, &str)> = Vec::with_capacity(by_key.len());
    for (sample, stack) in samples.iter().zip(&stacks) {
        all.extend(sample.tasks.iter().map(|task| (*task, sample, &**stack)));
    }
    all.sort_by_key(|(task, ..)| (Reverse(task.since()), task.key));
    for (task, sample, stack) in all {
        let since = task.since().map_or(0, |since| since.as_secs());
        let since = match since / SECONDS_A_MINUTE {
            0 => String::new(),
            minutes => format!(", {minutes} minutes"),
        };
        let (number, state) = (profile.dump.number(task.key), &sample.state);
        writeln!(writer, "goroutine {number} [{state}{since}]:")?;
        writer.write_all(stack.as_bytes())?;
        writeln!(
            writer,
            "created by {}\n\t{} +0x0\n",
            creator(profile, &by_key, task),
            place(sample)
        )?;
    }
    remarks(profile, writer)
}

/// Returns the samples of tasks, without spans on their own.
fn tasks(profile: &Profile) -> Vec<Sample<'_>> {
    let mut samples = samples(profile);
    samples.retain(|sample| sample.kind != TaskKind::Span);
    samples
}

/// Returns the calls of the first path, then those of the others, each after words that say so.
fn calls<'a>(sample: &Sample<'a>) -> Vec<Call<'a>> {
    let mut calls = Vec::new();
    let site = sample.site.as_ref();
    for (number, way) in sample.ways.iter().take(MAX_BRANCHES).enumerate() {
        if number > 0 {
            calls.push(Call::words("(also waiting at)".to_owned(), site));
        }
        calls.extend(way.calls.iter().cloned());
    }
    let hidden = sample.ways.len().saturating_sub(MAX_BRANCHES);
    if hidden > 0 {
        let words = format!("(also waiting in {hidden} more places)");
        calls.push(Call::words(words, site));
    }
    calls
}

/// Returns the return address of a call; readers subtract one from it.
fn returns_to(call: &Call) -> Option<u64> {
    (call.address != 0).then(|| call.address.saturating_add(1))
}

/// Formats functions and their places as in a Go panic, with the task's name as the outermost
/// function. The arguments are unknown, as for functions inlined by Go.
fn stack(sample: &Sample) -> String {
    let name = sample.name.map(|name| {
        let words = format!("task {}", quoted(name));
        Call::words(words, sample.site.as_ref())
    });
    let calls = calls(sample);
    let lines = calls.iter().chain(&name).flat_map(|call| {
        call.lines.iter().map(|line| {
            let (name, file, offset) = (&line.name, known(&line.file), call.offset);
            format!("{name}(...)\n\t{file}:{} +{offset:#x}\n", line.line)
        })
    });
    lines.collect()
}

/// Returns where the tasks were spawned.
fn place(sample: &Sample) -> String {
    match &sample.site {
        Some(site) => format!("{}:{}", escape(&site.file), site.line),
        None => "??:0".to_owned(),
    }
}

/// Returns the file, or a placeholder if it is unknown.
fn known(file: &str) -> &str {
    if file.is_empty() { "??" } else { file }
}

/// Returns the task that spawned a task, and its number; for a span, the task around the span.
fn creator(profile: &Profile, by_key: &HashMap<TaskKey, &Task>, task: &Task) -> String {
    let Some(mut key) = task.parent() else {
        return "no tracked task".to_owned();
    };
    let mut parent = by_key.get(&key);
    for _ in 0..MAX_NESTING {
        match parent.map(|span| (span.kind, span.parent())) {
            Some((TaskKind::Span, Some(around))) => {
                key = around;
                parent = by_key.get(&key);
            }
            _ => break,
        }
    }
    let dump = &profile.dump;
    let name = match parent.map(|parent| parent.tracked()) {
        None => "a task or span that has ended".to_owned(),
        Some(parent) => {
            let name = parent.and_then(|parent| dump.string(parent.name));
            let future = parent.and_then(|parent| dump.string(parent.future_type));
            match (name, future) {
                (Some(name), _) => quoted(name),
                (None, Some(future)) => escape(&display_name(future)).into_owned(),
                (None, None) => "a task without a name".to_owned(),
            }
        }
    };
    format!("{name} in goroutine {}", dump.number(key))
}

/// Writes what is missing and what better symbols would add, in lines that readers skip.
fn remarks(profile: &Profile, writer: &mut impl Write) -> io::Result<()> {
    super::remarks(profile).try_for_each(|text| writeln!(writer, "# {text}"))
}

/// Quotes a text as Go does.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    escape(&quoted).into_owned()
}
