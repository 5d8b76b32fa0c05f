//! Threads that can't be held: they are reported when they sleep, and fail the hold when they run.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "signal masks, and a child that shares memory")]

mod common;

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{Worker, capturer, deadline, hold, is_needed, wait_until};
use rtops_threads::{Held, HoldError, Missing, Tid, list};

/// The tests take turns: each holds the threads of all.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_urgent() {
    set_urgent_blocked(libc::SIG_BLOCK);
}

fn set_urgent_blocked(how: c_int) {
    // SAFETY: the set is initialized before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGURG);
        assert_eq!(
            libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()),
            0
        );
    }
}

fn unblock_urgent() {
    set_urgent_blocked(libc::SIG_UNBLOCK);
}

fn park(released: &Receiver<()>) {
    released.recv().unwrap_err();
}

fn why_missing(held: &Held, tid: Tid) -> Option<Missing> {
    let found = held.others().iter().find(|(it, _)| *it == tid);
    found.map(|(_, missing)| *missing)
}

/// Whether all are held, and this one with them. Judged before anybody panics, which allocates.
fn is_held_with_all(tid: Tid) -> bool {
    let held = hold(&[]);
    held.is_whole() && is_held(&held, tid)
}

fn is_held(held: &Held, tid: Tid) -> bool {
    held.threads().iter().any(|it| it.tid == tid)
}

fn state_of(tid: Tid) -> Option<char> {
    let threads = list().unwrap();
    threads.iter().find(|it| it.tid == tid).map(|it| it.state)
}

#[test]
fn a_sleeper_that_blocks_the_signal_is_left_to_sleep() {
    let _alone = alone();
    let free = Worker::spawn(|released| park(&released));
    let masked = Worker::spawn(|released| {
        block_urgent();
        park(&released);
    });
    wait_until("the masked thread sleeps", || {
        let held = hold(&[]);
        let whole = held.is_whole();
        let free_is_held = is_held(&held, free.tid);
        let missing = why_missing(&held, masked.tid);
        let masked_is_held = is_held(&held, masked.tid);
        drop(held);
        assert!(whole && free_is_held);
        assert!(missing.is_some() != masked_is_held, "in one list");
        missing == Some(Missing::SignalBlocked)
    });
    drop(masked);
    assert!(is_held_with_all(free.tid));
}

