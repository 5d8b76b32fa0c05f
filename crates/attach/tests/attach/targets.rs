//! The programs that the targets run.

use std::{
    io::{BufRead as _, Write as _},
    os::unix::process::CommandExt as _,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rtops_attach::{Injection, Options};

/// The argument that makes the test program a target.
pub const ARGUMENT: &str = "--target";

pub fn run(name: &str, arguments: &[String]) {
    let number = || arguments.first().unwrap().parse::<usize>().unwrap();
    match name {
        "plain" => plain(),
        "waits" => waits(),
        "threads" => park_many(number()),
        "memory" => memory(number()),
        "registers" => registers(),
        "locked" => locked(number()),
        "filtered" => filtered(&arguments[0], &arguments[1]),
        "freezer" => serve(|line| match line.strip_prefix("hold ") {
            Some(pid) => hold(pid),
            None => freeze("auto", line),
        }),
        "large" => memory(100),
        "ring" => ring(),
        "rich" => crate::rich::rich(),
        "signals" => crate::rich::signals(),
        "churn" => churn(),
        "exec" => exec(number(), &arguments[1]),
        "vfork" => vfork(number()),
        other => panic!("{other}"),
    }
}

/// Reports that it is ready, and answers lines until the end of the input.
pub fn serve(mut answer: impl FnMut(&str) -> String) {
    let mut output = std::io::stdout();
    writeln!(output, "ready").unwrap();
    for line in std::io::stdin().lock().lines() {
        writeln!(output, "{}", answer(&line.unwrap())).unwrap();
    }
}

/// Runs some threads that wait forever.
fn plain() {
    park_all(3);
    serve_heap();
}

/// Answers questions about its memory.
fn serve_heap() {
    let heap: Vec<u64> = (0..1 << 16).map(|index| index * 3).collect();
    serve(
        |line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["heap"] => format!("{}", heap.as_ptr().addr()),
            ["sum"] => format!("{}", heap.iter().sum::<u64>()),
            ["limit", processes] => {
                let limit = processes.parse().unwrap();
                let limit = libc::rlimit {
                    rlim_cur: limit,
                    rlim_max: 4096,
                };
                // SAFETY: the limit is a local.
                let result = unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) };
                assert_eq!(result, 0);
                "limited".into()
            }
            ["freeze", injection, pid] => freeze(injection, pid),
            _ => "?".into(),
        },
    );
}

/// Freezes another process and returns the outcome.
fn freeze(injection: &str, pid: &str) -> String {
    let options = Options {
        injection: if injection == "always" {
            Injection::Always
        } else {
            Injection::Auto
        },
        max_pause: Duration::from_secs(2),
        ..Options::default()
    };
    match rtops_attach::freeze(pid.parse().unwrap(), &options) {
        Ok(frozen) => format!("{:?}", frozen.how),
        Err(refusal) => refusal.to_string(),
    }
}

/// Freezes another process and keeps the copy until the end.
fn hold(pid: &str) -> String {
    let frozen = rtops_attach::freeze(
        pid.parse().unwrap(),
        &crate::harm::options(rtops_attach::Threads::All),
    )
    .unwrap();
    let how = format!("{:?}", frozen.how);
    std::mem::forget(frozen);
    how
}

/// Starts threads all the time, and counts rounds in which not all did their work.
fn churn() {
    static DONE: AtomicU64 = AtomicU64::new(0);
    std::thread::spawn(|| {
        for round in 1_u64.. {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    std::thread::spawn(|| {
                        std::hint::black_box(calculate());
                        DONE.fetch_add(1, Relaxed);
                    })
                })
                .collect();
            for thread in threads {
                if thread.join().is_err() {
                    ROUNDS.wrong.fetch_add(1, Relaxed);
                }
            }
            if DONE.load(Relaxed) != round * 8 {
                ROUNDS.wrong.fetch_add(1, Relaxed);
            }
            ROUNDS.rounds.fetch_add(1, Relaxed);
        }
    });
    serve_counts();
}

/// Executes itself again and again, and writes the count to a file.
fn exec(number: usize, file: &str) {
    if number == 0 {
        println!("ready");
    }
    for _ in 0..3 {
        std::thread::spawn(std::thread::park);
    }
    std::fs::write(file, format!("{number}\n")).unwrap();
    std::thread::sleep(Duration::from_millis(3));
    let next = (number + 1).to_string();
    let error = std::process::Command::new("/proc/self/exe")
        .args([ARGUMENT, "exec", &next, file])
        .exec();
    panic!("{error}");
}

