//! What code can do in a copy of this process, and what of that reaches the process: nothing.
#![allow(unsafe_code, clippy::unwrap_used)]
// The hostile functions break every rule on purpose: what they do is what the copy has to stand.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::{
    fs,
    io::{Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    ptr,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rtops_snapshot::{
    Copy, Ended, Failed, GiveUp, Patience, Plan, Poller, Refusal, Snapshot, Turn,
};
use rtops_threads::Signal;

/// Some tests look at all of the process, so that each of them has the turn from its beginning.
fn turn() -> Turn {
    Turn::wait(Instant::now() + Duration::from_secs(120)).unwrap()
}

fn take<'a>(
    turn: &'a Turn,
    time: Duration,
    inside: impl FnOnce(&mut Copy<'_>),
) -> Result<Snapshot<'a>, Refusal> {
    let capturer = rtops_threads::install(Signal::URGENT).unwrap();
    let plan = Plan {
        capturer: &capturer,
        spare: &[],
        max_pause: Duration::from_secs(5),
        deadline: Instant::now() + time,
    };
    Snapshot::take(turn, &plan, inside)
}

/// Calls a function in the copy, and says how that ended.
fn call(
    turn: &Turn,
    function: unsafe extern "C" fn(usize),
    argument: usize,
) -> Result<(), Option<GiveUp>> {
    let mut snapshot = take(turn, Duration::from_secs(60), |copy| {
        let ended = copy.fork(|poller: &mut Poller<'_>| {
            // SAFETY: it takes one argument.
            let result = unsafe { poller.guarded(function as usize, argument, Patience::Short) };
            let code = result.map_or_else(GiveUp::code, |()| 0);
            poller.send(&[&[code]]);
        });
        if ended == Ended::Lost {
            copy.send(&[&[u8::MAX]]);
        }
    })
    .unwrap();
    let code = snapshot
        .receive()
        .unwrap()
        .unwrap()
        .first()
        .copied()
        .unwrap();
    assert_eq!(snapshot.receive().unwrap(), None);
    match code {
        0 => Ok(()),
        u8::MAX => Err(None),
        code => Err(Some(GiveUp::from_code(u64::from(code)))),
    }
}

macro_rules! hostile {
    ($name:ident, $argument:ident, $body:block) => {
        unsafe extern "C" fn $name($argument: usize) {
            $body
        }
    };
}

static COUNTER: AtomicU64 = AtomicU64::new(0);
static LOCK: Mutex<()> = Mutex::new(());

hostile!(counts, by, {
    COUNTER.fetch_add(by as u64, SeqCst);
});

#[test]
fn what_is_written_in_the_copy_stays_there() {
    let turn = turn();
    assert_eq!(call(&turn, counts, 5), Ok(()));
    assert_eq!(COUNTER.load(SeqCst), 0);
}

hostile!(aborts, _unused, { std::process::abort() });
hostile!(exits, _unused, { std::process::exit(3) });
hostile!(kills, pid, {
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
});
hostile!(raises, _unused, {
    unsafe { libc::raise(libc::SIGTERM) };
});
hostile!(writes_to_null, address, {
    unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) }
});
hostile!(loops, _unused, {
    loop {
        std::hint::spin_loop();
    }
});
hostile!(panics, _unused, {
    drop(std::panic::catch_unwind(|| panic!("in a copy")))
});
hostile!(locks, _unused, { drop(LOCK.lock()) });
hostile!(spins_on_a_system_call, _unused, {
    while unsafe { libc::dup(0) } < 0 {}
});
hostile!(unmaps, address, {
    unsafe {
        libc::munmap(ptr::with_exposed_provenance_mut(address), 4096);
        ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1);
    }
});

