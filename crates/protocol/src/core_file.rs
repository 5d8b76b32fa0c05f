//! The head of a dump that was taken from a core file.

use serde::{Deserialize, Serialize};

/// What a core file says about its process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CoreHead {
    /// The name of its program; empty if unknown.
    pub program: String,
    /// Its command line, as far as the kernel keeps it.
    pub arguments: String,
    /// The process id as the process itself saw it, if known.
    pub pid: Option<i32>,
    /// The signal that ended it, if known.
    pub signal: Option<Signal>,
    /// Whether a debugger wrote the file while nothing had ended the process.
    pub was_alive: bool,
    /// Whether it shows any sign of tokio: a version that its program names, or a task.
    pub has_tokio: bool,
    /// The thread that received the signal, if known.
    pub thread: Option<i32>,
    /// When it was dumped, in seconds since 1970, if known.
    pub time: Option<u64>,
    /// The name of the host that it ran on, if known.
    pub host: Option<String>,
}

/// A signal, as in `siginfo_t`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Signal {
    /// Its number on Linux.
    pub number: i32,
    /// `si_code`: what raised it.
    pub code: Option<i32>,
    /// The address of the fault, if a fault raised the signal.
    pub address: Option<u64>,
    /// What the instruction tried to do there.
    pub access: Option<Access>,
    /// The sender, if a process sent the signal.
    pub sender: Option<Sender>,
}

/// What an instruction does with memory.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// A process that sent a signal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sender {
    /// Its process id.
    pub pid: i32,
    /// The user that it ran as.
    pub uid: u32,
}
