//! The head of a dump that was taken of a core file.

use serde::{Deserialize, Serialize};

/// What a core file says of the process that it is of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CoreHead {
    /// The name of its program; empty where that is not known.
    pub program: String,
    /// Its command line, as much of it as the kernel keeps.
    pub arguments: String,
    /// The process, as it numbered itself, where that is known.
    pub pid: Option<i32>,
    /// What ended it, where that is known.
    pub signal: Option<Signal>,
    /// Whether a debugger wrote the file, of a process that nothing had ended.
    pub was_alive: bool,
    /// Whether there is a sign of tokio in it: a version that its program names, or a task.
    pub has_tokio: bool,
    /// The thread that the signal came to, where that is known.
    pub thread: Option<i32>,
    /// When it was dumped, in seconds since 1970, where that is known.
    pub time: Option<u64>,
    /// The name of the host that it ran on, where that is known.
    pub host: Option<String>,
}

/// A signal as `siginfo_t` has it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Signal {
    /// Its number on Linux.
    pub number: i32,
    /// `si_code`: what raised it.
    pub code: Option<i32>,
    /// Where the fault was, of one that a fault raised.
    pub address: Option<u64>,
    /// What the instruction wanted there.
    pub access: Option<Access>,
    /// Who sent it, of one that a process sent.
    pub sender: Option<Sender>,
}

/// What an instruction does with memory.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Access {
    /// It loads.
    Read,
    /// It stores.
    Write,
    /// It is there.
    Execute,
}

/// A process that sent a signal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sender {
    /// Its number.
    pub pid: i32,
    /// The user that it ran as.
    pub uid: u32,
}
