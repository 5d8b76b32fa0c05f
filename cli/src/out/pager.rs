//! Shows text that does not fit on a terminal in a pager, such as `less`.
//!
//! While a pager runs, it owns the terminal: it handles Ctrl-C, and rtops waits for its end. A
//! signal that would end rtops ends the pager first, so that neither is left behind. After a
//! SIGKILL, the pager sees only the end of its pipe; `less` then waits for its user, as it should.

use std::{
    env,
    ffi::{CString, OsString},
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp},
    sys::{
        signal::{SigSet, SigmaskHow, Signal, kill, raise},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpgrp, pipe2, tcgetpgrp},
};

use super::terminal;
use crate::proc::proc_files;

/// What `less` is told unless the user chose options: quit at once if everything fits, keep
/// colours, leave the text on the terminal.
const LESS: &str = "FRX";
/// A pipe that has room at all has room for this many bytes.
const PIECE: usize = 4096;

/// Returns the words of the pager command: that of `$RTOPS_PAGER`, else of `$PAGER`, else `less`.
/// `None` if the user wants no pager, or has no terminal to use it on.
pub fn command() -> Option<Vec<String>> {
    let variable = |name| env::var(name).ok();
    let words = chosen(variable("RTOPS_PAGER").or_else(|| variable("PAGER")))?;
    (terminal::moves_cursor() && has_terminal()).then_some(words)
}

/// Splits the command. An empty variable asks for no pager, and so does `cat`.
fn chosen(variable: Option<String>) -> Option<Vec<String>> {
    let command = variable.unwrap_or_else(|| format!("less -{LESS}"));
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let first = words.first()?;
    (first != "cat").then_some(words)
}

/// Whether this command is in the foreground of its terminal.
fn has_terminal() -> bool {
    tcgetpgrp(io::stdout()).is_ok_and(|foreground| foreground == getpgrp())
}

/// Returns the signals to block while a pager runs, except ignored ones: blocked, they would be
/// reported, but they are to stay without effect, like SIGHUP under `nohup`.
fn held() -> SigSet {
    let status = proc_files::process(rtops_types::Pid::own());
    let status = status.and_then(|process| proc_files::status(&process));
    let ignored = status.map_or(0, |status| status.sigign);
    let is_ignored = |signal: &Signal| ignored >> (*signal as i32 - 1) & 1 == 1;
    let ending = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
    ];
    let ending = ending.into_iter().filter(|signal| !is_ignored(signal));
    ending.chain([Signal::SIGCHLD]).collect()
}

/// A running pager. Dropping it waits for its end.
#[derive(Debug)]
pub struct Pager {
    pid: Pid,
    has_ended: bool,
    /// `None` once the pager has everything, or the user has left it.
    pipe: Option<File>,
    /// Reports the signals that are blocked meanwhile.
    signals: SignalFd,
    /// The signals that were blocked before.
    before: SigSet,
}

impl Pager {
    /// Starts a pager. No other thread may run, or it would get the signals meant for this one.
    ///
    /// # Errors
    /// If there is no such program, or it can't be run.
    pub fn start(words: &[String]) -> io::Result<Self> {
        let held = held();
        let signals = SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let pid = spawn(words, &read, &before);
        if pid.is_err() {
            before.thread_set_mask()?;
        }
        Ok(Self {
            pid: pid?,
            has_ended: false,
            pipe: Some(write.into()),
            signals,
            before,
        })
    }

    /// Writes what there is room for. Anything that comes after the user has left is discarded.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let Some(pipe) = &mut self.pipe else {
                return Ok(bytes.len());
            };
            let mut files = [
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(pipe.as_fd(), PollFlags::POLLOUT),
            ];
            wait(&mut files)?;
            let [_, of_pipe] = &files;
            if of_pipe.any() == Some(true) {
                let piece = bytes.get(..PIECE).unwrap_or(bytes);
                match pipe.write(piece) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.pipe = None,
                    written => return written,
                }
            }
            self.obey()?;
        }
    }

    /// Waits until the user has left the pager.
    fn wait(&mut self) -> io::Result<()> {
        self.pipe = None;
        // Checked before each wait for the signal that would report it.
        while !self.has_ended(WaitPidFlag::WNOHANG)? {
            wait(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)])?;
            self.obey()?;
        }
        Ok(())
    }

    fn has_ended(&mut self, how: WaitPidFlag) -> io::Result<bool> {
        if !self.has_ended {
            self.has_ended = match waitpid(self.pid, Some(how)) {
                Ok(status) => status != WaitStatus::StillAlive,
                // If SIGCHLD was ignored when rtops was started, the kernel forgets its children.
                Err(Errno::ECHILD) => true,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(self.has_ended)
    }

    /// Acts on the signals that have come; the pager has received those of the keyboard as well.
    fn obey(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            let Ok(signal @ (Signal::SIGHUP | Signal::SIGTERM)) = Signal::try_from(number) else {
                continue;
            };
            // The pager restores the terminal when it ends.
            self.pipe = None;
            if !self.has_ended(WaitPidFlag::WNOHANG)? {
                kill(self.pid, Signal::SIGTERM)?;
                // A stopped pager gets the signal only once it continues.
                kill(self.pid, Signal::SIGCONT)?;
                self.has_ended(WaitPidFlag::empty())?;
            }
            self.before.thread_set_mask()?;
            raise(signal)?;
        }
        Ok(())
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_some(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        // Nobody is left to tell, and there is nothing else to do.
        drop(self.wait());
        drop(self.obey());
        self.before.thread_set_mask().ok();
    }
}

/// Starts a program that reads from the pipe and gets all signals that were not blocked before.
fn spawn(words: &[String], stdin: &OwnedFd, mask: &SigSet) -> io::Result<Pid> {
    let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::from);
    let words = words.iter().map(|word| c_string(word.clone().into_bytes()));
    let words: Vec<CString> = words.collect::<io::Result<_>>()?;
    let program = words.first().ok_or(io::ErrorKind::NotFound)?;
    let mut variables: Vec<(OsString, OsString)> = env::vars_os().collect();
    if env::var_os("LESS").is_none() {
        // The user may have set PAGER to plain `less`.
        variables.push(("LESS".into(), LESS.into()));
    }
    let variables = variables.into_iter().map(|(name, value)| {
        let parts = [name.as_encoded_bytes(), b"=", value.as_encoded_bytes()];
        c_string(parts.concat())
    });
    let variables: Vec<CString> = variables.collect::<io::Result<_>>()?;
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(stdin.as_raw_fd(), 0)?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigmask(mask)?;
    // Rust programs ignore SIGPIPE.
    attributes.set_sigdefault(&Signal::SIGPIPE.into())?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    Ok(posix_spawnp(
        program,
        &actions,
        &attributes,
        &words,
        &variables,
    )?)
}

fn wait(files: &mut [PollFd]) -> io::Result<()> {
    match poll(files, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(variable: Option<&str>) -> Option<String> {
        chosen(variable.map(str::to_owned)).map(|words| words.join("|"))
    }

    #[test]
    fn the_user_chooses_the_pager() {
        assert_eq!(words(None).as_deref(), Some("less|-FRX"));
        assert_eq!(words(Some("most  -s ")).as_deref(), Some("most|-s"));
        for none in ["", " ", "cat"] {
            assert_eq!(words(Some(none)), None);
        }
    }
}
