//! `rtops stats`: counters and rates of one process.

use std::{collections::HashSet, io::Write, thread, time::Duration};

use rtops_protocol::{Capabilities, CopyDetail, Hello, Reply, Request, StackParts, Stats, Steps};
use rtops_report::{
    census::Census,
    frames::{Frames, Shown},
};

use super::{Format, Output};
use crate::{
    args::{CopyChoice, OutputArgs, StatsArgs},
    dump::{self, Wanted},
    error::Error,
    process::{self, Figures, Reader},
    progress::Progress,
    render::{self, stats::Report},
    target::Target,
};

/// The time between the two samples that rates are taken from.
const INTERVAL: Duration = Duration::from_millis(250);

/// Takes two samples and prints the second with what changed since the first.
///
/// # Errors
/// When the process or its agent can't be asked, no copy of it was made and the user wants one, or
/// the output can't be written.
pub fn run(args: &StatsArgs, output: &OutputArgs) -> Result<(), Error> {
    let target = Target::find(&args.target)?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let (_, earlier, figures) = sample(&target)?;
    thread::sleep(INTERVAL);
    let (hello, now, figures_now) = sample(&target)?;
    let unwrapped = census(&target, args)?;
    drop(progress);
    let report = Report {
        cpu_share_now: figures_now.cpu_share_since(&figures),
        details: process::details(target.pid).ok_or(Error::NoSuchProcess(target.pid))?,
        figures: figures_now,
        agent_version: hello.agent_version,
        earlier,
        now,
        unwrapped,
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => render::stats_json::json(&mut output.writer, &report)?,
        Format::Text => render::stats::text(&mut output.writer, output.style, &report)?,
    }
    output.writer.flush()?;
    match report.unwrapped {
        // Otherwise it is no more than an addition to the counters.
        Err(missing) if args.copy.copy == CopyChoice::Always => {
            Err(Error::Partial(missing.into_iter().collect()))
        }
        _ => Ok(()),
    }
}

/// Counts the tasks that no wrapper tracks, by their types; else says why it does not, if there is
/// more to say than that nobody wanted it or that the agent is too old.
fn census(target: &Target, args: &StatsArgs) -> Result<Result<Census, Option<String>>, Error> {
    let Some(copy) = args.copy.request(CopyDetail::Census) else {
        return Ok(Err(None));
    };
    let mut session = target.open()?;
    let can_copy = session.hello.capabilities.has(Capabilities::COPY);
    if !can_copy && args.copy.copy == CopyChoice::Auto {
        return Ok(Err(None));
    }
    let wanted = Wanted {
        parts: StackParts::Tasks,
        steps: Steps::No,
        copy: Some(copy),
    };
    let taken = dump::take(target, &mut session, wanted, None)?;
    let dump = &taken.dump;
    if !dump.has_unwrapped() {
        let missing = dump.copy_refused().or_else(|| dump.copy_impossible());
        return Ok(Err(missing));
    }
    let mut symbols = taken.symbols(&args.symbols);
    let frames = Frames::resolve(dump, &HashSet::new(), &mut symbols, Shown::Folded);
    Ok(Ok(Census::of(dump, &frames)))
}

fn sample(target: &Target) -> Result<(Hello, Stats, Figures), Error> {
    let mut session = target.open()?;
    if !session.hello.capabilities.has(Capabilities::STATS) {
        return Err(Error::Incapable {
            pid: target.pid,
            version: session.hello.agent_version,
            what: "count",
        });
    }
    let failed = |error| target.conversation(error);
    session.ask(&Request::Stats).map_err(failed)?;
    let stats = loop {
        match session.next().map_err(failed)? {
            Reply::Stats(stats) => break stats,
            Reply::Refused(refused) => {
                return Err(Error::Refused {
                    pid: target.pid,
                    refused,
                });
            }
            Reply::End(_) => {
                return Err(Error::Nonsense {
                    pid: target.pid,
                    reason: "an answer without counters".to_owned(),
                });
            }
            _ => {}
        }
    };
    let figures = Reader::new()?
        .figures(target.pid)
        .ok_or(Error::NoSuchProcess(target.pid))?;
    Ok((session.hello, stats, figures))
}
