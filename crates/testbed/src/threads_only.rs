//! No async at all: threads that wait in system calls and locks, and one that computes. Each is
//! inside a function that is named after what it does.

use std::{
    env::temp_dir,
    fs::{File, OpenOptions, remove_file},
    hint::{black_box, spin_loop},
    io::{Error, Read, Write, pipe},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::OpenOptionsExt, net::UnixStream},
    },
    process::{Command, Stdio, id},
    sync::{
        Barrier, Condvar, LazyLock, Mutex, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::channel,
    },
    thread,
};

use nix::{
    fcntl::OFlag,
    sys::{
        memfd::{MFdFlags, memfd_create},
        stat::Mode,
    },
    unistd::mkfifo,
};

use crate::{
    FOREVER, Never,
    control::Control,
    settle::{Pending, settlement},
};

static LOCK: Mutex<()> = Mutex::new(());
static RW_LOCK: RwLock<()> = RwLock::new(());
static LAZY: LazyLock<()> = LazyLock::new(|| {
    BEGUN.wait();
    never_made();
});
/// Passed once a thread is making the value of `LAZY`, before others wait for it.
static BEGUN: Barrier = Barrier::new(2);
static SPINS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let (pending, settlement) = settlement();
    let _held = (LOCK.lock(), RW_LOCK.write());
    thread::spawn(|| LazyLock::force(&LAZY));
    BEGUN.wait();
    for (name, body) in [
        ("parker", parks as fn(Pending)),
        ("reader", reads),
        ("locker", locks),
        ("sleeper", sleeps),
        ("spinner", spins),
        ("opener", opens),
        ("file locker", locks_file),
        ("waiter", waits_for_child),
        ("feeder", feeds_child),
        ("rw reader", reads_locked),
        ("lazy", forces),
        ("condvar", waits_for_condition),
        ("receiver", receives),
        ("barrier", meets),
        ("joiner", joins),
    ] {
        let pending = pending.clone();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(pending))
            .map_err(|error| error.to_string())?;
    }
    drop(pending);
    settlement.wait();
    control.serve(|| SPINS.load(Relaxed))
}

#[inline(never)]
fn parks(pending: Pending) {
    drop(pending);
    loop {
        thread::park();
    }
}

#[inline(never)]
fn reads(pending: Pending) {
    let ends = UnixStream::pair();
    drop(pending);
    if let Ok((mut near, _far)) = ends {
        black_box(near.read(&mut [0; 16]).is_ok());
    }
}

#[inline(never)]
fn locks(pending: Pending) {
    drop(pending);
    black_box(LOCK.lock().is_ok());
}

#[inline(never)]
fn sleeps(pending: Pending) {
    drop(pending);
    thread::sleep(FOREVER);
    // Without this, the sleep could be a tail call, or the function merged with an equal one.
    black_box("slept as a thread");
}

#[inline(never)]
fn spins(pending: Pending) {
    drop(pending);
    loop {
        SPINS.fetch_add(1, Relaxed);
        spin_loop();
    }
}

/// Opens a named pipe, which waits until somebody opens the other end.
#[inline(never)]
fn opens(pending: Pending) {
    let path = temp_dir().join(format!("rtops-targets-{}", id()));
    let made = mkfifo(&path, Mode::S_IRUSR).map_err(Error::from);
    let flags = OFlag::O_PATH.bits();
    let named = made.and_then(|()| {
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&path)
    });
    // Opened again through its descriptor, so that the name can already be removed.
    remove_file(path).ok();
    drop(pending);
    black_box(named.and_then(|named| open_again(&named)).is_ok());
}

#[inline(never)]
fn locks_file(pending: Pending) {
    let file = memfd_create(c"locked", MFdFlags::empty()).map(File::from);
    let locked = file.map(|file| (open_again(&file), file));
    drop(pending);
    if let Ok((Ok(again), file)) = locked {
        black_box(file.lock().is_ok() && again.lock().is_ok());
    }
}

/// The child ends with this process, which has the other end of its input.
#[inline(never)]
fn waits_for_child(pending: Pending) {
    let input = pipe();
    drop(pending);
    if let Ok((reader, _writer)) = input {
        let stdin = Stdio::from(OwnedFd::from(reader));
        black_box(Command::new("cat").stdin(stdin).status().is_ok());
    }
}

/// Nobody reads the child's output, so it stops reading. It ends with this process, its reader.
#[inline(never)]
fn feeds_child(pending: Pending) {
    let mut child = Command::new("cat");
    let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    drop(pending);
    if let Ok(mut child) = child
        && let Some(mut stdin) = child.stdin.take()
    {
        black_box(stdin.write_all(&[b'x'; 1 << 20]).is_ok());
    }
}

#[inline(never)]
fn reads_locked(pending: Pending) {
    drop(pending);
    black_box(RW_LOCK.read().is_ok());
}

#[inline(never)]
fn forces(pending: Pending) {
    drop(pending);
    LazyLock::force(&LAZY);
    black_box("forced");
}

#[inline(never)]
fn never_made() {
    loop {
        thread::sleep(FOREVER);
    }
}

#[inline(never)]
fn waits_for_condition(pending: Pending) {
    let (lock, condition) = (Mutex::new(()), Condvar::new());
    drop(pending);
    if let Ok(guard) = lock.lock() {
        black_box(condition.wait(guard).is_ok());
    }
}

#[inline(never)]
fn receives(pending: Pending) {
    let (sender, receiver) = channel::<u8>();
    drop(pending);
    black_box(receiver.recv().is_ok());
    drop(sender);
}

#[inline(never)]
fn meets(pending: Pending) {
    let barrier = Barrier::new(2);
    drop(pending);
    black_box(barrier.wait().is_leader());
}

#[inline(never)]
fn joins(pending: Pending) {
    let thread = thread::spawn(never_made);
    drop(pending);
    black_box(thread.join().is_ok());
}

fn open_again(file: &impl AsRawFd) -> Result<File, Error> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
