//! A process that reads hostile files.
//!
//! Whose files they are may be hostile, and who looks may be root. A reader of ELF or debug info can be made to use up
//! its stack, its memory or its time. So a program starts itself once more, and that process ([`Process`]) reads: it
//! has limits for memory and processor time ([`limit`]), is the first to go when memory is short, gets no more rights
//! by anything that it starts, has no descriptors but its own, and ends with who started it ([`serve`]). What becomes
//! of it costs what it would have told, and no more ([`Failure`]).
//!
//! The two talk over a socket that is the process's standard input, in messages of `rtops-protocol`: each has a length
//! that is checked, and what a message says is for the asker to mistrust.
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

/// Gives up what is not for this process, which was started as a [`Process`]; where questions come from and answers
/// go. It is to be called before anything else, while there is one thread and no open file.
///
/// # Errors
/// When the system refuses one of it: then this process is not safe enough to read anything.
pub fn serve() -> io::Result<UnixStream> {
    restrict::at_start()?;
    restrict::end_with_the_asker()?;
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Whether this process was started as a [`Process`] with that argument.
#[must_use]
pub fn is_asked(argument: &str) -> bool {
    let first = std::env::args_os().nth(1);
    first.is_some_and(|first| first == argument)
}
