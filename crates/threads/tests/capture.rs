//! Captures real threads, and unwinds each to the function that it is in.
#![allow(clippy::unwrap_used)]
#![expect(
    unsafe_code,
    reason = "signal masks, pipes and stacks of the test's own"
)]

mod common;

use std::{
    fs::File,
    hint::black_box,
    io::{Read, Write},
    os::fd::FromRawFd,
    sync::mpsc::Receiver,
    thread,
    time::Instant,
};

use common::{
    Worker, capture, capture_all, capturer, deadline, is_needed, own_tid, wait_for_frame_in,
    wait_until,
};
use rtops_threads::{InstallError, Missing, Signal, Tid, install, list};

#[inline(never)]
fn park(released: &Receiver<()>) {
    released.recv().unwrap_err();
    black_box(());
}

fn parked() -> Worker {
    Worker::spawn(|released| park(&released))
}

#[test]
fn a_parked_thread_is_in_its_function() {
    let worker = parked();
    let copy = wait_for_frame_in(worker.tid, park as *const () as usize);
    assert!(!copy.truncated);
}

#[inline(never)]
fn read_byte(mut file: File) -> usize {
    let read = file.read(&mut [0; 1]).unwrap();
    black_box(read)
}

#[test]
fn a_blocked_read_is_captured_and_not_disturbed() {
    let (reader, mut writer) = pipe();
    let (tell, told) = std::sync::mpsc::channel();
    let worker = Worker::spawn(move |_| tell.send(read_byte(reader)).unwrap());
    for _ in 0..10 {
        wait_for_frame_in(worker.tid, read_byte as *const () as usize);
    }
    writer.write_all(b"x").unwrap();
    assert_eq!(told.recv().unwrap(), 1);
}

