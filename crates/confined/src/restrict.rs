//! Restricts the process.

use std::{
    fs, io,
    os::fd::{AsFd, RawFd},
    thread,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, raise},
    },
    unistd::close,
};

/// Gives up everything that the process does not need, whatever it will read.
pub(super) fn at_start() -> io::Result<()> {
    prctl::set_no_new_privs()?;
    close_all_others()?;
    // If /proc can't be written, the kernel may kill another process first.
    let _is_first_to_go = fs::write("/proc/self/oom_score_adj", "1000");
    // A core dump of a process that read a hostile file is of no use to anybody.
    set(Resource::RLIMIT_CORE, 0)?;
    Ok(())
}

/// Limits the memory of this process, in bytes, and its processor time, in seconds.
///
/// # Errors
/// If the system refuses.
pub fn limit(memory: u64, processor: u64) -> io::Result<()> {
    set(Resource::RLIMIT_AS, memory)?;
    set(Resource::RLIMIT_CPU, processor)
}

fn set(resource: Resource, most: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let most = most.min(hard);
    Ok(setrlimit(resource, most, most)?)
}

/// Closes descriptors that were inherited by mistake. Those that this program opened are
/// close-on-exec, but a shell may have left some open.
fn close_all_others() -> io::Result<()> {
    let entries = fs::read_dir("/proc/self/fd")?.flatten();
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in open {
        if number > 2 {
            // The descriptor that the directory was read through is closed by now.
            let _is_closed = close(number);
        }
    }
    Ok(())
}

/// Ends this process as soon as nobody holds the other end of its
/// standard input, whatever it is doing.
pub(super) fn end_with_the_asker() -> io::Result<()> {
    let watch = thread::Builder::new().name("watch".to_owned());
    watch.stack_size(64 << 10).spawn(|| {
        let input = io::stdin();
        loop {
            // `poll` reports a hang-up even if no events are requested.
            let mut polled = [PollFd::new(input.as_fd(), PollFlags::empty())];
            let ready = poll(&mut polled, PollTimeout::NONE);
            if ready.is_ok_and(|ready| ready > 0) {
                // SIGKILL ends it at once, whatever the other threads do.
                let _never_returns = raise(Signal::SIGKILL);
            }
        }
    })?;
    Ok(())
}
