//! `rtops memstats`: what a process uses its memory for.

use std::{thread, time::Duration};

use rtops_protocol::{HeapWalk, Refusal};
use rtops_types::Pid;

mod json;
pub(super) mod text;

use self::text::{Agent, Report, Sample};
use super::{Format, Output};
use crate::{
    args::{MemstatsArgs, OutputArgs},
    error::Error,
    find::target::Target,
    out::progress::Progress,
    proc::{
        Reader, allocators,
        memory::{self, Resident},
    },
};

/// The time over which rates are taken, unless the user sets it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Prints what the kernel reports and, if there is an agent, what the allocators report.
///
/// # Errors
/// If the process can't be inspected, an agent that may be there did not report what
/// it could, or the output can't be written.
pub fn run(args: &MemstatsArgs, output: &OutputArgs) -> Result<(), Error> {
    let target = Target::find_any(&args.target)?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let walk = if args.walk {
        HeapWalk::Always
    } else {
        HeapWalk::IfSmall
    };
    let mut asked = sample(&target, HeapWalk::IfSmall)?;
    let counts = |sample: &Sample| {
        let agent = sample.agent.as_ref();
        agent.is_ok_and(|agent| agent.memory.counted.is_some())
    };
    let watch = args.watch.or(counts(&asked.sample).then_some(INTERVAL));
    let mut earlier = None;
    if let Some(watch) = watch.filter(|watch| !watch.is_zero()) {
        thread::sleep(watch);
        let again = sample(&target, walk)?;
        earlier = Some(std::mem::replace(&mut asked, again).sample);
    } else if args.walk {
        asked = sample(&target, walk)?;
    }
    let figures = Reader::new()?
        .figures(target.pid)
        .ok_or(Error::NoSuchProcess(target.pid))?;
    drop(progress);
    let report = Report {
        figures,
        now: asked.sample,
        earlier,
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => json::json(&mut output.writer, &report)?,
        Format::Text => text::text(&mut output.writer, output.style, &report)?,
    }
    output.finish()?;
    asked.failed.map_or(Ok(()), Err)
}

struct Asked {
    sample: Sample,
    /// What kept an agent from reporting what it could.
    failed: Option<Error>,
}

fn sample(target: &Target, walk: HeapWalk) -> Result<Asked, Error> {
    let answer = allocators::memory(target, walk);
    let at = std::time::Instant::now();
    let resident = resident(target.pid)?;
    let (agent, failed) = match answer {
        Ok((hello, memory)) => {
            let agent = Agent {
                name: hello.name,
                version: hello.agent_version,
                memory,
            };
            (Ok(agent), None)
        }
        Err(error @ (Error::NoSuchProcess(_) | Error::Zombie { .. })) => return Err(error),
        Err(error) => {
            let missing = error.to_string();
            (
                Err(missing),
                Some(error).filter(|error| !is_all_there_is(error)),
            )
        }
    };
    let sample = Sample {
        at,
        resident,
        agent,
    };
    Ok(Asked { sample, failed })
}

/// Reads the memory of the process as the kernel counts it.
pub(super) fn resident(pid: Pid) -> Result<Resident, Error> {
    memory::resident(pid).ok_or(Error::NoSuchProcess(pid))
}

/// Whether nothing more can be known of this process than the kernel reports.
fn is_all_there_is(error: &Error) -> bool {
    match error {
        Error::NoAgent { .. } => true,
        Error::Refused { refused, .. } => {
            matches!(refused.why, Refusal::Disabled | Refusal::Unsupported)
        }
        _ => false,
    }
}
