//! `rtops leaks`: which tasks and threads will never end.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::Write as _,
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
    leaks::{
        self, Judge,
        sample::{Sample, Watch},
        told::Told,
    },
    symbolize::symbolize_all,
    view::{Layout, LeaksView, Part, View},
};

use super::{Format, Output, links, stack};
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
    proc::proc_files,
    watch::churn::ThreadChurn,
};

/// How long to wait between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// How many looks follow the first one at least, unless the user wants fewer.
const LOOKS: usize = 4;

/// Watches a process for a while and prints what leaks, beginning with what the first look shows.
/// If something is missing, prints the rest before it fails.
///
/// # Errors
/// If the process or its agent can't be asked, a file can't be read, the last dump has gaps, the
/// output can't be written, or there are findings and the user asked for that to be an error.
pub fn run(args: &LeaksArgs, output: &OutputArgs) -> Result<(), Error> {
    let judge = Judge {
        min_age: args.min_age,
        ignore: ignored(args)?,
    };
    let command = Leaks {
        args,
        output,
        judge,
    };
    let baseline = args.baseline.as_deref().map(dump::load).transpose()?;
    if let Some(last) = dump::of_file(&args.source, Detail::Trees, None, None)? {
        let watch = compared(baseline.as_ref(), &last)?;
        return command.finish(last, &watch, None);
    }
    let target = Target::named_or_only(args.target.as_ref(), args.source.timeout)?;
    let begun = Instant::now();
    let progress = Progress::start(format!("asking process {}", target.pid));
    let first = take(&target, args)?;
    drop(progress);
    if baseline.is_some() || args.watch.is_zero() {
        let watch = compared(baseline.as_ref(), &first)?;
        return command.finish(first, &watch, None);
    }
    let begin = match Format::of(output) {
        Format::Text => Some(command.begin(&first)?),
        Format::Json => None,
    };
    let (last, watch) = watch(&target, args, (first, begun));
    command.finish(last, &watch, begin)
}

/// What the user asked for.
struct Leaks<'a> {
    args: &'a LeaksArgs,
    output: &'a OutputArgs,
    judge: Judge,
}

/// What was reported after the first look.
struct Begin {
    told: Told,
    /// The output file, if the rest is written to it as well.
    file: Option<Output>,
}

impl Leaks<'_> {
    /// Prints what the first look shows, without a pager, which would hold up the watch.
    fn begin(&self, taken: &Taken) -> Result<Begin, Error> {
        let watch = self.args.watch;
        self.judged(taken, &Watch::default(), |view, links| {
            view.part = Part::First { watch };
            let mut output = Output::open(self.output)?;
            let style = output.style.with_links(links);
            text::leaks::text(&mut output.writer, style, view)?;
            output.writer.flush()?;
            let file = match &self.output.output {
                Some(_) => Some(output),
                None => output.finish().map(|()| None)?,
            };
            let told = Told::of(&view.findings);
            Ok(Begin { told, file })
        })
    }

    /// Prints what was found, except what was already reported.
    fn finish(&self, mut last: Taken, watch: &Watch, begin: Option<Begin>) -> Result<(), Error> {
        let mut yielding = last.yielding.take();
        let progress = Progress::start("looking up functions and lines".to_owned());
        let serious = self.judged(&last, watch, |view, links| {
            drop(progress);
            let serious = view.findings.serious();
            let mut file = None;
            if let Some(begin) = begin {
                let over = begin.told.take_from(&mut view.findings);
                let told = begin.told.count();
                view.part = Part::Rest { told, over };
                file = begin.file;
            }
            let mut output = match file {
                Some(file) => file,
                None => Output::open_paged(self.output, &mut yielding)?,
            };
            match output.format {
                Format::Json => json::leaks::json(&mut output.writer, view)?,
                Format::Text => {
                    let style = output.style.with_links(links);
                    text::leaks::text(&mut output.writer, style, view)?;
                }
            }
            output.finish()?;
            Ok(serious)
        })?;
        if self.args.fail && serious > 0 {
            Err(Error::Leaks(serious))
        } else if last.dump.gaps.is_empty() {
            Ok(())
        } else {
            Err(Error::Partial(last.dump.gaps))
        }
    }

    /// Judges the last dump of a watch and passes what was found to `show`.
    fn judged<T>(
        &self,
        last: &Taken,
        watch: &Watch,
        show: impl FnOnce(&mut LeaksView, Option<&dyn Links>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let reader = self.args.source.start_reader(Shown::Folded);
        let mut symbols = reader.symbols(last);
        let frames = symbolize_all(&last.dump, &mut symbols, Shown::Folded);
        let view = last.view(&frames);
        let findings = leaks::find(&last.dump, &frames, view.waits(), watch, &self.judge);
        let sources = match Format::of(self.output) {
            Format::Text => stack::sources(last, symbols.source_directories()).lines(
                &frames,
                findings.groups(),
                findings.thread_groups(),
            ),
            Format::Json => HashMap::new(),
        };
        let links = links(self.output, &symbols, &frames);
        let mut view = LeaksView {
            view: View {
                limit: self.args.limit.unwrap_or(usize::MAX),
                lacks: symbols.lacks().iter().map(ToString::to_string).collect(),
                layout: Layout::new(false, sources),
                ..view
            },
            findings,
            watched: (watch.time, watch.earlier.len() + 1),
            is_compared: self.args.baseline.is_some(),
            part: Part::Whole,
        };
        show(&mut view, links.as_ref().map(|links| links as &dyn Links))
    }
}

