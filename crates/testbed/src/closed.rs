//! A service that closes descriptors which it does not know, and opens its own in their places.
//!
//! | command | answer |
//! |---|---|
//! | `close all\|listener\|inotify` | how many of the agent's descriptors were closed |
//! | `files all\|listener\|inotify` | how many were replaced by files of the service |
//! | `alike all\|listener\|inotify` | how many were replaced by others of the same kind |
//! | `intact` | how many of the replacements are unchanged |
//! | `intact-in-child` | the same in a forked child |
#![expect(
    unsafe_code,
    reason = "descriptors of somebody else are closed, and there is a fork"
)]

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        eventfd::EventFd,
        inotify::{AddWatchFlags, InitFlags, Inotify},
        memfd::{MFdFlags, memfd_create},
        socket::{getsockopt, sockopt::AcceptConn},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork},
};

use crate::{Never, control::Control};

const INOTIFY: &str = "anon_inode:inotify";

/// The service's descriptors in the places of the agent's.
static OWN: Mutex<Vec<Own>> = Mutex::new(Vec::new());

/// A descriptor of the service, and what the kernel said about it when it was opened.
struct Own {
    descriptor: OwnedFd,
    said: (String, String),
}

impl Own {
    fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            said: said_of(descriptor.as_raw_fd())?,
            descriptor,
        })
    }

    /// Whether nobody has closed it, replaced it, read from it or watched anything with it.
    fn is_intact(&self) -> bool {
        said_of(self.descriptor.as_raw_fd()).is_ok_and(|now| now == self.said)
    }
}

/// Returns what a descriptor refers to, and its position, counter or watches.
fn said_of(number: RawFd) -> io::Result<(String, String)> {
    let link = fs::read_link(format!("/proc/self/fd/{number}"))?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    Ok((link.to_string_lossy().into_owned(), info))
}

fn own() -> MutexGuard<'static, Vec<Own>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the agent's log to standard error.
pub(crate) fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
}

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    control.serve_with(
        || 0,
        |command| {
            let done = match command.split_once(' ') {
                Some((how, which)) => replace(how, which),
                None if command == "intact" => Ok(intact()),
                None => intact_in_child(),
            };
            Some(match done {
                Ok(count) => count.to_string(),
                Err(error) => error.to_string(),
            })
        },
    )
}

fn replace(how: &str, which: &str) -> io::Result<usize> {
    let mut numbers = agents()?;
    numbers.retain(|number| match which {
        "listener" => is_listener(*number),
        "inotify" => said_of(*number).is_ok_and(|(link, _)| link == INOTIFY),
        _ => true,
    });
    let mut own = own();
    for number in &numbers {
        let new = match how {
            "files" => memfd_create("service", MFdFlags::empty())?,
            "alike" => alike(*number)?,
            _ => {
                // SAFETY: like the service that closes unknown descriptors, this owns nothing here.
                unsafe { libc::close(*number) };
                continue;
            }
        };
        // SAFETY: likewise. From now on the service owns the number, whoever had it before.
        let taken = unsafe {
            Errno::result(libc::dup2(new.as_raw_fd(), *number))?;
            OwnedFd::from_raw_fd(*number)
        };
        own.push(Own::new(taken)?);
    }
    Ok(numbers.len())
}

fn is_listener(number: RawFd) -> bool {
    // SAFETY: it was in this process's list of descriptors just now, and only an option is read.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    getsockopt(&descriptor, AcceptConn) == Ok(true)
}

/// Returns the descriptors that are neither standard ones nor the pipes of [`Control`].
fn agents() -> io::Result<Vec<RawFd>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let link = fs::read_link(entry.path())?;
        let link = link.to_string_lossy();
        let is_known = link.starts_with("pipe:") || link.starts_with("/proc/");
        numbers.extend(number.filter(|number: &RawFd| *number > 2 && !is_known));
    }
    Ok(numbers)
}

/// Opens something that is hard to tell from the current owner of the number.
fn alike(number: RawFd) -> io::Result<OwnedFd> {
    let (link, _) = said_of(number)?;
    Ok(match link.as_str() {
        INOTIFY => {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK)?;
            inotify.add_watch("/", AddWatchFlags::IN_CREATE)?;
            inotify.as_fd().try_clone_to_owned()?
        }
        "anon_inode:[eventfd]" => EventFd::from_value(1)?.as_fd().try_clone_to_owned()?,
        link if link.starts_with("socket:") => {
            let (one, other) = UnixStream::pair()?;
            // Anybody who reads from it would get this.
            nix::unistd::write(&other, b"service")?;
            std::mem::forget(other);
            one.into()
        }
        _ => File::open("/")?.into(),
    })
}

fn intact() -> usize {
    own().iter().filter(|own| own.is_intact()).count()
}

fn intact_in_child() -> io::Result<usize> {
    // SAFETY: the child allocates, for which the C library's `fork` prepares it, and reads files.
    // No other thread takes the lock of `OWN`.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, count) => usize::try_from(count).map_err(io::Error::other),
            _ => Err(Errno::ECHILD.into()),
        },
        ForkResult::Child => {
            let count = i32::try_from(intact()).unwrap_or(0);
            // SAFETY: always sound to call; nothing of the parent has to be flushed or dropped.
            unsafe { libc::_exit(count) }
        }
    }
}
