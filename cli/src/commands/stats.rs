//! `rtops stats`: counters and rates of one process.

use std::{io::Write, thread, time::Duration};

use rtops_protocol::{Capabilities, Hello, Reply, Request, Stats};

use super::{Format, Output};
use crate::{
    args::{OutputArgs, TargetArgs},
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
/// When the process or its agent can't be asked, or the output can't be written.
pub fn run(args: &TargetArgs, output: &OutputArgs) -> Result<(), Error> {
    let target = Target::find(args)?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let (_, earlier, figures) = sample(&target)?;
    thread::sleep(INTERVAL);
    let (hello, now, figures_now) = sample(&target)?;
    drop(progress);
    let report = Report {
        cpu_share_now: (figures_now.cpu_time.saturating_sub(figures.cpu_time)).as_secs_f64()
            / figures_now
                .uptime
                .saturating_sub(figures.uptime)
                .max(INTERVAL)
                .as_secs_f64(),
        details: process::details(target.pid).ok_or(Error::NoSuchProcess(target.pid))?,
        figures: figures_now,
        agent_version: hello.agent_version,
        earlier,
        now,
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => render::stats_json::json(&mut output.writer, &report)?,
        Format::Text => render::stats::text(&mut output.writer, output.style, &report)?,
    }
    Ok(output.writer.flush()?)
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
