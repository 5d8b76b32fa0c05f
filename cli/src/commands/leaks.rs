//! `rtops leaks`: which tasks and threads will never end.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use regex::Regex;
use rtops_protocol::StackParts;
use rtops_render::{json, style::Links, text};
use rtops_report::{
    escape::escape,
    format,
    frames::Shown,
    group::stacks_of_tasks,
    holders::Holders,
    leaks::{
        self, Judge,
        sample::{Sample, Watch},
    },
    selection::Grouping,
    symbolize::symbolize,
    threads::stacks_of_threads,
    view::{LeaksView, View},
    waits::Waits,
};

use super::{Format, Output, links};
use crate::{
    args::{LeaksArgs, OutputArgs},
    dump::{
        self, Taken,
        image::{
            Detail,
            outside::{self, Look},
        },
    },
    error::Error,
    find::target::Target,
    out::progress::Progress,
    watch::churn::ThreadChurn,
};

/// Looks at a process for a while and prints what leaks. Prints before it fails for what is
/// missing.
///
/// # Errors
/// When the process or its agent can't be asked, a file can't be read, the last dump has gaps, the
/// output can't be written, or there are findings and the user wants that to be an error.
pub fn run(args: &LeaksArgs, output: &OutputArgs) -> Result<(), Error> {
    let judge = Judge {
        min_age: args.min_age,
        ignore: ignored(args)?,
    };
    let baseline = args.baseline.as_deref().map(dump::load).transpose()?;
    let (mut last, watch) = watched(args, baseline.as_ref())?;
    let mut yielding = last.yielding.take();

    let progress = Progress::start("looking up functions and lines".to_owned());
    let mut symbols = last.symbols(&args.source.symbols);
    let used = stacks_of_tasks(&last.dump)
        .into_iter()
        .chain(stacks_of_threads(&last.dump))
        .collect();
    let frames = symbolize(&last.dump, &used, &mut symbols, Shown::Folded);
    let holders = Holders::of(&last.dump);
    let waits = Waits::of(&last.dump, &frames, &holders);
    let findings = leaks::find(&last.dump, &frames, &waits, &watch, &judge);
    let view = LeaksView {
        view: View {
            pid: last.pid,
            name: &last.name,
            agent_version: last.agent_version.as_deref(),
            dump: &last.dump,
            frames: &frames,
            waits: waits.into(),
            holders,
            grouping: Grouping::Equal,
            limit: args.limit.unwrap_or(usize::MAX),
            tasks: None,
            threads: None,
            ageless: 0,
            lacks: symbols.lacks().iter().map(ToString::to_string).collect(),
        },
        findings: &findings,
        watched: (watch.time, watch.earlier.len() + 1),
        is_compared: baseline.is_some(),
    };
    drop(progress);
    let links = links(output, &symbols, &frames);
    let mut output = Output::open_paged(output, &mut yielding)?;
    match output.format {
        Format::Json => json::leaks::json(&mut output.writer, &view)?,
        Format::Text => {
            let links = links.as_ref().map(|links| links as &dyn Links);
            let style = output.style.with_links(links);
            text::leaks::text(&mut output.writer, style, &view)?;
        }
    }
    output.finish()?;
    if args.fail && findings.serious() > 0 {
        Err(Error::Leaks(findings.serious()))
    } else if last.dump.gaps.is_empty() {
        Ok(())
    } else {
        Err(Error::Partial(last.dump.gaps))
    }
}

/// The dump to judge, and what there is to compare it with.
fn watched(args: &LeaksArgs, baseline: Option<&Taken>) -> Result<(Taken, Watch), Error> {
    if let Some(last) = dump::of_file(&args.source, Detail::Trees, None)? {
        let watch = compared(baseline, &last)?;
        return Ok((last, watch));
    }
    let target = Target::named_or_only(args.target.as_ref(), args.source.timeout)?;
    match baseline {
        Some(_) => {
            let last = take(&target, args)?;
            let watch = compared(baseline, &last)?;
            Ok((last, watch))
        }
        None => watch(&target, args),
    }
}

/// Compares with one older dump, if there is one.
fn compared(baseline: Option<&Taken>, last: &Taken) -> Result<Watch, Error> {
    let Some(older) = baseline else {
        return Ok(Watch::default());
    };
    if (older.start_time, older.inner_pid) != (last.start_time, last.inner_pid) {
        return Err(Error::OtherProcess {
            saved: format!("{} (pid {})", escape(&older.name), older.pid),
            asked: format!("{} (pid {})", escape(&last.name), last.pid),
        });
    }
    Ok(Watch {
        earlier: vec![Sample::of(&older.dump)],
        time: last.at.duration_since(older.at).unwrap_or_default(),
        main_thread: last.inner_pid,
        ended_kin: HashSet::new(),
    })
}

/// Takes dumps for as long as the user wants to watch.
fn watch(target: &Target, args: &LeaksArgs) -> Result<(Taken, Watch), Error> {
    let begin = Instant::now();
    let time = args.watch;
    let progress = Progress::start(match time {
        Duration::ZERO => format!("asking process {}", target.pid),
        time => format!(
            "watching process {} for {}",
            target.pid,
            format::duration(time)
        ),
    });
    let mut watch = Watch::default();
    let mut churn = ThreadChurn::of(target.pid);
    loop {
        let elapsed = begin.elapsed();
        let left = time.saturating_sub(elapsed);
        if left.is_zero() {
            break;
        }
        let taken = take(target, args)?;
        watch.main_thread = taken.inner_pid;
        watch.earlier.push(Sample::of(&taken.dump));
        drop(taken);
        churn.watch(args.every.min(time.saturating_sub(begin.elapsed())));
    }
    watch.ended_kin = churn.ended();
    watch.time = begin.elapsed();
    let last = take(target, args)?;
    drop(progress);
    Ok((last, watch))
}

fn take(target: &Target, args: &LeaksArgs) -> Result<Taken, Error> {
    let look = Look {
        parts: StackParts::All,
        detail: Detail::Trees,
        attach: args.attach,
        save: None,
        timeout: args.source.timeout,
    };
    Ok(outside::take(target, look)?.0)
}

/// What the user wants to be left out, from the command line and from a file.
fn ignored(args: &LeaksArgs) -> Result<Vec<Regex>, Error> {
    let mut ignored = args.ignore.clone();
    if let Some(path) = &args.ignore_file {
        ignored.extend(ignore_file(path)?);
    }
    Ok(ignored)
}

/// A regular expression a line; empty lines, and those that begin with `#`, don't count.
fn ignore_file(path: &Path) -> Result<Vec<Regex>, Error> {
    let name = path.to_string_lossy();
    let text = fs::read_to_string(path)
        .map_err(|error| Error::Usage(format!("can't read {}: {error}", escape(&name))))?;
    let lines = text.lines().map(str::trim).zip(1..);
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| {
            Regex::new(line).map_err(|error| {
                let name = escape(&name);
                Error::Usage(format!("{name}, line {number}: {error}"))
            })
        })
        .collect()
}