/// Runs a thread that waits in `vfork` most of the time, in a process with this many MiB.
fn vfork(mib: usize) {
    let bytes = vec![1_u8; mib << 20];
    extern "C" fn child(_: *mut libc::c_void) -> i32 {
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 30_000_000,
        };
        // SAFETY: the time is a local. Nothing else in memory, which is the parent's, is touched.
        unsafe {
            libc::nanosleep(&raw const time, std::ptr::null_mut());
            libc::_exit(0)
        }
    }
    std::thread::spawn(|| {
        let mut stack = vec![0_u128; 4096];
        loop {
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            let top = stack.as_mut_ptr_range().end;
            // SAFETY: the child has its own stack, and this thread waits until it has ended.
            let child = unsafe { libc::clone(child, top.cast(), flags, std::ptr::null_mut()) };
            nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None).unwrap();
            ROUNDS.rounds.fetch_add(1, Relaxed);
        }
    });
    serve_counts();
    drop(bytes);
}

/// Runs a thread that never leaves the kernel: that of an io_uring that polls for work.
fn ring() {
    const SETUP: i64 = 425;
    const POLLS: u32 = 2;
    let mut parameters = [0_u32; 30];
    parameters[2] = POLLS;
    // SAFETY: the parameters have the size that the kernel expects, 120 bytes.
    let ring = unsafe { libc::syscall(SETUP, 4, parameters.as_mut_ptr()) };
    park_all(1);
    serve(|_| format!("{}", u32::from(ring >= 0)));
}

/// Locks a page, and allocates this many MiB that it does not use.
fn locked(mib: usize) {
    let page = vec![1_u8; 4096];
    // SAFETY: the page is this process's own.
    assert_eq!(unsafe { libc::mlock(page.as_ptr().cast(), page.len()) }, 0);
    let bytes = vec![1_u8; mib << 20];
    plain();
    drop((page, bytes));
}

/// Installs a seccomp filter that denies any clone except of threads, or only new namespaces.
fn filtered(what: &str, action: &str) {
    const ALLOW: u32 = 0x7fff_0000;
    let action = match action {
        "errno" => 0x0005_0001,
        "trap" => 0x0003_0000,
        _ => 0x8000_0000,
    };
    // The flags to test; 1 denies a call that has any of them, 0 one that has none.
    let (flags, is_denied) = match what {
        "clone" => (libc::CLONE_THREAD as u32, 0),
        _ => (0x7e02_0000, 1),
    };
    let step = |code, k| libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let jump = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(0x20, 0),
        jump(0x15, libc::SYS_clone3 as u32, 0, 1),
        step(0x06, 0x0005_0000 | libc::ENOSYS as u32),
        jump(0x15, libc::SYS_clone as u32, 0, 3),
        step(0x20, 16),
        jump(0x45, flags, 1 - is_denied, is_denied),
        step(0x06, action),
        step(0x06, ALLOW),
    ];
    park_all(3);
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    nix::sys::prctl::set_no_new_privs().unwrap();
    // SAFETY: the filter is a local of that length. All threads get it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, 1, 1, &raw const program) };
    assert_eq!(result, 0);
    serve_heap();
}

fn park_many(number: usize) {
    park_all(number);
    serve(|_| "?".into());
}

/// Starts threads and returns when all of them are idle.
pub fn park_all(number: usize) {
    let all_are_there = std::sync::Arc::new(Barrier::new(number + 1));
    for _ in 0..number {
        let all_are_there = all_are_there.clone();
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || {
                all_are_there.wait();
                loop {
                    std::thread::park();
                }
            })
            .unwrap();
    }
    all_are_there.wait();
}

fn memory(mib: usize) {
    let mut bytes = vec![1_u8; mib << 20];
    park_all(1);
    serve(|line| match line {
        "heap" => format!("{}", bytes.as_ptr().addr()),
        "write" => {
            bytes.fill(2);
            "written".into()
        }
        _ => "?".into(),
    });
}

#[derive(Debug, Default)]
pub struct Counts {
    pub rounds: AtomicU64,
    interrupted: AtomicU64,
    pub wrong: AtomicU64,
}

impl Counts {
    const fn new() -> Self {
        Self {
            rounds: AtomicU64::new(0),
            interrupted: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
        }
    }

