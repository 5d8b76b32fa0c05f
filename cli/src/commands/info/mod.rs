//! `rtops info` and `rtops TARGET`: what the kernel knows about any process.

use std::{
    ffi::OsString,
    thread,
    time::{Duration, Instant},
};

use procfs::process::Process;

mod json;
mod sockets;
mod text;

use self::{
    sockets::Which,
    text::{Agent, Report},
};
use super::{Format, Output};
use crate::{
    args::{self, InfoArgs, OutputArgs},
    error::Error,
    find::target::Target,
    out::progress::Progress,
    proc::{Reader, inspect::inspect, proc_files},
};

/// How often to check that the process still runs.
const PULSE: Duration = Duration::from_millis(250);

/// Looks at the process twice, and prints what it is and what it did in between.
///
/// # Errors
/// If there is no such process, it ends, or the output can't be written.
pub fn run(args: &InfoArgs, output: &OutputArgs) -> Result<(), Error> {
    let target = Target::find_any(&args.target())?;
    let pid = target.pid;
    let progress = Progress::start(format!("watching process {pid}"));
    // This handle stays with the process, even if its PID is reused.
    let process = proc_files::process(pid).map_err(|_| Error::NoSuchProcess(pid))?;
    let mut agent_name = None;
    let agent = match target.open_if_any() {
        Ok(Some(session)) => {
            agent_name = Some(session.hello.name);
            Agent::Answers {
                version: session.hello.agent_version,
            }
        }
        Ok(None) | Err(Error::Zombie { .. }) => Agent::None,
        Err(Error::TimedOut { .. } | Error::Stopped { .. }) => Agent::Silent,
        Err(error) => Agent::Unasked(error.to_string()),
    };
    let earlier = Reader::new()?.figures_of(&process);
    let earlier = earlier.ok_or(Error::NoSuchProcess(pid))?;
    let ended = watch(&process, args.duration);
    let now = inspect(&process)?.filter(|_| !ended);
    let name = agent_name.unwrap_or_else(|| earlier.name.clone());
    let Some(now) = now else {
        return Err(Error::Ended { pid, name });
    };
    drop(progress);
    let report = Report {
        name,
        agent,
        cpu_share_recent: now.figures.cpu_share_since(&earlier),
        watched: now.figures.uptime.saturating_sub(earlier.uptime),
        now,
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => json::json(&mut output.writer, &report)?,
        Format::Text => {
            let which = if args.sockets {
                Which::Each
            } else {
                Which::Grouped
            };
            text::text(&mut output.writer, output.style, &report, which)?;
        }
    }
    output.finish()
}

/// Waits for `duration` and returns whether the process ended meanwhile. Does not
/// wait for a process that had already ended.
fn watch(process: &Process, duration: Duration) -> bool {
    if !process.is_alive() {
        return false;
    }
    let end = Instant::now() + duration;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return !process.is_alive();
        }
        if !process.is_alive() {
            return true;
        }
        thread::sleep(left.min(PULSE));
    }
}

/// Runs words that don't begin with a command as a target followed by options of `rtops info`.
///
/// # Errors
/// As [`run`]; also if the first word names no process, as it may be a mistyped command.
pub fn run_words(words: &[OsString]) -> Result<(), Error> {
    let word = words.first().cloned().unwrap_or_default();
    let word = word.to_string_lossy();
    let similar = args::similar_command(&word);
    let no_command = |error| match error {
        // It may name a process that does not answer, unless it looks like a command.
        Error::NoAnswerByName(_) if similar.is_none() => error,
        Error::NoSuchName(name) | Error::NoAnswerByName(name) => Error::NoSuchCommand {
            name,
            similar: similar.clone(),
        },
        other => other,
    };
    match args::parse_as_info(words) {
        Ok(cli) => super::run(cli).map_err(no_command),
        Err(error) => {
            // If the command is mistyped, that is why its arguments look wrong.
            if error.use_stderr() || similar.is_some() {
                Target::find_any(&args::target(&word)).map_err(no_command)?;
            }
            error.exit()
        }
    }
}