#[inline(never)]
fn spin(released: &Receiver<()>) {
    while is_needed(released) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_busy_loop_is_captured() {
    let worker = Worker::spawn(|released| spin(&released));
    wait_for_frame_in(worker.tid, spin as *const () as usize);
}

#[test]
fn the_main_thread_is_captured() {
    let main = Tid::new(std::process::id().try_into().unwrap());
    let copy = capture(main).unwrap();
    let mut unwinder = rtops_unwind::Unwinder::new();
    unwinder.refresh();
    assert!(common::frames(&mut unwinder, &copy).len() > 3);
    assert!(!copy.truncated);
}

#[test]
fn the_capturing_thread_is_named_as_such() {
    assert_eq!(capture(own_tid()).unwrap_err(), Missing::Myself);
}

#[test]
fn a_thread_that_blocks_the_signal_is_reported_without_waiting() {
    let masked = Worker::spawn(|released| {
        set_urgent_blocked(libc::SIG_BLOCK);
        park(&released);
    });
    wait_until("the mask is set", || capture(masked.tid).is_err());
    // Otherwise it would count as a thread that did not answer in time.
    let others: Vec<_> = (0..2000).map(|_| masked.tid).collect();
    for (_, result) in capture_all(&others) {
        assert_eq!(result.unwrap_err(), Missing::SignalBlocked);
    }
}

#[test]
fn threads_that_are_gone_or_never_were_are_reported() {
    let worker = parked();
    let tid = worker.tid;
    drop(worker);
    wait_until("the kernel forgets the thread", || {
        capture(tid).is_err_and(|missing| missing == Missing::Exited)
    });
    assert_eq!(capture(Tid::new(i32::MAX)).unwrap_err(), Missing::Exited);
    for odd in [0, -1, i32::MIN] {
        assert!(capture(Tid::new(odd)).is_err());
    }
}

#[test]
fn a_thread_on_a_small_stack_is_captured() {
    let builder = thread::Builder::new().stack_size(16 << 10);
    let (tell, told) = std::sync::mpsc::channel();
    let worker = Worker::build(builder, move |released| {
        // SAFETY: pthread_self has no preconditions.
        tell.send(unsafe { libc::pthread_self() }).unwrap();
        park(&released);
    });
    let copy = wait_for_frame_in(worker.tid, park as *const () as usize);
    // With glibc, a pthread_t is the thread pointer, which lies after the stack.
    assert_eq!(
        copy.registers.sp + copy.bytes.len() as u64,
        told.recv().unwrap()
    );
    assert!(!copy.truncated);
}

#[inline(never)]
fn park_below(depth: usize, released: &Receiver<()>) {
    let ballast = black_box([depth as u8; 1024]);
    if depth == 0 {
        park(released);
    } else {
        park_below(depth - 1, released);
    }
    black_box(&ballast);
}

#[test]
fn a_stack_over_64_kib_is_whole_and_one_over_512_kib_is_cut() {
    let deep = |depth| {
        let builder = thread::Builder::new().stack_size(8 << 20);
        Worker::build(builder, move |released| park_below(depth, &released))
    };
    let worker = deep(120);
    let copy = wait_for_frame_in(worker.tid, park as *const () as usize);
    assert!(copy.bytes.len() > 120 << 10 && !copy.truncated);

    let worker = deep(1000);
    wait_until("the stack is deep", || {
        capture(worker.tid).unwrap().truncated
    });
    assert_eq!(capture(worker.tid).unwrap().bytes.len(), 512 << 10);
}

#[test]
fn a_passed_deadline_captures_nothing_and_still_answers_for_each() {
    let workers: Vec<_> = (0..3).map(|_| parked()).collect();
    let tids: Vec<_> = workers.iter().map(|worker| worker.tid).collect();
    let mut missing = Vec::new();
    capturer().capture(&tids, Instant::now(), |tid, result| {
        let why = result.unwrap_err();
        assert!(matches!(why, Missing::NoTime | Missing::Busy), "{why}");
        missing.push(tid);
    });
    assert_eq!(missing, tids);
}

#[test]
fn concurrent_captures_take_turns() {
    let worker = parked();
    let tid = worker.tid;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    capture(tid).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_panic_in_the_callback_leaves_capturing_possible() {
    let workers: Vec<_> = (0..5).map(|_| parked()).collect();
    let tids: Vec<_> = workers.iter().map(|worker| worker.tid).collect();
    let result = thread::spawn(move || {
        capturer().capture(&tids, deadline(), |_, _| panic!("on purpose"));
    });
    assert!(result.join().is_err());
    for worker in &workers {
        capture(worker.tid).unwrap();
    }
}

#[test]
fn threads_that_come_and_go_are_captured_or_reported() {
    let churn = |released: Receiver<()>| {
        while is_needed(&released) {
            thread::spawn(|| black_box(String::from("short life")))
                .join()
                .unwrap();
        }
    };
    let _churners = [Worker::spawn(churn), Worker::spawn(churn)];
    let mut copies = 0;
    while copies < 1000 {
        let tids: Vec<_> = list()
            .unwrap()
            .into_iter()
            .map(|thread| thread.tid)
            .collect();
        let results = capture_all(&tids);
        assert_eq!(results.len(), tids.len());
        copies += results.iter().filter(|(_, result)| result.is_ok()).count();
    }
}

#[test]
fn a_thousand_threads_are_captured_by_one_call() {
    let workers: Vec<_> = (0..1000)
        .map(|_| {
            let builder = thread::Builder::new().stack_size(64 << 10);
            Worker::build(builder, |released| park(&released))
        })
        .collect();
    let tids: Vec<_> = workers.iter().map(|worker| worker.tid).collect();
    let mut results = capture_all(&tids);
    results.sort_by_key(|(tid, _)| *tid);
    let mut expected = tids;
    expected.sort();
    assert!(results.iter().map(|(tid, _)| *tid).eq(expected));
    let missing: Vec<_> = results
        .iter()
        .filter_map(|(_, result)| result.as_ref().err())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn another_signal_is_refused_once_one_is_installed() {
    capturer();
    assert!(install(Signal::URGENT).is_ok());
    assert!(matches!(
        install(Signal::USER_1),
        Err(InstallError::OtherSignal)
    ));
}

#[test]
fn the_list_describes_a_blocked_thread() {
    let (reader, writer) = pipe();
    let builder = thread::Builder::new().name("a (b) c".to_owned());
    let worker = Worker::build(builder, move |_| {
        read_byte(reader);
    });
    wait_until("the thread sleeps in read", || {
        let threads = list().unwrap();
        let thread = threads
            .iter()
            .find(|thread| thread.tid == worker.tid)
            .unwrap();
        assert_eq!(thread.name, "a (b) c");
        // If the kernel hides the system call, the state has to do.
        thread.state == 'S' && thread.syscall.is_none_or(|number| number == libc::SYS_read)
    });
    drop(writer);
}

fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: pipe2 writes two descriptors, which nothing else owns.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

fn set_urgent_blocked(how: libc::c_int) {
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