    /// Makes a call all the time that returns a number, or −1 with an
    /// error, and counts the results.
    fn watch(&'static self, expected: i64, mut call: impl FnMut() -> i64 + Send + 'static) {
        std::thread::spawn(move || {
            loop {
                let result = call();
                self.rounds.fetch_add(1, Relaxed);
                if result == expected {
                    continue;
                }
                let errno = nix::errno::Errno::last_raw();
                if result == -1 && errno == libc::EINTR {
                    self.interrupted.fetch_add(1, Relaxed);
                } else {
                    self.wrong.fetch_add(1, Relaxed);
                }
            }
        });
    }
}

static COUNTS: [(&str, Counts); 6] = [
    ("nanosleep", Counts::new()),
    ("futex", Counts::new()),
    ("poll", Counts::new()),
    ("read", Counts::new()),
    ("epoll", Counts::new()),
    ("spin", Counts::new()),
];

const WAIT: Duration = Duration::from_millis(10);

/// Returns −2 for a wait that was too short, else the result.
fn in_time(begun: Instant, result: i64) -> i64 {
    // A wait that ends early without an error is wrong.
    if result != -1 && begun.elapsed() < WAIT {
        -2
    } else {
        result
    }
}

/// Runs threads that wait in all ways, and counts unexpected results.
fn waits() {
    let [nanosleep, futex, poll, read, epoll, spin] = &COUNTS;
    nanosleep.1.watch(0, || {
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: WAIT.as_nanos() as i64,
        };
        let begun = Instant::now();
        // SAFETY: the time is a local.
        let result = unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
        in_time(begun, result.into())
    });
    futex.1.watch(libc::ETIMEDOUT.into(), futex_wait);
    let (end, _kept) = nix::unistd::pipe().unwrap();
    std::mem::forget(_kept);
    poll.1.watch(0, move || {
        let mut polled = libc::pollfd {
            fd: std::os::fd::AsRawFd::as_raw_fd(&end),
            events: libc::POLLIN,
            revents: 0,
        };
        let begun = Instant::now();
        // SAFETY: one descriptor is polled.
        let result = unsafe { libc::poll(&raw mut polled, 1, WAIT.as_millis() as i32) };
        in_time(begun, result.into())
    });
    let (from, to) = nix::unistd::pipe().unwrap();
    std::thread::spawn(move || {
        for number in 0_u64.. {
            std::thread::sleep(Duration::from_millis(3));
            nix::unistd::write(&to, &number.to_ne_bytes()).unwrap();
        }
    });
    let mut next = 0_u64;
    read.1.watch(8, move || {
        let mut bytes = [0; 8];
        match nix::unistd::read(&from, &mut bytes) {
            Ok(8) if u64::from_ne_bytes(bytes) == next => {
                next += 1;
                8
            }
            Ok(_) => -2,
            Err(_) => -1,
        }
    });
    // SAFETY: the call takes only numbers.
    let set = unsafe { libc::epoll_create1(0) };
    epoll.1.watch(0, move || {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for one event.
        unsafe { libc::epoll_wait(set, &raw mut event, 1, WAIT.as_millis() as i32) }.into()
    });
    let expected = calculate();
    spin.1.watch(expected, calculate);
    serve(|_| {
        let counts = COUNTS.iter().map(|(name, counts)| {
            format!(
                "{name}-rounds={} {name}-interrupted={} {name}-wrong={}",
                counts.rounds.load(Relaxed),
                counts.interrupted.load(Relaxed),
                counts.wrong.load(Relaxed)
            )
        });
        counts.collect::<Vec<_>>().join(" ")
    });
}

fn futex_wait() -> i64 {
    static WORD: u32 = 0;
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: WAIT.as_nanos() as i64,
    };
    let begun = Instant::now();
    // SAFETY: the word is static, the time a local.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            &raw const WORD,
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            0,
            &raw const time,
        )
    };
    match (result, nix::errno::Errno::last_raw()) {
        (-1, libc::ETIMEDOUT) => in_time(begun, libc::ETIMEDOUT.into()),
        (-1, _) => -1,
        _ => -2,
    }
}

/// Calculates the same number each time, unless a register is changed meanwhile.
#[inline(never)]
fn calculate() -> i64 {
    let mut sums = [1.0_f64; 12];
    let mut bits = 88_172_645_463_325_252_u64;
    for _ in 0..20_000 {
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum = *sum * 0.999_999 + index as f64;
        }
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
    }
    (sums.iter().sum::<f64>().to_bits() ^ bits).cast_signed()
}

