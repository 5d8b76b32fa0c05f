//! System calls are stepped over where that is harmless, and end the stepping where it is not.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "raw system calls and instructions")]

mod common;

use std::{
    arch::asm,
    fs::File,
    io::{Read, Write},
    os::fd::FromRawFd,
    process::Command,
    sync::{Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use common::{stepped, stepper, still_works, whole, work};
use rtops_step::End;

fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which nobody else owns.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

#[test]
fn harmless_calls_are_stepped_over() {
    let stepper = stepper();
    let (mut reader, mut writer) = pipe();
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    let (count, _) = whole(&stepper, || {
        writer.write_all(b"some text").unwrap();
        let mut bytes = [0; 16];
        let count = reader.read(&mut bytes).unwrap();
        let held = mutex.lock().unwrap();
        let timeout = Duration::from_millis(1);
        let (held, _) = condition.wait_timeout(held, timeout).unwrap();
        drop(held);
        thread::sleep(Duration::from_millis(1));
        assert!(Instant::now().elapsed() < Duration::from_secs(60));
        let many = std::hint::black_box(Vec::<u8>::with_capacity(10 << 20));
        drop(many);
        count
    });
    assert_eq!(count, 9);
}

#[test]
fn what_makes_a_thread_or_a_process_is_not_stepped_over() {
    let stepper = stepper();
    let (sum, trace) = stepped(&stepper, || {
        let worker = thread::spawn(|| {
            assert!(!common::trap_flag_is_on());
            work(10)
        });
        worker.join().unwrap()
    });
    assert_eq!((sum, trace.end), (45, End::Unsafe));
    still_works(&stepper);

    let (status, trace) = stepped(&stepper, || Command::new("true").status());
    assert!(status.unwrap().success());
    assert_eq!(trace.end, End::Unsafe);
    still_works(&stepper);

    let (status, trace) = stepped(&stepper, || {
        // SAFETY: the child does nothing but end; the parent waits for it.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(i32::from(common::trap_flag_is_on()));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            status
        }
    });
    assert_eq!((status, trace.end), (0, End::Unsafe));
    still_works(&stepper);
}

#[test]
fn other_doors_to_the_kernel_and_the_flags_are_not_stepped_through() {
    let stepper = stepper();
    let ways: [fn(); 5] = [
        || {
            // SAFETY: getpid by the 32-bit door; it changes rax, and r8 to r11 in some kernels.
            unsafe {
                asm!("int 0x80", inout("rax") 20_u64 => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            }
        },
        // SAFETY: pops flags that are as good as those that there are.
        || unsafe { asm!("push 0x202", "popfq") },
        // SAFETY: pushes and pops the flags as they are.
        || unsafe { asm!("pushfq", "popfq") },
        || {
            // SAFETY: two harmless calls, one right behind the other.
            unsafe {
                asm!(
                    "syscall",
                    "syscall",
                    inout("rax") libc::SYS_getpid => _,
                    out("rcx") _,
                    out("r11") _,
                );
            }
        },
        // SAFETY: an unknown call returns an error.
        || unsafe {
            libc::syscall(9999);
        },
    ];
    for way in ways {
        let ((), trace) = stepped(&stepper, way);
        assert_eq!(trace.end, End::Unsafe);
        assert!(!common::trap_flag_is_on());
        still_works(&stepper);
    }
}

#[test]
fn a_thread_that_ends_inside_leaves_nothing_behind() {
    let stepper = stepper();
    let other = rtops_step::Stepper::new().unwrap();
    // SAFETY: the thread owns nothing that has to be dropped. It is not one of std's, which would
    // wait for a result.
    unsafe {
        extern "C" fn run(stepper: *mut libc::c_void) -> *mut libc::c_void {
            // SAFETY: the test waits for this thread.
            let stepper = unsafe { &*stepper.cast::<rtops_step::Stepper>() };
            let never = stepper.step(7, || {
                work(10);
                // SAFETY: ends this thread alone.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            });
            assert_eq!(never.1, Ok(()));
            std::ptr::null_mut()
        }
        let mut thread = 0;
        let argument = std::ptr::from_ref(&other).cast_mut().cast();
        let made = libc::pthread_create(&raw mut thread, std::ptr::null(), run, argument);
        assert_eq!(made, 0);
        libc::pthread_join(thread, std::ptr::null_mut());
    }
    still_works(&stepper);
}
