//! Leaves the processor to the target: reading and emulating take
//! processor time that it may need itself.

use std::{
    fs, io,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::sys::{self, Schedule};

/// A guard that makes its thread, and those that this thread starts, run only when nobody else
/// wants to, until it is dropped or its time is up.
///
/// The time limit makes this safe: without it, work would never end on
/// a machine that is always busy.
#[derive(Debug)]
pub struct Yielding {
    /// Dropped to end it.
    end: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Yielding {
    /// Starts yielding. Returns `None` if that could not be undone, which
    /// takes root or a sufficient limit for `nice`, or if somebody has already
    /// chosen a scheduling policy for this thread.
    #[must_use]
    pub fn for_at_most(time: Duration) -> Option<Self> {
        if sys::schedule_of(0) != Some(Schedule::Usual) || !can_return() {
            return None;
        }
        let (sender, end) = channel();
        // Started first, so that it keeps the usual policy.
        let watch = thread::Builder::new().name("yielding".to_owned());
        let watch = watch.spawn(move || watch_over(&end, time)).ok()?;
        let yielding = Self {
            end: Some(sender),
            watch: Some(watch),
        };
        sys::idle(0).ok()?;
        Some(yielding)
    }
}

impl Drop for Yielding {
    fn drop(&mut self) {
        self.end = None;
        let watch = self.watch.take();
        let _is_over = watch.map(JoinHandle::join);
    }
}

/// Tries it with a thread that has no other work.
fn can_return() -> bool {
    let tried = thread::Builder::new().spawn(|| sys::idle(0).and_then(|()| sys::not_idle(0)));
    tried.is_ok_and(|thread| matches!(thread.join(), Ok(Ok(()))))
}

fn watch_over(end: &Receiver<()>, time: Duration) {
    // Dropped and timed out both mean the end.
    let _why = end.recv_timeout(time);
    while has_found_idle_threads() == Some(true) {}
}

/// Resets all idle threads to the usual policy. A thread that one of
/// them started meanwhile is found the next time.
fn has_found_idle_threads() -> Option<bool> {
    let threads: io::Result<Vec<_>> = fs::read_dir("/proc/self/task").ok()?.collect();
    let tids = threads.ok()?.into_iter().filter_map(|thread| {
        let name = thread.file_name();
        name.to_str()?.parse::<i32>().ok()
    });
    let idle = tids.filter(|tid| sys::schedule_of(*tid) == Some(Schedule::Idle));
    // A thread that has ended needs nothing.
    Some(idle.filter(|tid| sys::not_idle(*tid).is_ok()).count() > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn schedule() -> Schedule {
        sys::schedule_of(0).unwrap()
    }

    // One test, because ending it affects all threads of the process.
    #[test]
    fn threads_yield_until_it_is_dropped_or_the_time_is_up() {
        if !can_return() {
            assert!(Yielding::for_at_most(LONG).is_none());
            assert_eq!(schedule(), Schedule::Usual);
            return;
        }
        let yielding = Yielding::for_at_most(LONG).unwrap();
        assert_eq!(schedule(), Schedule::Idle);
        assert_eq!(thread::spawn(schedule).join().unwrap(), Schedule::Idle);
        assert!(Yielding::for_at_most(LONG).is_none());
        drop(yielding);
        assert_eq!(schedule(), Schedule::Usual);

        let (stop, stopped) = channel::<()>();
        let yielding = Yielding::for_at_most(Duration::from_millis(1)).unwrap();
        let started = thread::spawn(move || {
            let _is_over = stopped.recv();
            schedule()
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while schedule() == Schedule::Idle && Instant::now() < deadline {
            thread::yield_now();
        }
        drop(yielding);
        drop(stop);
        assert_eq!(schedule(), Schedule::Usual);
        assert_eq!(started.join().unwrap(), Schedule::Usual);
    }
}
