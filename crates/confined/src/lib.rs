//! A process that reads hostile files.
//!
//! The owner of a file may be hostile, and the user who looks may be root. A reader of ELF or debug
//! info can be made to use up its stack, its memory, or its time. So a program starts itself again,
//! and that process ([`Process`]) reads: it has limits on memory and processor time ([`limit`]), is
//! killed first when memory is short, gains no privileges through anything that it starts, has no
//! inherited descriptors, and ends with the process that started it ([`serve`]). If it fails, only
//! its answers are lost ([`Failure`]).
//!
//! The two communicate over a socket that is the process's standard input, in messages of
//! `rtops-protocol`: each has a checked length, and the asker must not trust their contents.
#![forbid(unsafe_code)]

mod process;
mod restrict;

use std::{
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
};

pub use crate::{
    process::{Failure, Process, Timed, path_of},
    restrict::limit,
};

/// Restricts this process, which was started as a [`Process`], and returns the stream for questions
/// and answers. Call this before anything else, while there is one thread and no open file.
///
/// # Errors
/// If the system refuses any restriction: then this process is not safe enough to read anything.
pub fn serve() -> io::Result<UnixStream> {
    restrict::at_start()?;
    restrict::end_with_the_asker()?;
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Returns whether this process was started as a [`Process`] with that argument.
#[must_use]
pub fn is_asked(argument: &str) -> bool {
    let first = std::env::args_os().nth(1);
    first.is_some_and(|first| first == argument)
}
