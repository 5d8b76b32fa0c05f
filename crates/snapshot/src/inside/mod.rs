//! What runs in the copy.
//!
//! The copy has one thread, whose stack is that of the thread that made it, and the memory of the
//! process at some instant. The allocator and any lock may be in the hands of threads that are not
//! there: nothing here allocates, locks or panics.
#![expect(unsafe_code, reason = "clone, mmap, memory that is mapped by hand")]

mod cage;
mod defuse;
mod guard;
mod handlers;
mod syscall;

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

use rtops_threads::HeldThread;

use crate::{
    environment::Mapping,
    shared::{MAX_RECORD, Shared},
};
pub(crate) use syscall::Nanos;
use syscall::{exit, futex_wait, futex_wake, syscall as system_call};

/// The stack that polls run on: as large as any worker's that is heard of.
const POLL_STACK: usize = 16 << 20;

/// With what the copy exits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i32)]
pub(crate) enum Status {
    /// All is done.
    Done = 0,
    /// The deadline came, or whoever made the copy is gone.
    NoTime = 81,
    /// Its own code crashed.
    Crashed = 82,
    /// The filter was refused.
    NotCaged = 83,
    /// A shared mapping stayed writable.
    NotProtected = 84,
    /// There was no memory for its stacks.
    NoMemory = 85,
}

impl Status {
    /// Why there is no copy, for a status that it ended with before it was ready.
    pub(crate) fn reason(status: i32) -> &'static str {
        match status {
            s if s == Self::NotCaged as i32 => {
                "system calls can't be filtered, perhaps as a container's profile forbids it"
            }
            s if s == Self::NotProtected as i32 => "a shared mapping can't be made read-only",
            s if s == Self::NoMemory as i32 => "it got no memory",
            _ => "it ended at once",
        }
    }
}

/// Why a guarded call did not return.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum GiveUp {
    /// It waited for a lock, which in the copy nobody gives back.
    Locked = 1,
    /// It touched memory that is not there, or not to be written to.
    Fault,
    /// It went on for too long.
    Endless,
    /// It would have ended the process.
    Exit,
    /// It panicked.
    Panic,
    /// It repeated a system call that is not made.
    SystemCall,
}

impl GiveUp {
    /// A number for it, never 0.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What has this number; [`Fault`](Self::Fault) for one that nothing has.
    #[must_use]
    pub const fn from_code(code: u64) -> Self {
        match code {
            1 => Self::Locked,
            3 => Self::Endless,
            4 => Self::Exit,
            5 => Self::Panic,
            6 => Self::SystemCall,
            _ => Self::Fault,
        }
    }
}

/// For how much processor time a guarded call may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// 50 ms: thousands of times what a poll takes.
    Short,
    /// Three seconds, for a call that is stepped.
    Long,
}

/// How a further copy ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// It returned.
    Done,
    /// It was killed, crashed, or could not be made.
    Lost,
}

/// The copy, seen from its inside.
#[derive(Debug)]
pub struct Copy<'a> {
    shared: &'a Shared,
    threads: &'a [HeldThread],
    mappings: &'a [Mapping],
    deadline: Nanos,
    /// The number of the order that comes next.
    order: u32,
    /// The top of the stack that guarded calls run on.
    stack: usize,
}

/// What the copy is made with, from outside.
pub(crate) struct Entry<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) deadline: Nanos,
    /// The process that it is a copy of.
    pub(crate) parent: i32,
    /// Where panics begin to unwind, if that is known.
    pub(crate) unwinder: Option<usize>,
}

