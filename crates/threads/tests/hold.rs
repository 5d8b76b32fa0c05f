//! Holds of real threads, which stand still and go on afterwards.
//!
//! A test that holds the others' threads must not allocate meanwhile, so that most of what is seen is
//! compared after the release.
#![allow(clippy::unwrap_used)]
#![expect(
    unsafe_code,
    reason = "epoll, the thread pointer, and registers of known values"
)]

mod common;

use std::hint::black_box;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{Worker, capture, capturer, hold, is_needed, wait_until};
use rtops_threads::{Held, HeldThread, HoldError, Missing, Tid};

/// The tests take turns: each holds the threads of all.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

type Counter = Arc<AtomicU64>;

/// Threads that count, ten of them in ways that load the machine.
struct Crew {
    workers: Vec<Worker>,
    counters: Vec<Counter>,
}

impl Crew {
    fn new(count: usize) -> Self {
        let steps: [fn(); 5] = [
            std::hint::spin_loop,
            allocate,
            wait_condition,
            wait_event,
            nap,
        ];
        let mut crew = Self {
            workers: Vec::new(),
            counters: Vec::new(),
        };
        let kinds = steps.into_iter().cycle().take(10);
        for step in kinds.chain(std::iter::repeat(nap as fn())).take(count) {
            let counter = Counter::default();
            crew.counters.push(Arc::clone(&counter));
            crew.workers.push(Worker::spawn(move |released| {
                while is_needed(&released) {
                    step();
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        crew
    }

    fn read(&self, into: &mut [u64]) {
        for (counter, place) in self.counters.iter().zip(into) {
            *place = counter.load(Ordering::Relaxed);
        }
    }

    /// Holds all for a while, in which none may count.
    fn check_hold(&self) {
        let mut first = vec![0; self.counters.len()];
        let mut second = first.clone();
        let held = hold(&[]);
        self.read(&mut first);
        let end = Instant::now() + Duration::from_millis(2);
        while Instant::now() < end {
            thread::yield_now();
        }
        self.read(&mut second);
        let whole = held.is_whole();
        let all_wait = self
            .workers
            .iter()
            .all(|worker| held_thread(&held, worker.tid).is_some());
        drop(held);
        assert!(whole && all_wait);
        assert_eq!(first, second);
    }

    fn check_all_go_on(&self) {
        let mut before = vec![0; self.counters.len()];
        self.read(&mut before);
        for (counter, before) in self.counters.iter().zip(before) {
            wait_until("the thread counts on", || {
                counter.load(Ordering::Relaxed) > before
            });
        }
    }
}

fn held_thread(held: &Held, tid: Tid) -> Option<HeldThread> {
    held.threads().iter().find(|it| it.tid == tid).copied()
}

fn allocate() {
    black_box(vec![0_u8; black_box(3000)]);
}

fn wait_condition() {
    static NEVER: Condvar = Condvar::new();
    let lock = Mutex::new(());
    drop(NEVER.wait_timeout(lock.lock().unwrap(), Duration::from_micros(500)));
}

fn wait_event() {
    static EMPTY: OnceLock<OwnedFd> = OnceLock::new();
    let empty = EMPTY.get_or_init(|| {
        // SAFETY: a new descriptor, which nothing else owns.
        unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }
    });
    // SAFETY: the kernel writes one event at most.
    unsafe {
        let mut event = std::mem::zeroed();
        libc::epoll_wait(empty.as_raw_fd(), &raw mut event, 1, 1);
    }
}

fn nap() {
    thread::sleep(Duration::from_millis(10));
}

#[test]
fn one_thread_stands_still_and_goes_on() {
    let _alone = alone();
    let crew = Crew::new(1);
    for _ in 0..50 {
        crew.check_hold();
        crew.check_all_go_on();
    }
}

#[test]
fn threads_of_all_kinds_stand_still_and_go_on() {
    let _alone = alone();
    let crew = Crew::new(8);
    for _ in 0..50 {
        crew.check_hold();
        crew.check_all_go_on();
    }
}

#[test]
fn two_hundred_threads_stand_still_and_go_on() {
    let _alone = alone();
    let crew = Crew::new(200);
    for _ in 0..5 {
        crew.check_hold();
    }
    crew.check_all_go_on();
}

#[test]
fn a_thousand_threads_are_held_at_once() {
    let _alone = alone();
    let workers: Vec<_> = (0..1000)
        .map(|_| {
            let builder = thread::Builder::new().stack_size(64 << 10);
            Worker::build(builder, |released| park(&released))
        })
        .collect();
    for _ in 0..3 {
        let held = hold(&[]);
        let whole = held.is_whole();
        let all_wait = workers
            .iter()
            .all(|worker| held_thread(&held, worker.tid).is_some());
        drop(held);
        assert!(whole && all_wait);
    }
}

#[test]
fn threads_that_start_meanwhile_are_held_too() {
    let _alone = alone();
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let churn = |released: Receiver<()>| {
        while is_needed(&released) {
            let count = || STARTED.fetch_add(1, Ordering::Relaxed);
            let threads = [thread::spawn(count), thread::spawn(count)];
            for thread in threads {
                thread.join().unwrap();
            }
        }
    };
    let _churners = [(); 4].map(|()| Worker::spawn(churn));
    let mut held_threads = 0;
    for _ in 0..300 {
        let held = hold(&[]);
        let first = STARTED.load(Ordering::Relaxed);
        for _ in 0..20 {
            thread::yield_now();
        }
        let second = STARTED.load(Ordering::Relaxed);
        let whole = held.is_whole();
        held_threads += held.threads().len();
        drop(held);
        assert!(whole);
        assert_eq!(first, second);
        wait_until("threads are started again", || {
            STARTED.load(Ordering::Relaxed) > second
        });
    }
    assert!(held_threads >= 300 * 5, "the churners and the main thread");
}

#[test]
fn spared_threads_go_on_and_are_in_no_list() {
    let _alone = alone();
    let crew = Crew::new(2);
    let (spared, other) = (crew.workers[0].tid, crew.workers[1].tid);
    for _ in 0..20 {
        let held = hold(&[spared]);
        let before = crew.counters[0].load(Ordering::Relaxed);
        wait_until("the spared thread counts", || {
            crew.counters[0].load(Ordering::Relaxed) > before
        });
        let is_listed = |tid| {
            held_thread(&held, tid).is_some() || held.others().iter().any(|(it, _)| *it == tid)
        };
        let listed = [spared, own_tid_of_test(), other].map(is_listed);
        drop(held);
        assert_eq!(listed, [false, false, true]);
    }
}

/// Without allocating.
fn own_tid_of_test() -> Tid {
    // SAFETY: gettid has no preconditions.
    Tid::new(unsafe { libc::gettid() })
}

#[test]
fn a_capture_right_after_a_hold_works_and_so_on_in_turns() {
    let _alone = alone();
    let worker = Worker::spawn(|released| park(&released));
    let crew = Crew::new(5);
    for _ in 0..50 {
        drop(hold(&[]));
        assert!(!capture(worker.tid).unwrap().bytes.is_empty());
    }
    crew.check_all_go_on();
}

#[test]
fn holds_and_captures_of_many_threads_take_turns() {
    let _alone = alone();
    let worker = Worker::spawn(|released| park(&released));
    let tid = worker.tid;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let held = hold(&[]);
                    let whole = held.is_whole();
                    drop(held);
                    assert!(whole);
                }
            });
            scope.spawn(|| {
                for _ in 0..50 {
                    capture(tid).unwrap();
                }
            });
        }
    });
}

