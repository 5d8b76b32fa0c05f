//! A forked child of a process with an agent gets no profile and no count: a lock of the registry
//! may be held there forever.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "fork and _exit")]

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use rtops_agent::{
    Options, Track,
    profile::{self, ProfileError, Text},
    task_count,
};

#[test]
fn a_forked_child_is_told_that_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    Options::new().directory(directory.path()).start().unwrap();
    let _task = std::future::pending::<()>().tracked("of the parent");
    assert_eq!(task_count(), 1);
    // SAFETY: the child only reads a flag in the two calls, and ends with _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let refused = profile::tasks().write_text(Text::Grouped, &mut Vec::new());
            let refused = matches!(refused, Err(ProfileError::ForkedChild));
            let status = i32::from(!refused || task_count() != 0);
            // SAFETY: ends the child without running the test harness's exit handlers.
            unsafe { nix::libc::_exit(status) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    rtops_agent::stop();
}