/// All of the copy's life.
pub(crate) fn run(
    entry: &Entry<'_>,
    threads: &[HeldThread],
    inside: impl FnOnce(&mut Copy<'_>),
) -> ! {
    match Copy::prepare(entry, threads) {
        Ok(mut copy) => {
            copy.send(&[]);
            copy.flush();
            inside(&mut copy);
            copy.flush();
            exit(Status::Done as i32)
        }
        Err(status) => exit(status as i32),
    }
}

impl<'a> Copy<'a> {
    fn prepare(entry: &Entry<'a>, threads: &'a [HeldThread]) -> Result<Self, Status> {
        defuse::die_with(entry.parent)?;
        handlers::install(entry.deadline).ok_or(Status::NoMemory)?;
        handlers::start_clock();
        cage::close().ok_or(Status::NotCaged)?;
        defuse::step_back();
        let mappings = wait_for_mappings(entry)?;
        // Only now: it takes the agent the right to read the list of mappings.
        defuse::leave_no_core();
        defuse::protect(mappings, entry.shared.range())?;
        if let Some(unwinder) = entry.unwinder {
            let code = defuse::jump(guard::on_unwind as *const () as usize);
            // SAFETY: whoever comes here raises an exception, which a guarded call gives up for.
            unsafe { defuse::write_code(unwinder, &code) };
        }
        Ok(Self {
            shared: entry.shared,
            threads,
            mappings,
            deadline: entry.deadline,
            order: 1,
            stack: map_pages(POLL_STACK).ok_or(Status::NoMemory)? + POLL_STACK,
        })
    }

    /// The mappings of the process when it was copied, sorted.
    #[must_use]
    pub const fn mappings(&self) -> &'a [Mapping] {
        self.mappings
    }

    /// The threads of the process that were stopped for it.
    #[must_use]
    pub const fn threads(&self) -> &'a [HeldThread] {
        self.threads
    }

    /// The mapping that holds an address.
    #[must_use]
    pub fn mapping(&self, address: usize) -> Option<&'a Mapping> {
        let after = self
            .mappings
            .partition_point(|mapping| mapping.start <= address);
        let mapping = self.mappings.get(after.checked_sub(1)?)?;
        (address < mapping.end).then_some(mapping)
    }

    /// The buffer that is shared with the process, which is not a part of what is looked at.
    #[must_use]
    pub fn is_buffer(&self, mapping: &Mapping) -> bool {
        let (start, end) = self.shared.range();
        mapping.start < end && start < mapping.end
    }

    /// Sends a record, made of these parts; waits for room. What is longer than 4 MiB is not sent. It
    /// may be received only once there is more, or at the next [`flush`](Self::flush).
    pub fn send(&self, parts: &[&[u8]]) {
        let bytes = parts.iter().map(|part| part.len()).sum();
        if bytes > MAX_RECORD {
            return;
        }
        let inward = self.shared.inward();
        loop {
            let seen = inward.load(Acquire);
            if self.shared.has_room(bytes) {
                break;
            }
            self.flush();
            self.wait(inward, seen);
        }
        if self.shared.write(parts) {
            self.flush();
        }
    }

    /// Has the outside receive all that was sent.
    pub fn flush(&self) {
        let outward = self.shared.outward();
        outward.fetch_add(1, Release);
        futex_wake(outward);
    }

    /// Waits for an order, and takes it.
    pub fn next_order(&mut self) -> &'a [u64] {
        let inward = self.shared.inward();
        loop {
            let seen = inward.load(Acquire);
            if let Some(order) = self.shared.order(self.order) {
                self.order = self.order.wrapping_add(1);
                return order;
            }
            self.wait(inward, seen);
        }
    }

    fn wait(&self, word: &std::sync::atomic::AtomicU32, seen: u32) {
        futex_wait(word, seen, self.deadline);
        if Nanos::now() > self.deadline {
            exit(Status::NoTime as i32);
        }
    }

    /// New memory, zeroed, for as long as the copy lives; aligned to pages.
    #[must_use]
    pub fn pages(&self, bytes: usize) -> Option<&'static mut [u64]> {
        let start = map_pages(bytes)?;
        let words = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: new memory of that size that is never unmapped, zeroed by the kernel.
        Some(unsafe { std::slice::from_raw_parts_mut(words, bytes / 8) })
    }

    /// For each page of a range one byte, whose lowest bit says whether it is in memory. `None` if
    /// there is no room in `into`, or nothing can be said.
    #[must_use]
    pub fn present<'b>(&self, start: usize, end: usize, into: &'b mut [u64]) -> Option<&'b [u8]> {
        const PAGE: usize = 4096;
        let pages = (end - start).div_ceil(PAGE);
        let to = into.as_mut_ptr();
        if pages > size_of_val(into) {
            return None;
        }
        // SAFETY: writes one byte for each page, for which there is room.
        let result =
            unsafe { system_call(libc::SYS_mincore, start, end - start, to.addr(), 0, 0, 0) };
        // SAFETY: words are bytes as well, and so many were written.
        (result == 0).then(|| unsafe { std::slice::from_raw_parts(to.cast(), pages) })
    }

    /// A number that further copies can change, and that outlives them. One that does not change it
    /// for ten seconds is killed.
    #[must_use]
    pub fn progress(&self) -> &AtomicU64 {
        self.shared.progress()
    }

    /// Has whoever calls the function at `from` go to the one at `to` instead, which must take and
    /// return the same.
    ///
    /// # Safety
    /// `from` is the entry of a function that is at least 12 bytes long; `to` does for all its
    /// callers what they need to go on.
    pub unsafe fn divert(&mut self, from: usize, to: usize) -> Option<()> {
        // SAFETY: the caller's.
        unsafe { defuse::write_code(from, &defuse::jump(to)) }
    }

    /// Runs a function in a further copy, on a stack of its own, and waits for its end: what the
    /// function does to the memory of the process stays there.
    pub fn fork(&mut self, function: impl FnOnce(&mut Poller<'_>)) -> Ended {
        // SAFETY: no process ID has been asked for before.
        let own = unsafe { system_call(libc::SYS_getpid, 0, 0, 0, 0, 0, 0) };
        let flags = libc::CLONE_FILES as usize;
        // SAFETY: without CLONE_VM it is a fork: the child goes on with a copy of this stack.
        let child = unsafe { system_call(libc::SYS_clone, flags, 0, 0, 0, 0, 0) };
        if child == 0 {
            if defuse::die_with(own as i32).is_err() {
                exit(Status::NoTime as i32);
            }
            handlers::start_clock();
            self.poll(function);
            exit(Status::Done as i32);
        }
        if child < 0 {
            return Ended::Lost;
        }
        self.wait_for(child)
    }

    fn poll<F: FnOnce(&mut Poller<'_>)>(&self, function: F) {
        let mut start = Start {
            function: Some(function),
            poller: Poller { copy: self },
        };
        // SAFETY: the stack was mapped by `prepare` and nothing else runs on it; `enter` gets what it
        // expects, which lives on the stack below.
        unsafe { guard::on_stack(self.stack, enter::<F>, (&raw mut start).addr()) };
    }

    /// A further copy may do anything to its own handlers and clocks: one that gets nowhere is killed.
    fn wait_for(&self, child: isize) -> Ended {
        let mut status = 0_i32;
        let (mut seen, mut looks) = (self.progress().load(Acquire), 0);
        handlers::start_alarms();
        loop {
            let to = (&raw mut status).addr();
            let all = libc::__WALL as usize;
            // SAFETY: only writes the status.
            let result = unsafe { system_call(libc::SYS_wait4, child as usize, to, all, 0, 0, 0) };
            if result == child {
                return match status {
                    0 => Ended::Done,
                    _ => Ended::Lost,
                };
            }
            if result != -(libc::EINTR as isize) {
                return Ended::Lost;
            }
            looks += 1;
            let now = self.progress().load(Acquire);
            if now != seen {
                (seen, looks) = (now, 0);
            }
            if looks > handlers::ALARMS_WITHOUT_PROGRESS || Nanos::now() > self.deadline {
                let signal = libc::SIGKILL as usize;
                // SAFETY: takes no pointer; the child was not waited for, so the number is its own.
                unsafe { system_call(libc::SYS_kill, child as usize, signal, 0, 0, 0, 0) };
            }
        }
    }
}