/// Compares with an older dump, if there is one.
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

/// Takes dumps after the first one, which was begun at `begun`, for as long as the user wants to
/// watch. If the process ends meanwhile, nothing seen is lost: its last dump is judged.
fn watch(target: &Target, args: &LeaksArgs, (first, begun): (Taken, Instant)) -> (Taken, Watch) {
    // Counted from here, not from `begun`: reporting the first look may have taken a moment.
    let since = Instant::now();
    let time = args.watch;
    let progress = Progress::start(format!(
        "watching process {} for {}",
        target.pid,
        format::duration(time)
    ));
    let mut churn = ThreadChurn::of(target.pid);
    let mut last = first;
    last.yielding = None;
    let mut watch = Watch {
        main_thread: last.inner_pid,
        ..Watch::default()
    };
    let every = every(args);
    // If looks are slow, the time may allow too few of them to show a trend.
    let planned = usize::try_from(time.as_nanos() / every.as_nanos().max(1));
    let fewest = planned.unwrap_or(usize::MAX).min(LOOKS);
    while since.elapsed() < time || watch.earlier.len() < fewest {
        let left = time.saturating_sub(since.elapsed());
        churn.watch(if left.is_zero() {
            every
        } else {
            every.min(left)
        });
        let taken =
            take(target, args).and_then(|taken| match taken.start_time == last.start_time {
                true => Ok(taken),
                false => Err(Error::NoSuchProcess(target.pid)),
            });
        match taken {
            Ok(taken) => {
                watch.earlier.push(Sample::of(&last.dump));
                watch.time = begun.elapsed();
                last = taken;
            }
            Err(error) => {
                let after = format::duration(begun.elapsed());
                let gone = proc_files::process(target.pid).and_then(|process| process.stat());
                let is_there = gone.is_ok_and(|stat| {
                    !matches!(stat.state, 'Z' | 'X')
                        && last.start_time.is_none_or(|start| start == stat.starttime)
                });
                last.dump.gaps.push(match is_there {
                    true => format!("after {after}, the process could not be looked at any more: {error}"),
                    false => format!("the process ended within {after} of the first look; nothing later is known of it"),
                });
                break;
            }
        }
    }
    drop(progress);
    watch.ended_kin = churn.ended();
    (last, watch)
}

/// Returns how long to wait for the next look; a short watch still gets enough looks to compare.
fn every(args: &LeaksArgs) -> Duration {
    args.every
        .unwrap_or_else(|| EVERY.min(args.watch / LOOKS as u32))
}

fn take(target: &Target, args: &LeaksArgs) -> Result<Taken, Error> {
    let look = Look {
        parts: StackParts::All,
        detail: Detail::Trees,
        attach: args.attach,
        save: None,
        timeout: args.source.timeout,
        reader: None,
    };
    Ok(outside::take(target, look)?.0)
}

/// Returns what the user wants left out, from the command line and from a file.
fn ignored(args: &LeaksArgs) -> Result<Vec<Regex>, Error> {
    let mut ignored = args.ignore.clone();
    if let Some(path) = &args.ignore_file {
        ignored.extend(ignore_file(path)?);
    }
    Ok(ignored)
}

/// Reads one regular expression per line; skips empty lines and lines that begin with `#`.
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
