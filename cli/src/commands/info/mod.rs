//! `rtops info` and `rtops TARGET`: what the kernel knows of any process.

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

/// How often to see whether the process still runs.
const PULSE: Duration = Duration::from_millis(250);

/// Looks at the process twice, and prints what it is and what it did meanwhile.
///
/// # Errors
/// When there is no such process, it ends, or the output can't be written.
pub fn run(args: &InfoArgs, output: &OutputArgs) -> Result<(), Error> {
    let target = Target::find_any(&args.target())?;
    let pid = target.pid;
    let progress = Progress::start(format!("watching process {pid}"));
    // It stays the same one, whatever becomes of its id.
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

/// Waits that long, and tells whether the process ended meanwhile; one that had ended before is
/// not waited for.
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

/// Takes words that begin with no command for a target and what is asked of it.
///
/// # Errors
/// As [`run`]; and when the first word means no process, which may be a mistyped command.
pub fn run_words(words: &[OsString]) -> Result<(), Error> {
    let word = words.first().cloned().unwrap_or_default();
    let word = word.to_string_lossy();
    let similar = args::similar_command(&word);
    let no_command = |error| match error {
        // It may be the name of one that does not answer, unless it looks like a command.
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
            // Arguments of a mistyped command are wrong for that reason.
            if error.use_stderr() || similar.is_some() {
                Target::find_any(&args::target(&word)).map_err(no_command)?;
            }
            error.exit()
        }
    }
}
