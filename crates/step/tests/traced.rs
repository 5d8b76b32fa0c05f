//! A process that is being debugged is not stepped: its tracer would get the traps.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![expect(unsafe_code, reason = "ptrace and pipes")]

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    ptr, thread,
};

use common::{role, stepper, still_works};
use rtops_step::{Refusal, Stepper};

/// Tries on each line of its input, while a thread other than the first is there to be traced.
fn child() {
    // SAFETY: gettid has no preconditions.
    let tid = thread::spawn(|| unsafe { libc::gettid() });
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let idle = thread::spawn(move || {
        // SAFETY: as above.
        println!("tid {}", unsafe { libc::gettid() });
        receiver.recv().unwrap_err();
    });
    tid.join().unwrap();
    for line in std::io::stdin().lines() {
        line.unwrap();
        match Stepper::new() {
            Ok(_) => {
                still_works(&stepper());
                println!("stepped");
            }
            Err(Refusal::Traced) => println!("refused"),
            Err(other) => println!("{other:?}"),
        }
    }
    drop(sender);
    idle.join().unwrap();
}

#[test]
fn a_traced_process_is_left_alone() {
    if role().is_some() {
        return child();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--nocapture", "--test-threads=1"])
        .env("RTOPS_STEP_TEST_CHILD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut commands = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = || {
        let answers = lines.by_ref().map(Result::unwrap);
        let mut answers = answers.filter_map(|line| {
            let known = ["tid ", "stepped", "refused"];
            let at = known.iter().find_map(|word| line.find(word))?;
            line.get(at..).map(str::to_owned)
        });
        answers.next().unwrap()
    };
    let idle: i32 = answer().strip_prefix("tid ").unwrap().parse().unwrap();
    let mut ask = |answer: &mut dyn FnMut() -> String| {
        writeln!(commands).unwrap();
        answer()
    };
    assert_eq!(ask(&mut answer), "stepped");
    let leader = i32::try_from(child.id()).unwrap();
    for thread in [leader, idle] {
        trace(libc::PTRACE_SEIZE, thread);
        assert_eq!(ask(&mut answer), "refused");
        // Only a thread that is stopped can be let go.
        trace(libc::PTRACE_INTERRUPT, thread);
        let mut status = 0;
        // SAFETY: waits for a thread that is traced from here.
        let waited = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
        assert_eq!(waited, thread);
        trace(libc::PTRACE_DETACH, thread);
        assert_eq!(ask(&mut answer), "stepped");
    }
    drop(commands);
    assert!(child.wait().unwrap().success());
}

fn trace(request: libc::c_uint, thread: i32) {
    let nothing: *mut libc::c_void = ptr::null_mut();
    // SAFETY: none of the requests reads or writes memory.
    let result = unsafe { libc::ptrace(request, thread, nothing, nothing) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
