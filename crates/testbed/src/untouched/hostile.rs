//! Polls that would end or harm the process if they ran in it instead of in a copy.
#![expect(unsafe_code, reason = "what is done to the copy must be harmful")]

use std::{
    fs,
    future::Future,
    hint::{black_box, spin_loop},
    io::Write,
    net::Shutdown,
    os::fd::AsRawFd,
    pin::Pin,
    process::{self, Command},
    ptr,
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll, Waker},
    thread,
};

use nix::{
    libc,
    sys::{
        mman::munmap,
        signal::{Signal, kill, raise},
        socket::{MsgFlags, recv},
    },
    unistd::{Pid, fork, getpid, write},
};

use super::resources::Resources;
use crate::FOREVER;

/// What a poll does in a copy.
type Act = Box<dyn FnMut() + Send>;

/// Returns the acts of a kind, or all acts.
pub(super) fn acts(kind: &str, resources: &'static Resources) -> Result<Vec<Act>, String> {
    let mut named = ends();
    named.extend(harms(resources));
    let chosen = named.into_iter();
    let chosen = chosen.filter(|(name, _)| kind == "all" || kind == *name);
    let acts: Vec<Act> = chosen.map(|(_, act)| act).collect();
    if acts.is_empty() && kind != "none" {
        return Err(format!("no polls are called {kind:?}"));
    }
    Ok(acts)
}

/// Waits like any other task, but acts if it is polled in another process than it was made in.
pub(super) struct OnlyInACopy {
    act: Act,
    home: Pid,
    waker: Option<Waker>,
}

impl OnlyInACopy {
    pub(super) fn new(act: Act) -> Self {
        Self {
            act,
            home: getpid(),
            waker: None,
        }
    }
}

impl Future for OnlyInACopy {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if getpid() != self.home {
            (self.act)();
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Acts that do not end, or that end the process.
fn ends() -> Vec<(&'static str, Act)> {
    let home = getpid();
    vec![
        ("abort", Box::new(|| process::abort())),
        ("exit", Box::new(|| process::exit(3))),
        (
            "kill-original",
            Box::new(move || done(kill(home, Signal::SIGKILL))),
        ),
        (
            "kill-self",
            Box::new(|| done(kill(getpid(), Signal::SIGKILL))),
        ),
        (
            "kill-group",
            Box::new(|| done(kill(Pid::from_raw(0), Signal::SIGKILL))),
        ),
        ("trap", Box::new(|| done(raise(Signal::SIGTRAP)))),
        ("panic", Box::new(|| panic!("on purpose"))),
        (
            "null",
            Box::new(|| {
                // SAFETY: none: it is meant to fault.
                unsafe { ptr::without_provenance_mut::<u8>(black_box(8)).write_volatile(1) };
            }),
        ),
        (
            "endless",
            Box::new(|| {
                while black_box(true) {
                    spin_loop();
                }
            }),
        ),
        ("recursion", Box::new(|| done(recurses(1)))),
        ("sleep", Box::new(|| thread::sleep(FOREVER))),
        (
            "thread",
            Box::new(|| done(thread::Builder::new().spawn(|| thread::sleep(FOREVER)))),
        ),
        (
            "command",
            Box::new(|| done(Command::new("/bin/sh").args(["-c", "sleep 1000"]).spawn())),
        ),
        (
            "fork",
            Box::new(|| {
                // SAFETY: the child only sleeps.
                if unsafe { fork() }.is_ok_and(|fork| fork.is_child()) {
                    thread::sleep(FOREVER);
                }
            }),
        ),
    ]
}

/// Acts that change what is shared, or what the copy owns.
fn harms(resources: &'static Resources) -> Vec<(&'static str, Act)> {
    vec![
        ("lock", Box::new(|| drop(resources.lock.lock()))),
        (
            "shared",
            Box::new(|| done(resources.shared_word().fetch_add(1000, SeqCst))),
        ),
        (
            "pipe",
            Box::new(|| done((&resources.into_pipe).write_all(b"more"))),
        ),
        (
            "send",
            Box::new(|| done((&resources.silent).write_all(b"more"))),
        ),
        (
            "shutdown",
            Box::new(|| done(resources.silent.shutdown(Shutdown::Both))),
        ),
        (
            "receive",
            Box::new(|| {
                let socket = resources.socket.as_raw_fd();
                done(recv(socket, &mut [0; 16], MsgFlags::MSG_DONTWAIT));
            }),
        ),
        (
            "remove",
            Box::new(|| done(fs::remove_file(&resources.file))),
        ),
        (
            "overwrite",
            Box::new(|| done(fs::write(&resources.file, "overwritten"))),
        ),
        (
            "stdout",
            Box::new(|| done(write(std::io::stdout(), b"from the copy\n"))),
        ),
        (
            "close",
            Box::new(|| {
                // SAFETY: none: it is meant to close a descriptor that another owns.
                unsafe { libc::close(resources.socket.as_raw_fd()) };
            }),
        ),
        (
            "unmap",
            Box::new(|| {
                let (page, length) = resources.page();
                // SAFETY: none: it is meant to unmap memory that is in use.
                done(unsafe { munmap(page.cast(), length) });
            }),
        ),
    ]
}

/// The act may fail or not: what counts is the state of the target afterwards.
fn done<T>(result: T) {
    drop(black_box(Some(result)));
}

/// Recurses until the stack is used up.
#[inline(never)]
fn recurses(depth: u64) -> u64 {
    if black_box(depth) == 0 {
        return 0;
    }
    recurses(black_box(depth + 1)) + black_box(1)
}
