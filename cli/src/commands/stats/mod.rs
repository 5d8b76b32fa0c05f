//! `rtops stats`: counters and rates of one process, and what is wrong with it.

use std::{thread, time::Duration};

use rtops_image::Core;

pub(super) mod text;
mod view;

use self::view::{Live, View};
use super::{Format, Output, rates};
use crate::{
    args::{AttachChoice, OutputArgs, StatsArgs},
    dump::{
        Taken,
        image::{self, Detail, core},
    },
    error::Error,
    find::{
        only::{self, Candidates},
        target::Target,
    },
    out::progress::Progress,
    proc,
    watch::{look, sample::Sample},
};

/// How often to look while watching, unless the user sets it.
const PACE: Duration = Duration::from_secs(1);
/// The time between the two samples that give the rates.
const INTERVAL: Duration = Duration::from_millis(250);

/// Prints counters and rates once, or watches the rates.
///
/// # Errors
/// If the process or its agent can't be asked, no copy was made although the user wants one, or the
/// output can't be written; see also [`rates::run`].
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
        Some(pace) => {
            let target = match named {
                Some(named) => named,
                None => only::process(Candidates::Agents)?.to_string(),
            };
            rates::run(&target, args, pace, output)
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
    let wanted = image::Wanted {
        detail: Detail::InMemory,
        timeout: args.timeout,
        save: None,
        reader: None,
    };
    let taken = core::load(core, wanted)?;
    drop(progress);
    show(None, Some(&taken), None, args, output)?;
    incomplete(&taken)
}

/// Takes two samples and a look, and prints the second sample with what changed since the first.
fn once(target: &Target, args: &StatsArgs, output: &OutputArgs) -> Result<(), Error> {
    let has_agent = has_agent(target, args)?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let earlier = Sample::take(target, has_agent)?;
    thread::sleep(INTERVAL);
    let now = Sample::take(target, has_agent)?;
    let taken = match args.attach.attach {
        AttachChoice::Never => None,
        _ => Some(look::take(target, args)?),
    };
    drop(progress);
    let live = Live {
        earlier,
        now,
        details: proc::details(target.pid).ok_or(Error::NoSuchProcess(target.pid))?,
    };
    // Without a poll, an agent reports no more than its counters.
    let seen = taken.as_ref().filter(|taken| taken.dump.is_image());
    let why = taken.as_ref().filter(|_| seen.is_none());
    let why = why.and_then(|taken| {
        let missing = taken.dump.untracked_not_shown();
        missing.or_else(|| taken.dump.why_not_attached().map(str::to_owned))
    });
    show(Some(&live), seen, why.as_deref(), args, output)?;
    match seen {
        Some(taken) if !has_agent || args.attach.attach == AttachChoice::Always => {
            incomplete(taken)
        }
        // Otherwise the look only adds to the counters.
        _ => Ok(()),
    }
}

/// Whether an agent reports counters. If only the agent may be asked, there has to be one.
pub(super) fn has_agent(target: &Target, args: &StatsArgs) -> Result<bool, Error> {
    match args.attach.attach {
        AttachChoice::Never => target.open().map(|_| true),
        _ => Ok(target.open_if_any()?.is_some()),
    }
}

/// Prints what is known about a process.
fn show(
    live: Option<&Live>,
    taken: Option<&Taken>,
    look_missing: Option<&str>,
    args: &StatsArgs,
    output: &OutputArgs,
) -> Result<(), Error> {
    let print = |view: &View<'_, '_>| {
        let mut output = Output::open(output)?;
        match output.format {
            Format::Json => view::json(&mut output.writer, view)?,
            Format::Text => text::text(&mut output.writer, output.style, view)?,
        }
        output.finish()
    };
    match taken {
        Some(taken) => {
            let progress = Progress::start("looking up functions and lines".to_owned());
            look::with_seen(taken, args, |seen| {
                drop(progress);
                print(&View::of(live, Some(seen), look_missing))
            })
        }
        None => print(&View::of(live, None, look_missing)),
    }
}

fn incomplete(taken: &Taken) -> Result<(), Error> {
    match taken.dump.gaps.is_empty() {
        true => Ok(()),
        false => Err(Error::Partial(taken.dump.gaps.clone())),
    }
}