#[test]
fn there_is_no_hold_without_a_turn_or_without_time() {
    let _alone = alone();
    let crew = Crew::new(1);
    let held = hold(&[]);
    let short = Instant::now() + Duration::from_millis(5);
    let busy = capturer().hold(&[], short).err();
    let mut missing = None;
    capturer().capture(
        &[crew.workers[0].tid],
        Instant::now() + Duration::from_millis(5),
        |_, result| missing = result.err(),
    );
    drop(held);
    assert_eq!(busy, Some(HoldError::Busy));
    assert_eq!(missing, Some(Missing::Busy));
    let late = capturer().hold(&[], Instant::now()).unwrap_err();
    assert_eq!(late, HoldError::NoTime);
    crew.check_all_go_on();
    crew.check_hold();
}

#[inline(never)]
fn park(released: &Receiver<()>) {
    released.recv().unwrap_err();
    black_box(());
}

/// The mappings of a file whose name has `name` in it.
fn mappings_of(name: &str) -> Vec<std::ops::Range<u64>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| line.contains(name))
        .map(|line| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            number(start)..number(end)
        })
        .collect()
}

#[test]
fn a_parked_thread_is_in_libc_and_on_its_stack() {
    let _alone = alone();
    let (tell, told) = std::sync::mpsc::channel();
    let worker = Worker::spawn(move |released| {
        // SAFETY: pthread_self has no preconditions.
        let thread_pointer = unsafe { libc::pthread_self() };
        let local = 0_u8;
        tell.send((thread_pointer, (&raw const local).addr() as u64))
            .unwrap();
        park(&released);
    });
    // With glibc, a pthread_t is the thread pointer, which lies behind the stack.
    let (thread_pointer, frame) = told.recv().unwrap();
    let libc = mappings_of("libc.so");
    wait_until("the thread is parked", || {
        let held = hold(&[]);
        let thread = held_thread(&held, worker.tid);
        drop(held);
        let thread = thread.unwrap();
        assert_eq!(thread.stack_end, thread_pointer);
        assert!(thread.registers.sp < thread_pointer);
        let is_deeper = thread.registers.sp < frame;
        is_deeper && libc.iter().any(|it| it.contains(&thread.registers.ip))
    });
    let main = Tid::new(std::process::id().try_into().unwrap());
    let stack = mappings_of("[stack]").remove(0);
    let held = hold(&[]);
    let thread = held_thread(&held, main);
    drop(held);
    let thread = thread.unwrap();
    assert!(stack.contains(&thread.registers.sp));
    assert_eq!(thread.stack_end, stack.end);
}

