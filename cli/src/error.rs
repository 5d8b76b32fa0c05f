//! Everything that can end a command early, and the exit code that it ends with.

use std::{io, path::PathBuf, time::Duration};

use nix::unistd::geteuid;
use rtops_protocol::{ProtocolError, Refusal, Refused};
use rtops_report::{escape::escape, format};
use rtops_types::Pid;

use crate::find::{named::Several, only::Candidates};

/// Why a command did not do everything it was asked to. Each message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument that clap could not check.
    #[error("{0}")]
    Usage(String),
    /// Several processes match the given name, or no name was given and several could be meant.
    #[error("{0}")]
    Ambiguous(Several),
    /// There is no process with this id.
    #[error("there is no process {0}; `rtops list --all` lists those that can be inspected")]
    NoSuchProcess(Pid),
    /// No process has this name.
    #[error("no process is named {}; `rtops list --all` lists those that can be inspected", escape(.0))]
    NoSuchName(String),
    /// No process was named, and there is none to choose.
    #[error("{}", no_candidate(*.0))]
    NoCandidate(Candidates),
    /// The first word on the command line is neither a command nor the name of a process.
    #[error("no command or process is called {}; {}", escape(.name), meant(.similar.as_deref()))]
    NoSuchCommand {
        /// What was typed.
        name: String,
        /// The most similar command.
        similar: Option<String>,
    },
    /// No process that answers has this name, but some did not answer.
    #[error(
        "no process that answers is named {}; `rtops` lists those that do not answer, which can \
         be asked by PID",
        escape(.0)
    )]
    NoAnswerByName(String),
    /// The process ended while it was being watched.
    #[error("process {pid} ({}) has ended", escape(.name))]
    Ended {
        /// The process.
        pid: Pid,
        /// Its name.
        name: String,
    },
    /// The process runs without an agent.
    #[error(
        "process {pid} ({}) has no rtops agent; add the crate rtops-agent to it and start it \
         first thing in `main`",
        escape(.name)
    )]
    NoAgent {
        /// The process.
        pid: Pid,
        /// Its name.
        name: String,
    },
    /// The process has no agent and can't be inspected from outside without harm.
    #[error("process {pid} can't be looked at: {reason}")]
    NotFrozen {
        /// The process.
        pid: Pid,
        /// Whether the user lacks the permission.
        may_not: bool,
        /// Why, and what to do about it.
        reason: String,
    },
    /// The process is stopped, and its agent with it.
    #[error("process {pid} {}", stands_still(*.pid, *.tracer))]
    Stopped {
        /// The process.
        pid: Pid,
        /// The process that traces it and keeps it stopped; `None` if job control stopped it.
        tracer: Option<Pid>,
    },
    /// The process has ended, and its parent has not waited for it.
    #[error(
        "process {pid} ({}) has ended, and nothing is left of it but its number, until its parent waits for it",
        escape(.name)
    )]
    Zombie {
        /// The process.
        pid: Pid,
        /// Its name.
        name: String,
    },
    /// The memory of a process can't be read.
    #[error("the memory of process {pid} can't be read: {reason}")]
    Unreadable {
        /// The process.
        pid: Pid,
        /// Why.
        reason: String,
    },
    /// No process has an agent, or none that the user can see.
    #[error("{}", no_agents())]
    NoAgents,
    /// Some of several processes could not be shown, or only in part.
    #[error("{}", several(.failures, *.count))]
    Several {
        /// Which ones, and why.
        failures: Vec<Failure>,
        /// The number of processes that were asked.
        count: usize,
    },
    /// The user may not ask this process.
    #[error("process {pid} belongs to {}; run rtops as that user or as root", escape(.owner))]
    Permission {
        /// The process.
        pid: Pid,
        /// The name of its user.
        owner: String,
    },
    /// There is no executable to read.
    #[error(
        "the executable of process {pid} tells nothing: {reason}; {}", without_binary(*.pid)
    )]
    NoBinary {
        /// The process.
        pid: Pid,
        /// Why not.
        reason: String,
    },
    /// The agent did not answer in time.
    #[error(
        "process {pid} did not answer within {}; it may be stopped, or try a longer --timeout",
        format::duration(*.timeout)
    )]
    TimedOut {
        /// The process.
        pid: Pid,
        /// How long rtops waited.
        timeout: Duration,
    },
    /// The output was written but is incomplete; it says what is missing.
    #[error("what is shown is not complete: {}", joined(.0))]
    Partial(Vec<String>),
    /// Nothing can be read from the core file.
    #[error("{0}")]
    Core(String),
    /// systemd-coredump keeps no core file of this process or program.
    #[error(
        "no core file is called {0}, and systemd-coredump keeps none of a process or program of \
         that name; `coredumpctl list` shows those that it keeps"
    )]
    NoCore(String),
    /// The directory where systemd-coredump keeps core files can't be read.
    #[error(
        "the core files in {} can't be looked through ({error}); run rtops as root, or name a file",
        .directory.display()
    )]
    StoredCores {
        /// The directory.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The agent refused to answer.
    #[error("{}", refusal(*.pid, .refused))]
    Refused {
        /// The process.
        pid: Pid,
        /// The agent's refusal.
        refused: Refused,
    },
    /// The agent was built without something that the command needs.
    #[error(
        "the agent of process {pid} (version {}) can't {what}; build the service with a newer \
         rtops-agent or with more of its features",
        escape(.version)
    )]
    Incapable {
        /// The process.
        pid: Pid,
        /// The version of its agent.
        version: String,
        /// What it can't do.
        what: &'static str,
    },
    /// The client and the agent share no protocol version.
    #[error("the agent of process {pid} does not fit: {source}; {}", upgrade(.source))]
    Version {
        /// The process.
        pid: Pid,
        /// The versions.
        source: ProtocolError,
    },
    /// The agent's answer makes no sense.
    #[error("process {pid} answered nonsense: {reason}; is that really its rtops agent?")]
    Nonsense {
        /// The process.
        pid: Pid,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The connection broke before anything useful arrived.
    #[error("the connection to process {pid} broke: {source}; it may have ended, so try again")]
    Broken {
        /// The process.
        pid: Pid,
        /// How it broke.
        source: io::Error,
    },
    /// The result could not be written.
    #[error("can't write the output: {0}")]
    Output(#[from] io::Error),
    /// The output file could not be created.
    #[error(
        "can't create {}: {source}; choose another file, in a directory that you may write to",
        escape(&.path.to_string_lossy())
    )]
    CreateOutput {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A dump could not be saved.
    #[error("can't save the dump in {}: {reason}; choose another file", escape(&.path.to_string_lossy()))]
    SaveDump {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A saved dump can't be used.
    #[error(
        "{} can't serve for a saved dump: {reason}; `rtops stack TARGET --save FILE` makes one",
        escape(&.path.to_string_lossy())
    )]
    SavedDump {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The thing to compare a dump with is neither a file nor a process.
    #[error(
        "there is no file and no process {}; `rtops stack TARGET --save FILE` makes a file",
        escape(&.0.to_string_lossy())
    )]
    NoDump(PathBuf),
    /// Two dumps to be compared are not of the same process.
    #[error("the baseline is of {saved} as it ran then, not of {asked}; save a new one")]
    OtherProcess {
        /// The process of the baseline.
        saved: String,
        /// The process of the other dump.
        asked: String,
    },
    /// There are leaks, and the user asked for that to be an error.
    #[error("{}", leaks(*.0))]
    Leaks(usize),
    /// `/proc` can't be read.
    #[error("can't read /proc: {0}; is it mounted?")]
    Proc(#[from] procfs::ProcError),
    /// A part of rtops that runs other programs failed.
    #[error("{0}")]
    Failed(String),
}