/// One that is asleep when it is first looked at, and is woken by one that doesn't come at once.
#[test]
fn a_sleeper_that_is_woken_while_others_come_is_held_too() {
    let _alone = alone();
    let count = Arc::new(AtomicU64::new(0));
    let counting = {
        let count = Arc::clone(&count);
        Worker::spawn(move |released| {
            while is_needed(&released) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let (wake, woken) = std::sync::mpsc::channel();
    let sleeper = Worker::spawn(move |released| {
        block_urgent();
        woken.recv().unwrap();
        unblock_urgent();
        while is_needed(&released) {
            std::hint::spin_loop();
        }
    });
    wait_until("the sleeper sleeps", || state_of(sleeper.tid) == Some('S'));
    let (tell, is_blocking) = std::sync::mpsc::channel();
    let late = Worker::spawn(move |_| {
        block_urgent();
        tell.send(()).unwrap();
        let mut seen = (0, Instant::now());
        // Until the other one stands still, which it does because it is held.
        while seen.1.elapsed() < Duration::from_millis(4) {
            let now = count.load(Ordering::Relaxed);
            if now != seen.0 {
                seen = (now, Instant::now());
            }
        }
        wake.send(()).unwrap();
        unblock_urgent();
    });
    is_blocking.recv().unwrap();
    let held = hold(&[]);
    let missing = why_missing(&held, sleeper.tid);
    let ok = is_held(&held, sleeper.tid) && is_held(&held, counting.tid);
    let whole = held.is_whole();
    drop(held);
    assert!(ok && whole, "{missing:?}");
    drop(late);
}

#[test]
fn a_busy_thread_that_blocks_the_signal_fails_the_hold_and_nobody_stays_held() {
    let _alone = alone();
    let count = Arc::new(AtomicU64::new(0));
    let counting = {
        let count = Arc::clone(&count);
        Worker::spawn(move |released| {
            while is_needed(&released) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let masked = Worker::spawn(|released| {
        block_urgent();
        while is_needed(&released) {
            std::hint::spin_loop();
        }
    });
    wait_until("the masked thread is named", || {
        let error = capturer().hold(&[], deadline()).map(drop).err();
        let before = count.load(Ordering::Relaxed);
        wait_until("the other thread counts", || {
            count.load(Ordering::Relaxed) > before
        });
        // It may not have blocked the signal yet, or another may be short of a processor.
        error == Some(HoldError::StillRuns(masked.tid))
    });
    drop(masked);
    assert!(is_held_with_all(counting.tid));
}

#[test]
fn threads_that_no_signal_reaches_fail_the_hold() {
    let _alone = alone();
    let worker = Worker::spawn(|released| park(&released));
    let limit = set_queued_signals(0);
    // The kernel delivers the signal, but not what it says.
    let error = capturer().hold(&[], deadline()).map(drop).err();
    set_queued_signals(limit);
    assert!(matches!(error, Some(HoldError::StillRuns(_))), "{error:?}");
    assert!(is_held_with_all(worker.tid));
}

/// How many signals may be queued. The one before.
fn set_queued_signals(limit: libc::rlim_t) -> libc::rlim_t {
    // SAFETY: reads and writes an initialized limit.
    unsafe {
        let mut now = std::mem::zeroed::<libc::rlimit>();
        let which = libc::RLIMIT_SIGPENDING;
        assert_eq!(libc::getrlimit(which, &raw mut now), 0);
        let former = now.rlim_cur;
        now.rlim_cur = limit;
        assert_eq!(libc::setrlimit(which, &raw const now), 0);
        former
    }
}

#[test]
fn a_thread_that_waits_for_a_vfork_child_is_reported_and_waits_when_it_comes_back() {
    static CHILD_MAY_END: AtomicBool = AtomicBool::new(false);
    static CAME_BACK: AtomicBool = AtomicBool::new(false);
    extern "C" fn child(_: *mut c_void) -> c_int {
        while !CHILD_MAY_END.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        0
    }
    let _alone = alone();
    let parent = Worker::spawn(|_| {
        let mut stack = vec![0_u128; 4 << 10];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the child runs on a stack of its own while this thread waits, and touches one static.
        unsafe {
            let end = stack.as_mut_ptr_range().end;
            let id = libc::clone(child, end.cast(), flags, std::ptr::null_mut());
            CAME_BACK.store(true, Ordering::Relaxed);
            assert!(id > 0);
            assert_eq!(libc::waitpid(id, std::ptr::null_mut(), 0), id);
        }
    });
    wait_until("the parent waits in the kernel", || {
        state_of(parent.tid) == Some('D')
    });
    let held = hold(&[]);
    let missing = why_missing(&held, parent.tid);
    CHILD_MAY_END.store(true, Ordering::Relaxed);
    wait_until("the parent sleeps in the handler", || is_asleep(parent.tid));
    let came_back = CAME_BACK.load(Ordering::Relaxed);
    let whole = held.is_whole();
    drop(held);
    assert_eq!(missing, Some(Missing::NoAnswer));
    assert!(whole && !came_back);
    wait_until("the parent goes on", || CAME_BACK.load(Ordering::Relaxed));
}

/// Whether /proc has the thread as sleeping, interruptibly. Without allocating.
fn is_asleep(tid: Tid) -> bool {
    use std::io::{Read, Write};
    let mut path = [0; 64];
    write!(path.as_mut_slice(), "/proc/self/task/{tid}/stat").unwrap();
    let path = std::ffi::CStr::from_bytes_until_nul(&path).unwrap();
    let mut stat = [0; 100];
    let mut file = std::fs::File::open(path.to_str().unwrap()).unwrap();
    let len = file.read(&mut stat).unwrap();
    stat[..len].windows(3).any(|it| it == b") S")
}

#[test]
fn more_threads_than_there_are_places_for_are_refused() {
    let _alone = alone();
    let mut workers: Vec<_> = (0..4100)
        .map(|_| {
            let builder = thread::Builder::new().stack_size(16 << 10);
            Worker::build(builder, |released| park(&released))
        })
        .collect();
    let start = Instant::now();
    match capturer().hold(&[], deadline()) {
        Err(HoldError::TooManyThreads(count)) => assert!(count > 4100),
        other => panic!("{other:?} after {:?}", start.elapsed()),
    }
    workers.truncate(3000);
    let held = hold(&[]);
    let ok = held.is_whole() && workers.iter().all(|it| is_held(&held, it.tid));
    drop(held);
    assert!(ok);
}