#[test]
fn the_registers_are_those_of_the_interrupted_code() {
    let _alone = alone();
    static IS_THERE: AtomicBool = AtomicBool::new(false);
    static RELEASED: AtomicBool = AtomicBool::new(false);
    let worker = Worker::spawn(|_| {
        // SAFETY: all registers that are changed are restored or declared; the loop reads one byte.
        unsafe {
            std::arch::asm!(
                "push rbx",
                "push rbp",
                "mov rbx, 0x11",
                "mov rbp, 0x22",
                "mov r12, 0x33",
                "mov r13, 0x44",
                "mov r14, 0x55",
                "mov r15, 0x66",
                "mov byte ptr [rax], 1",
                "2:",
                "pause",
                "cmp byte ptr [rcx], 0",
                "je 2b",
                "pop rbp",
                "pop rbx",
                in("rax") IS_THERE.as_ptr(),
                in("rcx") RELEASED.as_ptr(),
                out("r12") _,
                out("r13") _,
                out("r14") _,
                out("r15") _,
            );
        }
    });
    wait_until("the registers are set", || IS_THERE.load(Ordering::Relaxed));
    let held = hold(&[]);
    let registers = held_thread(&held, worker.tid).map(|it| it.registers);
    drop(held);
    RELEASED.store(true, Ordering::Relaxed);
    let it = registers.unwrap();
    assert_eq!(
        [it.rbx, it.bp, it.r12, it.r13, it.r14, it.r15],
        [0x11, 0x22, 0x33, 0x44, 0x55, 0x66]
    );
}
