//! Detects when the process has come to rest: then every task and thread is where it stays.

use std::{collections::BTreeMap, io, thread, time::Duration};

use procfs::process::{Process, Task};

/// How often each thread was switched away from, by thread id.
type Switches = BTreeMap<i32, u64>;

/// Waits until there was an instant at which all threads except this one, the main thread, slept.
pub(crate) fn wait_for_rest() -> io::Result<()> {
    let mut before = None;
    loop {
        // Two threads can't be looked at in the same instant. But a thread that slept at both looks
        // and was not switched to in between slept for the whole time between them.
        let now = look()?;
        if now.is_some() && now == before {
            return Ok(());
        }
        before = now;
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the other threads, if none of them runs.
fn look() -> io::Result<Option<Switches>> {
    let process = Process::myself().map_err(io::Error::other)?;
    let mut switches = Switches::new();
    for task in process.tasks().map_err(io::Error::other)? {
        let Ok(task) = task else { return Ok(None) };
        if task.tid == process.pid {
            continue;
        }
        let Some(count) = switches_of_sleeper(&task) else {
            return Ok(None);
        };
        switches.insert(task.tid, count);
    }
    Ok(Some(switches))
}

/// Returns `None` for a thread that runs, or that has just ended.
fn switches_of_sleeper(task: &Task) -> Option<u64> {
    let status = task.status().ok()?;
    let asleep = status.state.starts_with('S');
    let switches = status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?;
    asleep.then_some(switches)
}
