//! `rtops trim`: makes a process return memory to the system.

mod report;

use self::report::Report;
use super::{Format, Output, memstats::resident};
use crate::{
    args::{OutputArgs, TrimArgs},
    error::Error,
    find::target::Target,
    out::progress::Progress,
    proc::allocators,
};

/// Trims the process and prints what changed.
///
/// # Errors
/// If the process can't be asked, does not trim or fails to, or the output can't be written.
pub fn run(args: &TrimArgs, output: &OutputArgs) -> Result<(), Error> {
    let target = Target::find(&args.target)?;
    let progress = Progress::start(format!("trimming process {}", target.pid));
    let before = resident(target.pid)?;
    let (hello, trimmed) = allocators::trim(&target)?;
    let after = resident(target.pid)?;
    drop(progress);
    let report = Report {
        pid: target.pid,
        name: hello.name,
        agent_version: hello.agent_version,
        before,
        after,
        trimmed,
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => report::json(&mut output.writer, &report)?,
        Format::Text => report::text(&mut output.writer, output.style, &report)?,
    }
    output.finish()?;
    let failures = report.failures();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Error::Partial(failures))
    }
}