/// The counters of targets with one kind of thread.
pub static ROUNDS: Counts = Counts::new();

/// Runs one thread besides the one that answers, which sleeps with patterns in all registers. The
/// thread that answers waits in a way that is a worse choice for injection.
fn registers() {
    std::thread::spawn(|| {
        loop {
            ROUNDS.rounds.fetch_add(1, Relaxed);
            if !sleep_with_registers() {
                ROUNDS.wrong.fetch_add(1, Relaxed);
            }
        }
    });
    serve_counts();
}

/// Answers with the counters.
pub fn serve_counts() {
    serve(|_| {
        let count = |count: &AtomicU64| count.load(Relaxed);
        let (rounds, wrong) = (count(&ROUNDS.rounds), count(&ROUNDS.wrong));
        let interrupted = count(&ROUNDS.interrupted);
        format!("rounds={rounds} wrong={wrong} interrupted={interrupted}")
    });
}

/// Returns whether all registers are unchanged after a system call that takes a
/// while; only `rax`, `rcx`, and `r11` may change.
fn sleep_with_registers() -> bool {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 5_000_000,
    };
    let mut vectors = [0_u8; 16 * 32];
    for (index, byte) in vectors.iter_mut().enumerate() {
        *byte = (index * 7 + 1) as u8;
    }
    let mut after = [0_u8; 16 * 32];
    let (mut r8, mut r9, mut r10, mut r12, mut r13, mut r14, mut r15) =
        (8_u64, 9_u64, 10_u64, 12_u64, 13_u64, 14_u64, 15_u64);
    let result: i64;
    // SAFETY: the buffers have room for 16 registers of 32 bytes, and
    // everything that changes is named.
    unsafe {
        std::arch::asm!(
            "vmovdqu ymm0, [rdx]", "vmovdqu ymm1, [rdx + 32]",
            "vmovdqu ymm2, [rdx + 64]", "vmovdqu ymm3, [rdx + 96]",
            "vmovdqu ymm4, [rdx + 128]", "vmovdqu ymm5, [rdx + 160]",
            "vmovdqu ymm6, [rdx + 192]", "vmovdqu ymm7, [rdx + 224]",
            "vmovdqu ymm8, [rdx + 256]", "vmovdqu ymm9, [rdx + 288]",
            "vmovdqu ymm10, [rdx + 320]", "vmovdqu ymm11, [rdx + 352]",
            "vmovdqu ymm12, [rdx + 384]", "vmovdqu ymm13, [rdx + 416]",
            "vmovdqu ymm14, [rdx + 448]", "vmovdqu ymm15, [rdx + 480]",
            "mov rdx, {after}",
            "syscall",
            "vmovdqu [rdx], ymm0", "vmovdqu [rdx + 32], ymm1",
            "vmovdqu [rdx + 64], ymm2", "vmovdqu [rdx + 96], ymm3",
            "vmovdqu [rdx + 128], ymm4", "vmovdqu [rdx + 160], ymm5",
            "vmovdqu [rdx + 192], ymm6", "vmovdqu [rdx + 224], ymm7",
            "vmovdqu [rdx + 256], ymm8", "vmovdqu [rdx + 288], ymm9",
            "vmovdqu [rdx + 320], ymm10", "vmovdqu [rdx + 352], ymm11",
            "vmovdqu [rdx + 384], ymm12", "vmovdqu [rdx + 416], ymm13",
            "vmovdqu [rdx + 448], ymm14", "vmovdqu [rdx + 480], ymm15",
            after = in(reg) after.as_mut_ptr(),
            inout("rax") libc::SYS_nanosleep => result,
            in("rdi") &raw const time,
            in("rsi") 0_u64,
            inout("rdx") vectors.as_ptr() => _,
            inout("r8") r8, inout("r9") r9, inout("r10") r10, inout("r12") r12,
            inout("r13") r13, inout("r14") r14, inout("r15") r15,
            out("rcx") _, out("r11") _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
        );
    }
    let general = [r8, r9, r10, r12, r13, r14, r15] == [8, 9, 10, 12, 13, 14, 15];
    if result == -i64::from(libc::EINTR) {
        ROUNDS.interrupted.fetch_add(1, Relaxed);
    } else if result != 0 {
        return false;
    }
    general && after == vectors
}
