//! What a thread did after the look. The look shows where the thread was; the processor time it
//! used since then shows whether it has moved on.

use std::time::Duration;

use rtops_protocol::{Afterwards, Thread};

use crate::{dump::Dump, format};

/// A shorter time shows too little to conclude anything.
const LEAST: Duration = Duration::from_millis(50);
/// A thread that was stopped for the look runs for a moment before it waits again.
const MOST_TIMESLICES: u64 = 3;
/// The largest share of a core that a thread standing still uses.
const STILL: f64 = 0.01;
/// The smallest share for a thread that goes on between its waits.
const GOES_ON: f64 = 0.1;
/// The smallest share of the time for which a busy thread runs, or wants to.
const BUSY: f64 = 0.9;

/// Returns how long a thread has hardly run, if known.
pub(super) fn stood_still(thread: &Thread) -> Option<Duration> {
    let after = thread.afterwards?;
    let waits = matches!(after.state, 'S' | 'D');
    let is_still = after.timeslices <= MOST_TIMESLICES && share(after.ran_ns, after) < STILL;
    (waits && is_still)
        .then(|| watched(after))
        .filter(|watched| *watched >= LEAST)
}

/// Whether a thread that waited has done something else since.
pub(super) fn has_gone_on(thread: &Thread) -> bool {
    let after = thread.afterwards;
    after.is_some_and(|after| share(after.ran_ns, after) > GOES_ON)
}

/// Whether a thread was runnable nearly all the time, and ran when it got a processor.
pub(super) fn is_busy(thread: &Thread) -> bool {
    let after = thread.afterwards;
    after.is_some_and(|after| {
        let wanted = after.ran_ns.saturating_add(after.queued_ns);
        watched(after) >= LEAST && after.ran_ns > 0 && share(wanted, after) >= BUSY
    })
}

/// Whether a thread is known to have rested for most of the time.
pub(crate) fn has_rested(thread: &Thread) -> bool {
    let after = thread.afterwards;
    after.is_some_and(|after| {
        let wanted = after.ran_ns.saturating_add(after.queued_ns);
        after.state != 'R' && share(wanted, after) < 1.0 - BUSY
    })
}

/// Whether all threads are known to have rested for most of the time.
pub(crate) fn all_rested(dump: &Dump) -> bool {
    !dump.threads.is_empty() && dump.threads.iter().all(has_rested)
}

/// Returns `has used 98 % of a core for 130 ms since`, for the busiest of several threads. On a
/// busy machine it also says how long the thread waited for a core.
pub(super) fn has_used<'t>(threads: impl IntoIterator<Item = &'t Thread>) -> Option<String> {
    let all = threads.into_iter().filter_map(|thread| thread.afterwards);
    let busiest = all.max_by_key(|after| after.ran_ns)?;
    let time = format::duration(watched(busiest));
    let percent = |of_it| 100.0 * share(of_it, busiest);
    let used = format!(
        "has used {:.0} % of a core for {time} since",
        percent(busiest.ran_ns)
    );
    let queued = share(busiest.queued_ns, busiest);
    Some(if queued > 1.0 - BUSY {
        format!(
            "{used}, and waited for one for {:.0} %",
            percent(busiest.queued_ns)
        )
    } else {
        used
    })
}

const fn watched(after: Afterwards) -> Duration {
    Duration::from_nanos(after.watched_ns)
}

/// Processor time is counted in ticks, so it may exceed the time watched.
#[expect(clippy::cast_precision_loss, reason = "for a figure that people read")]
fn share(of_it: u64, after: Afterwards) -> f64 {
    (of_it as f64 / after.watched_ns.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use rtops_protocol::ThreadCapture;

    use super::*;

    /// A thread that was watched for 100 ms; times are in milliseconds.
    fn thread(ran: u64, queued: u64, timeslices: u64, state: char) -> Thread {
        const MS: u64 = 1_000_000;
        Thread {
            afterwards: Some(Afterwards {
                watched_ns: 100 * MS,
                ran_ns: ran * MS,
                queued_ns: queued * MS,
                timeslices,
                state,
            }),
            ..crate::dump::fixtures::thread(7, None, ThreadCapture::Absent)
        }
    }

    #[test]
    fn a_thread_that_waits_all_the_time_stands_still() {
        let still = |thread| stood_still(&thread).is_some();
        assert!(still(thread(0, 0, 1, 'S')));
        // It waits for a processor; it wakes again and again; it computes.
        assert!(!still(thread(0, 99, 1, 'R')));
        assert!(!still(thread(0, 0, 20, 'S')));
        assert!(!still(thread(50, 0, 3, 'S')));
    }

    #[test]
    fn a_thread_that_could_run_all_the_time_is_busy_however_busy_the_machine_is() {
        assert!(is_busy(&thread(99, 0, 3, 'R')));
        assert!(is_busy(&thread(30, 69, 30, 'S')));
        assert!(!is_busy(&thread(30, 30, 30, 'S')));
        // It got no processor, so it is unknown what it would do.
        assert!(!is_busy(&thread(0, 99, 0, 'R')));
    }

    #[test]
    fn what_a_thread_used_is_told_with_what_it_lacked() {
        let used = |ran, queued| has_used([&thread(ran, queued, 9, 'R')]);
        let text = "has used 98 % of a core for 100 ms since";
        assert_eq!(used(98, 1).as_deref(), Some(text));
        let text = "has used 50 % of a core for 100 ms since, and waited for one for 48 %";
        assert_eq!(used(50, 48).as_deref(), Some(text));
    }
}