/// One of several processes, and why it could not be shown in full.
#[derive(Debug)]
pub struct Failure {
    /// The name that the user gave.
    pub target: String,
    /// Why.
    pub error: Error,
}

impl Error {
    /// Returns the exit code of rtops. The codes are documented in `--help` and never change.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoBinary { .. }
            | Self::Core(_)
            | Self::NotFrozen { may_not: false, .. }
            | Self::Stopped { .. }
            | Self::Unreadable { .. }
            | Self::Nonsense { .. }
            | Self::Broken { .. }
            | Self::Output(_)
            | Self::CreateOutput { .. }
            | Self::SaveDump { .. }
            | Self::SavedDump { .. }
            | Self::OtherProcess { .. }
            | Self::Proc(_)
            | Self::Failed(_) => 1,
            Self::Usage(_) | Self::Ambiguous(_) => 2,
            Self::NoSuchProcess(_)
            | Self::NoSuchName(_)
            | Self::NoCandidate(_)
            | Self::NoDump(_)
            | Self::NoCore(_)
            | Self::NoSuchCommand { .. }
            | Self::Zombie { .. }
            | Self::Ended { .. } => 3,
            Self::NoAgent { .. } | Self::NoAgents => 4,
            Self::StoredCores { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => 5,
            Self::StoredCores { .. } => 1,
            Self::Permission { .. } | Self::NotFrozen { may_not: true, .. } => 5,
            Self::TimedOut { .. } | Self::NoAnswerByName(_) | Self::Partial(_) => 6,
            Self::Incapable { .. } | Self::Version { .. } => 7,
            Self::Leaks(_) => 10,
            Self::Several { failures, count } => common_code(failures, *count),
            Self::Refused { refused, .. } => match refused.why {
                Refusal::Busy | Refusal::Disabled | Refusal::Failed => 1,
                Refusal::Permission => 5,
                Refusal::Unsupported => 7,
            },
        }
    }

    /// Whether an agent that could not answer this time may answer next time.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::TimedOut { .. }
            | Self::Broken { .. }
            | Self::Nonsense { .. }
            | Self::Stopped { .. }
            | Self::NoAgent { .. } => true,
            Self::Refused { refused, .. } => {
                matches!(refused.why, Refusal::Busy | Refusal::Failed)
            }
            _ => false,
        }
    }

    /// Whether the reader of the output went away, which is not a failure of rtops.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Turns a protocol error in an exchange with process `pid` into an error of the command.
    pub fn conversation(pid: Pid, timeout: Duration, error: ProtocolError) -> Self {
        match error {
            ProtocolError::Io(source) => match source.kind() {
                io::ErrorKind::TimedOut => Self::TimedOut { pid, timeout },
                _ => Self::Broken { pid, source },
            },
            source @ ProtocolError::Version { .. } => Self::Version { pid, source },
            other => Self::Nonsense {
                pid,
                reason: escape(&other.to_string()).into_owned(),
            },
        }
    }
}

