//! `rtops stats`: counters and rates of one process.

use std::{thread, time::Duration};

use rtops_image::Core;
use rtops_protocol::StackParts;
use rtops_report::{
    census::{Census, kept_by_type},
    crash,
    frames::Shown,
    group::stacks_of_tasks,
    symbolize::symbolize,
};

use super::{Format, Output, rates};
use crate::{
    args::{AttachChoice, OutputArgs, StatsArgs, TargetArgs},
    dump::{
        Taken,
        image::{
            self, Detail, core,
            outside::{self, Look},
        },
    },
    error::Error,
    find::{
        only::{self, Candidates},
        target::Target,
    },
    out::progress::Progress,
    proc,
    render::{
        self,
        stats::{ImageReport, Report, Untracked},
    },
    watch::sample::Sample,
};

/// How often to look while watching, unless the user says it.
const PACE: Duration = Duration::from_secs(1);
/// The time between the two samples that rates are taken from.
const INTERVAL: Duration = Duration::from_millis(250);

/// Prints counters and rates once, or watches the rates.
///
/// # Errors
/// When the process or its agent can't be asked, no copy of it was made and the user wants one, or
/// the output can't be written; see also [`rates::run`].
pub fn run(mut args: StatsArgs, output: &OutputArgs) -> Result<(), Error> {
    if let Some(core) = core::open(&args.core)? {
        return of_core(&core, &args, output);
    }
    let named = args.take_target();
    match args.watch.pace(PACE)? {
        None => {
            let target = Target::named_or_only(named.as_ref(), args.timeout)?;
            once(&target, &args, output)
        }
        Some(_) if args.attach.attach == AttachChoice::Always => Err(Error::Usage(
            "only the agent is asked while watching; leave out --attach or --watch".to_owned(),
        )),
        Some(pace) => {
            let target = match named {
                Some(named) => named,
                None => only::process(Candidates::Agents)?.to_string(),
            };
            let timeout = args.timeout;
            rates::run(TargetArgs { target, timeout }, pace, output)
        }
    }
}

/// Counts the tasks in a core file.
fn of_core(core: &Core, args: &StatsArgs, output: &OutputArgs) -> Result<(), Error> {
    if args.watch.pace(PACE)?.is_some() {
        return Err(Error::Usage(
            "a core file does not change: leave out --watch and --count, or --core".to_owned(),
        ));
    }
    let progress = Progress::start("reading the file".to_owned());
    let taken = core::load(core, wanted(args))?;
    drop(progress);
    of_image(&taken, args, output)
}

/// What to find out of an image.
const fn wanted(args: &StatsArgs) -> image::Wanted<'static> {
    image::Wanted {
        detail: Detail::Census,
        timeout: args.timeout,
        save: None,
    }
}

/// Prints what the memory of a process tells: the tasks by type and state.
fn of_image(taken: &Taken, args: &StatsArgs, output: &OutputArgs) -> Result<(), Error> {
    let progress = Progress::start("looking up functions and lines".to_owned());
    let mut symbols = taken.symbols(&args.symbols);
    // Stacks tell closures on blocking pools from tokio's own threads.
    let mut used = stacks_of_tasks(&taken.dump);
    used.extend(crash::stack(&taken.dump).map(|leaf| leaf.stack));
    let frames = symbolize(&taken.dump, &used, &mut symbols, Shown::Folded);
    drop(progress);
    let report = ImageReport {
        census: Census::of(&taken.dump, &frames),
        kept: kept_by_type(&taken.dump, &frames),
        pid: taken.pid,
        name: &taken.name,
        dump: &taken.dump,
        frames: &frames,
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => render::stats_json::image(&mut output.writer, &report)?,
        Format::Text => render::stats::image(&mut output.writer, output.style, &report)?,
    }
    output.finish()?;
    if taken.dump.gaps.is_empty() {
        Ok(())
    } else {
        Err(Error::Partial(taken.dump.gaps.clone()))
    }
}

/// Takes two samples and prints the second with what changed since the first.
fn once(target: &Target, args: &StatsArgs, output: &OutputArgs) -> Result<(), Error> {
    if args.attach.attach != AttachChoice::Never && target.open_if_any()?.is_none() {
        let progress = Progress::start(format!("looking at process {}", target.pid));
        let (taken, _) = outside::take(target, look(args))?;
        drop(progress);
        return of_image(&taken, args, output);
    }
    let progress = Progress::start(format!("asking process {}", target.pid));
    let earlier = Sample::take(target)?;
    thread::sleep(INTERVAL);
    let now = Sample::take(target)?;
    let untracked = untracked(target, args)?;
    drop(progress);
    let report = Report {
        earlier,
        now,
        details: proc::details(target.pid).ok_or(Error::NoSuchProcess(target.pid))?,
        untracked,
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => render::stats_json::json(&mut output.writer, &report)?,
        Format::Text => render::stats::text(&mut output.writer, output.style, &report)?,
    }
    output.finish()?;
    // Otherwise they are no more than an addition to the counters.
    let must_count = args.attach.attach == AttachChoice::Always;
    match report.untracked {
        Untracked::Missing(why) if must_count => Err(Error::Partial(vec![why])),
        Untracked::NotCounted if must_count => Err(Error::Partial(Vec::new())),
        _ => Ok(()),
    }
}

/// Counts the untracked tasks, by their types.
fn untracked(target: &Target, args: &StatsArgs) -> Result<Untracked, Error> {
    if args.attach.attach == AttachChoice::Never {
        return Ok(Untracked::NotCounted);
    }
    let (taken, _) = outside::take(target, look(args))?;
    let dump = &taken.dump;
    if !dump.is_image() {
        let missing = dump.untracked_not_shown();
        return Ok(missing.map_or(Untracked::NotCounted, Untracked::Missing));
    }
    let mut symbols = taken.symbols(&args.symbols);
    let frames = symbolize(dump, &stacks_of_tasks(dump), &mut symbols, Shown::Folded);
    Ok(Untracked::Counted(Census::of(dump, &frames)))
}

/// What to find out of a process.
const fn look(args: &StatsArgs) -> Look<'static> {
    Look {
        parts: StackParts::Tasks,
        detail: Detail::Census,
        attach: args.attach,
        save: None,
        timeout: args.timeout,
    }
}
