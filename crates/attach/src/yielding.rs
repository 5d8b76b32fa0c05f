//! What is read and interpreted takes processor time, which the target may need itself.

use std::{
    fs, io,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::sys::{self, Schedule};

/// Until this is dropped, and for a bounded time, the thread that made it and those that it starts run only when
/// nobody else wants to.
///
/// The bound is what makes it safe: on a machine that is busy all the time, work would not end without it.
#[derive(Debug)]
pub struct Yielding {
    /// Dropped when it is over.
    end: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Yielding {
    /// Begins. `None` where that can't be taken back: the kernel lets root do so, and whoever has a limit for
    /// `nice` that allows it; and where somebody has chosen how this thread runs.
    #[must_use]
    pub fn for_at_most(time: Duration) -> Option<Self> {
        if sys::schedule_of(0) != Some(Schedule::Usual) || !can_return() {
            return None;
        }
        let (sender, end) = channel();
        // It is started before, so that it runs as usual itself.
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

/// Tries it with a thread of which nothing else is asked.
fn can_return() -> bool {
    let tried = thread::Builder::new().spawn(|| sys::idle(0).and_then(|()| sys::not_idle(0)));
    tried.is_ok_and(|thread| matches!(thread.join(), Ok(Ok(()))))
}

fn watch_over(end: &Receiver<()>, time: Duration) {
    // Either is the end.
    let _why = end.recv_timeout(time);
    while has_found_idle_threads() == Some(true) {}
}

/// Has all threads run as usual that don't. One that was started meanwhile by such a thread is found the next time.
fn has_found_idle_threads() -> Option<bool> {
    let threads: io::Result<Vec<_>> = fs::read_dir("/proc/self/task").ok()?.collect();
    let tids = threads.ok()?.into_iter().filter_map(|thread| {
        let name = thread.file_name();
        name.to_str()?.parse::<i32>().ok()
    });
    let idle = tids.filter(|tid| sys::schedule_of(*tid) == Some(Schedule::Idle));
    // One that has ended needs nothing.
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

    // One test, as each end is one for all threads of the process.
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
