//! What the process gives up.

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

/// Gives up what is not for this process, whatever it is going to read.
pub(super) fn at_start() -> io::Result<()> {
    prctl::set_no_new_privs()?;
    close_all_others()?;
    // Where /proc can't be written, another one may have to go first.
    let _is_first_to_go = fs::write("/proc/self/oom_score_adj", "1000");
    // Nobody wants the memory of what a hostile file did to it.
    set(Resource::RLIMIT_CORE, 0)?;
    Ok(())
}

/// Limits the memory of this process, in bytes, and its processor time, in seconds.
///
/// # Errors
/// When the system refuses.
pub fn limit(memory: u64, processor: u64) -> io::Result<()> {
    set(Resource::RLIMIT_AS, memory)?;
    set(Resource::RLIMIT_CPU, processor)
}

fn set(resource: Resource, most: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let most = most.min(hard);
    Ok(setrlimit(resource, most, most)?)
}

/// Closes what it was born with by mistake. Those that this program opened close themselves, but a shell may
/// have left some open.
fn close_all_others() -> io::Result<()> {
    let entries = fs::read_dir("/proc/self/fd")?.flatten();
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in open {
        if number > 2 {
            // The one that the directory was read by is closed by now.
            let _is_closed = close(number);
        }
    }
    Ok(())
}

/// Ends this process when nobody holds the other end of its standard input any more, whatever it does then.
pub(super) fn end_with_the_asker() -> io::Result<()> {
    let watch = thread::Builder::new().name("watch".to_owned());
    watch.stack_size(64 << 10).spawn(|| {
        let input = io::stdin();
        loop {
            // That it was closed is told unasked.
            let mut polled = [PollFd::new(input.as_fd(), PollFlags::empty())];
            let ready = poll(&mut polled, PollTimeout::NONE);
            if ready.is_ok_and(|ready| ready > 0) {
                // At once, whatever the others do.
                let _never_returns = raise(Signal::SIGKILL);
            }
        }
    })?;
    Ok(())
}