#[test]
fn what_does_not_return_is_given_up_with_the_reason() {
    let turn = turn();
    let own = std::process::id() as usize;
    let page = vec![1_u8; 3 * 4096];
    let page = page.as_ptr().addr().next_multiple_of(4096);
    assert_eq!(call(&turn, aborts, 0), Err(Some(GiveUp::Exit)));
    assert_eq!(call(&turn, exits, 0), Err(Some(GiveUp::Exit)));
    assert_eq!(call(&turn, kills, own), Err(Some(GiveUp::Exit)));
    assert_eq!(call(&turn, raises, 0), Err(Some(GiveUp::Exit)));
    assert_eq!(call(&turn, writes_to_null, 0), Err(Some(GiveUp::Fault)));
    assert_eq!(call(&turn, unmaps, page), Err(Some(GiveUp::Fault)));
    assert_eq!(call(&turn, loops, 0), Err(Some(GiveUp::Endless)));
    assert_eq!(call(&turn, panics, 0), Err(Some(GiveUp::Panic)));
    assert_eq!(
        call(&turn, spins_on_a_system_call, 0),
        Err(Some(GiveUp::SystemCall))
    );
    let held = LOCK.lock().unwrap();
    assert_eq!(call(&turn, locks, 0), Err(Some(GiveUp::Locked)));
    drop(held);
    assert_eq!(call(&turn, locks, 0), Ok(()));
}

hostile!(closes, fd, {
    unsafe { libc::close(fd as i32) };
});
hostile!(sends, fd, {
    unsafe { libc::write(fd as i32, b"hostile".as_ptr().cast(), 7) };
});
hostile!(receives, fd, {
    let mut byte = 0_u8;
    unsafe { libc::recv(fd as i32, (&raw mut byte).cast(), 1, 0) };
});
hostile!(shuts_down, fd, {
    unsafe { libc::shutdown(fd as i32, libc::SHUT_RDWR) };
});
hostile!(removes, path, {
    unsafe { libc::unlink(ptr::with_exposed_provenance(path)) };
});
hostile!(forks, _unused, {
    unsafe { libc::fork() };
});
hostile!(starts_a_thread, _unused, {
    drop(thread::Builder::new().spawn(|| {}))
});

#[test]
fn descriptors_files_and_processes_are_left_alone() {
    let turn = turn();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"a").unwrap();
    let path = std::env::temp_dir().join(format!("rtops-snapshot-{}", std::process::id()));
    fs::write(&path, "x").unwrap();
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let before = descriptors();
    let fd = ours.as_raw_fd() as usize;
    for (function, argument) in [
        (closes as unsafe extern "C" fn(usize), fd),
        (sends, fd),
        (receives, fd),
        (shuts_down, fd),
        (removes, name.as_ptr().addr()),
        (forks, 0),
        (starts_a_thread, 0),
    ] {
        // How each ends is theirs; what of it is seen outside is looked at below.
        let _ended = call(&turn, function, argument);
    }
    assert_eq!(descriptors(), before);
    assert!(path.exists());
    fs::remove_file(path).unwrap();
    theirs.write_all(b"b").unwrap();
    let mut bytes = [0; 2];
    ours.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ab");
    theirs.set_nonblocking(true).unwrap();
    assert!(theirs.read(&mut bytes).is_err(), "something was sent");
    assert_eq!(children(), 0);
}

fn descriptors() -> Vec<i32> {
    let own = procfs::process::Process::myself().unwrap();
    let mut all: Vec<i32> = own.fd().unwrap().map(|fd| fd.unwrap().fd).collect();
    all.sort_unstable();
    // The one that lists them has a number of its own each time.
    all.pop();
    all
}

/// The children of all threads, dead ones included.
fn children() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let lists = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")));
    lists
        .map(|list| list.unwrap_or_default().split_whitespace().count())
        .sum()
}

hostile!(writes_shared, address, {
    unsafe { ptr::with_exposed_provenance_mut::<u64>(address).write_volatile(7) }
});