fn wait_for_mappings<'a>(entry: &Entry<'a>) -> Result<&'a [Mapping], Status> {
    let inward = entry.shared.inward();
    loop {
        let seen = inward.load(Acquire);
        if let Some(mappings) = entry.shared.mappings() {
            return Ok(mappings);
        }
        futex_wait(inward, seen, entry.deadline);
        if Nanos::now() > entry.deadline {
            return Err(Status::NoTime);
        }
    }
}

/// Private memory of this process alone.
fn map_pages(bytes: usize) -> Option<usize> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    // SAFETY: a new mapping, at no address in particular.
    let start = unsafe { system_call(libc::SYS_mmap, 0, bytes, protection, flags, usize::MAX, 0) };
    usize::try_from(start).ok().filter(|start| *start != 0)
}

/// What [`enter`] starts with.
struct Start<'a, F> {
    function: Option<F>,
    poller: Poller<'a>,
}

/// Runs on the stack for polls.
unsafe extern "sysv64" fn enter<F: FnOnce(&mut Poller<'_>)>(start: usize) {
    let start = std::ptr::with_exposed_provenance_mut::<Start<'_, F>>(start);
    // SAFETY: `poll` passes its own, and waits for this function to return.
    let start = unsafe { &mut *start };
    if let Some(function) = start.function.take() {
        function(&mut start.poller);
    }
}

/// A further copy, in which code of the process can be called.
#[derive(Debug)]
pub struct Poller<'a> {
    copy: &'a Copy<'a>,
}

impl Poller<'_> {
    /// Sends a record, as [`Copy::send`].
    pub fn send(&self, parts: &[&[u8]]) {
        self.copy.send(parts);
    }

    /// As [`Copy::progress`].
    #[must_use]
    pub fn progress(&self) -> &AtomicU64 {
        self.copy.progress()
    }

    /// Calls a function of the process with one argument.
    ///
    /// # Errors
    /// When the call was given up: its frames are gone, and what it changed in the copy is half done.
    ///
    /// # Safety
    /// `function` is the address of a function that takes one argument the size of a pointer.
    pub unsafe fn guarded(
        &mut self,
        function: usize,
        argument: usize,
        patience: Patience,
    ) -> Result<(), GiveUp> {
        let ticks = match patience {
            Patience::Short => 5,
            Patience::Long => 300,
        };
        // SAFETY: the caller's; the process is thrown away.
        unsafe { guard::guarded(function, argument, ticks) }
    }

    /// Inside of a guarded call: the address at which its part of the stack ends.
    #[must_use]
    pub fn base() -> Option<usize> {
        guard::base()
    }

    /// Whether the copy's time is up.
    #[must_use]
    pub fn is_late(&self) -> bool {
        Nanos::now() > self.copy.deadline
    }
}
