//! Whether a debugger or tracer is attached: it gets SIGTRAP before the handler does.

use std::fs;

use crate::Refusal;

/// Looks at every thread, as each can be traced on its own.
pub(crate) fn refuse_if_traced() -> Result<(), Refusal> {
    let system = |error: std::io::Error| Refusal::System(error.raw_os_error().unwrap_or(0));
    for thread in fs::read_dir("/proc/self/task").map_err(system)? {
        // A thread that has ended meanwhile is not traced.
        let Ok(status) = fs::read(thread.map_err(system)?.path().join("status")) else {
            continue;
        };
        if is_traced(&status) {
            return Err(Refusal::Traced);
        }
    }
    Ok(())
}

fn is_traced(status: &[u8]) -> bool {
    let mut lines = status.split(|byte| *byte == b'\n');
    let tracer = lines.find_map(|line| line.strip_prefix(b"TracerPid:"));
    tracer.is_none_or(|tracer| tracer.trim_ascii() != b"0")
}

#[cfg(test)]
mod tests {
    use super::is_traced;

    #[test]
    fn a_tracer_is_seen_and_doubt_counts_as_one() {
        assert!(!is_traced(b"Name:\tx\nTracerPid:\t0\nUid:\t0\n"));
        assert!(is_traced(b"Name:\tx\nTracerPid:\t7\nUid:\t0\n"));
        assert!(is_traced(b"Name:\tx\n"));
    }
}