#[test]
fn shared_memory_can_be_read_and_not_written() {
    let turn = turn();
    // SAFETY: a new mapping.
    let shared = unsafe {
        libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(shared, libc::MAP_FAILED);
    // SAFETY: the page is ours.
    let word = unsafe { &*shared.cast::<AtomicU64>() };
    word.store(5, SeqCst);
    assert_eq!(
        call(&turn, writes_shared, shared.addr()),
        Err(Some(GiveUp::Fault))
    );
    assert_eq!(word.load(SeqCst), 5);
    let mut snapshot = take(&turn, Duration::from_secs(60), |copy| {
        copy.send(&[&word.load(SeqCst).to_le_bytes()]);
    })
    .unwrap();
    assert_eq!(snapshot.receive().unwrap().unwrap(), 5_u64.to_le_bytes());
}

#[test]
fn the_two_sides_talk_and_large_answers_come_through() {
    let turn = turn();
    let mut snapshot = take(&turn, Duration::from_secs(60), |copy| {
        loop {
            match copy.next_order() {
                [] => return,
                [length, ..] => {
                    let length = usize::try_from(*length).unwrap_or(0);
                    let pages = copy.pages(length).unwrap_or_default();
                    pages.fill(0x0101_0101_0101_0101);
                    for _ in 0..40 {
                        // SAFETY: words are bytes as well.
                        let bytes = unsafe {
                            std::slice::from_raw_parts(pages.as_ptr().cast(), size_of_val(pages))
                        };
                        copy.send(&[bytes]);
                    }
                    copy.flush();
                }
            }
        }
    })
    .unwrap();
    snapshot.order(&[1 << 20, 0]);
    for _ in 0..40 {
        let record = snapshot.receive().unwrap().unwrap();
        assert!(record.len() == 1 << 20 && record.iter().all(|byte| *byte == 1));
    }
    snapshot.order(&[]);
    assert_eq!(snapshot.receive().unwrap(), None);
    assert!(snapshot.end().pause > Duration::ZERO);
}

#[test]
fn a_copy_ends_at_its_deadline_and_when_it_is_dropped() {
    let turn = turn();
    // Asked for nothing, it waits; its own clock or ours is up.
    let mut snapshot = take(&turn, Duration::from_millis(300), |copy| {
        copy.next_order();
    })
    .unwrap();
    assert_eq!(snapshot.receive(), Err(Failed::NoTime));
    drop(snapshot);
    assert_eq!(children(), 0);
    let snapshot = take(&turn, Duration::from_secs(60), |copy| {
        copy.next_order();
    })
    .unwrap();
    assert_eq!(children(), 1);
    drop(snapshot);
    assert_eq!(children(), 0);
}

#[test]
fn a_pause_that_would_be_too_long_is_refused_before() {
    let turn = turn();
    let capturer = rtops_threads::install(Signal::URGENT).unwrap();
    let plan = Plan {
        capturer: &capturer,
        spare: &[],
        max_pause: Duration::from_micros(10),
        deadline: Instant::now() + Duration::from_secs(60),
    };
    let refusal = Snapshot::take(&turn, &plan, |_| {}).unwrap_err();
    assert!(matches!(refusal, Refusal::TooLong { .. }), "{refusal}");
    assert_eq!(children(), 0);
}

static PROGRESS: AtomicUsize = AtomicUsize::new(0);
hostile!(tramples, _unused, {
    // Beyond what a handler can mend: its own stack and all memory that it can find.
    let mut address = (&raw const PROGRESS).addr() & !0xfff;
    loop {
        unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(0xff) };
        address += 1;
    }
});

#[test]
fn a_copy_that_is_trampled_on_ends_and_no_more() {
    let turn = turn();
    // Whatever comes of it, it is not a return, and the process lives.
    let result = std::panic::catch_unwind(|| call(&turn, tramples, 0));
    assert!(!matches!(result, Ok(Ok(()))));
    assert_eq!(children(), 0);
}