fn joined(gaps: &[String]) -> String {
    let gaps: Vec<_> = gaps.iter().map(|gap| escape(gap)).collect();
    gaps.join("; ")
}

/// Says what to do if an executable can't be read.
fn without_binary(pid: Pid) -> String {
    match geteuid().is_root() {
        true => format!("`rtops info {pid}` shows what the kernel knows of the process"),
        false => "run rtops as root, unless the process is one of the kernel's".to_owned(),
    }
}

fn several(failures: &[Failure], count: usize) -> String {
    let lines = failures
        .iter()
        .map(|failure| format!("\n  {}: {}", escape(&failure.target), failure.error));
    format!(
        "{} of {count} processes could not be shown whole:{}",
        failures.len(),
        lines.collect::<String>()
    )
}

/// Returns the code that all processes failed with; if they differ, that of incomplete output.
fn common_code(failures: &[Failure], count: usize) -> u8 {
    let mut codes = failures.iter().map(|failure| failure.error.exit_code());
    match codes.next() {
        Some(first) if failures.len() == count && codes.all(|code| code == first) => first,
        _ => 6,
    }
}

fn stands_still(pid: Pid, tracer: Option<Pid>) -> String {
    match tracer {
        None => format!("is stopped (SIGSTOP): let it go on first, with `kill -CONT {pid}`"),
        Some(tracer) => format!(
            "is stopped by process {tracer}, which traces it: have that debugger let it go on first, or end it"
        ),
    }
}

fn no_candidate(among: Candidates) -> String {
    let what = match among {
        Candidates::Agents => "has an rtops agent",
        Candidates::All => "runs tokio or has an rtops agent",
    };
    let one = match among {
        Candidates::Agents => "name one that has",
        Candidates::All => "name one",
    };
    match geteuid().is_root() {
        true => format!("no process {what}; {one}"),
        false => format!(
            "no process of yours {what}; {one}, or run rtops as the user of the service or as root"
        ),
    }
}

fn no_agents() -> String {
    let what =
        "no process with an rtops agent is to be seen; add the crate rtops-agent to a service";
    match geteuid().is_root() {
        true => what.to_owned(),
        false => format!("{what}, or run rtops as root"),
    }
}

fn meant(similar: Option<&str>) -> String {
    similar.map_or_else(
        || "`rtops help` lists the commands, `rtops` the processes with an agent".to_owned(),
        |command| format!("did you mean `rtops {command}`?"),
    )
}

fn leaks(count: usize) -> String {
    let findings = format::count(count, "finding");
    format!("{findings}, shown above; `--ignore REGEX` leaves out what is meant to be so")
}

fn refusal(pid: Pid, refused: &Refused) -> String {
    let message = escape(&refused.message);
    match refused.why {
        Refusal::Busy => format!("the agent of process {pid} is busy ({message}); try again"),
        Refusal::Permission => format!(
            "the agent of process {pid} does not answer this user ({message}); run rtops as the \
             process's user or as root"
        ),
        Refusal::Unsupported => format!(
            "the agent of process {pid} does not know this request ({message}); build the \
             service with a newer rtops-agent"
        ),
        Refusal::Disabled => format!(
            "process {pid} has this switched off ({message}); its author can switch it on where \
             the agent is started"
        ),
        Refusal::Failed => format!("the agent of process {pid} failed: {message}; try again"),
    }
}

fn upgrade(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::Version { oldest, .. } if *oldest > rtops_protocol::VERSION => {
            "install a newer rtops"
        }
        _ => "build the service with a newer rtops-agent",
    }
}
