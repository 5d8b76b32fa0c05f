//! Helpers of the capture tests: threads that wait, and captures that are unwound.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rtops_threads::{Capturer, Missing, Signal, Tid, install};
use rtops_unwind::{Outcome, StackRegisters, StackSlice, Unwinder};

pub fn capturer() -> Capturer {
    install(Signal::URGENT).unwrap()
}

/// Returns a deadline that only a broken program reaches.
pub fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = deadline();
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::yield_now();
    }
}

/// Returns the calling thread's ID.
pub fn own_tid() -> Tid {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    Tid::new(link.file_name().unwrap().to_str().unwrap().parse().unwrap())
}

/// A thread that reports its ID and then runs `work`; joined when dropped.
pub struct Worker {
    pub tid: Tid,
    handle: Option<JoinHandle<()>>,
    /// Dropping it ends the thread's wait, even if a test panics.
    release: Option<Sender<()>>,
}

impl Worker {
    pub fn spawn(work: impl FnOnce(mpsc::Receiver<()>) + Send + 'static) -> Self {
        Self::build(thread::Builder::new(), work)
    }

    pub fn build(
        builder: thread::Builder,
        work: impl FnOnce(mpsc::Receiver<()>) + Send + 'static,
    ) -> Self {
        let (tell, told) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let run = move || {
            tell.send(own_tid()).unwrap();
            work(released);
        };
        let handle = builder.spawn(run).unwrap();
        Self {
            tid: told.recv().unwrap(),
            handle: Some(handle),
            release: Some(release),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(handle) = self.handle.take() {
            handle.join().ok();
        }
    }
}

/// Returns whether the test still needs the thread that was spawned with this receiver.
pub fn is_needed(released: &mpsc::Receiver<()>) -> bool {
    released.try_recv() == Err(mpsc::TryRecvError::Empty)
}

/// An owned copy of a thread's stack.
#[derive(Debug)]
pub struct Copy {
    pub registers: StackRegisters,
    pub bytes: Vec<u8>,
    pub truncated: bool,
}

pub fn capture_all(threads: &[Tid]) -> Vec<(Tid, Result<Copy, Missing>)> {
    let mut results = Vec::new();
    capturer().capture(threads, deadline(), |tid, result| {
        let copy = result.map(|slice| Copy {
            registers: slice.stack.registers,
            bytes: slice.stack.bytes.to_vec(),
            truncated: slice.truncated,
        });
        results.push((tid, copy));
    });
    results
}

pub fn capture(tid: Tid) -> Result<Copy, Missing> {
    let mut results = capture_all(&[tid]);
    assert_eq!(results.len(), 1);
    let (of, result) = results.remove(0);
    assert_eq!(of, tid);
    result
}

/// Unwinds a copy, which must reach the root, and returns its frames.
pub fn frames(unwinder: &mut Unwinder, copy: &Copy) -> Vec<u64> {
    let slice = StackSlice {
        registers: copy.registers,
        bytes: &copy.bytes,
    };
    let mut frames = Vec::new();
    let outcome = unwinder.unwind(&slice, None, &mut frames);
    assert_eq!(
        outcome,
        Outcome::Root,
        "{frames:x?} truncated: {}",
        copy.truncated
    );
    frames
}

/// Captures `tid` until one of its frames is in `function`: the thread may not have got there yet.
pub fn wait_for_frame_in(tid: Tid, function: usize) -> Copy {
    let mut unwinder = Unwinder::new();
    unwinder.refresh();
    let mut found = None;
    wait_until("the thread is in the function", || {
        let copy = capture(tid).unwrap();
        let is_there = frames(&mut unwinder, &copy)
            .iter()
            .any(|&at| in_function(function, at));
        found = is_there.then_some(copy);
        is_there
    });
    found.unwrap()
}

/// Returns whether a frame is in the small test function that starts at `function`.
pub fn in_function(function: usize, address: u64) -> bool {
    const LONGEST: u64 = 400;
    (function as u64..function as u64 + LONGEST).contains(&(address - 1))
}
