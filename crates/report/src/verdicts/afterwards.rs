//! What a thread did in the time after the look: where it was then, one look tells, and whether it has left there
//! since, the processor time that it used.

use std::time::Duration;

use rtops_protocol::{Afterwards, Thread};

use crate::{dump::Dump, format};

/// What a shorter time shows is no more than a moment.
const LEAST: Duration = Duration::from_millis(50);
/// Whoever was made to stop for the look runs for a moment before it waits again.
const MOST_TIMESLICES: u64 = 3;
/// A thread that stands still uses no more than this share of a core for that.
const STILL: f64 = 0.01;
/// A thread that goes on between its waits uses more than this share.
const GOES_ON: f64 = 0.1;
/// A busy one runs for at least this share of the time, or could.
const BUSY: f64 = 0.9;

/// For how long a thread has hardly run, where that is known.
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

/// Whether a thread could run nearly all the time, and did so if it was given a processor.
pub(super) fn is_busy(thread: &Thread) -> bool {
    let after = thread.afterwards;
    after.is_some_and(|after| {
        let wanted = after.ran_ns.saturating_add(after.queued_ns);
        watched(after) >= LEAST && after.ran_ns > 0 && share(wanted, after) >= BUSY
    })
}

/// Whether it is known that a thread rested for most of the time.
pub(crate) fn has_rested(thread: &Thread) -> bool {
    let after = thread.afterwards;
    after.is_some_and(|after| {
        let wanted = after.ran_ns.saturating_add(after.queued_ns);
        after.state != 'R' && share(wanted, after) < 1.0 - BUSY
    })
}

/// Whether it is known that no thread did anything.
pub(crate) fn all_rested(dump: &Dump) -> bool {
    !dump.threads.is_empty() && dump.threads.iter().all(has_rested)
}

/// `has used 98 % of a core for 130 ms since`; of several threads, the busiest. On a busy machine it may have had to
/// wait for it.
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

/// Processor time is counted in ticks, so that it may seem to be more than there was.
#[expect(clippy::cast_precision_loss, reason = "for a figure that people read")]
fn share(of_it: u64, after: Afterwards) -> f64 {
    (of_it as f64 / after.watched_ns.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use rtops_protocol::ThreadCapture;

    use super::*;

    /// A thread that was watched for 100 ms, in milliseconds.
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
        // It waits for a processor; it waits again and again; it computes.
        assert!(!still(thread(0, 99, 1, 'R')));
        assert!(!still(thread(0, 0, 20, 'S')));
        assert!(!still(thread(50, 0, 3, 'S')));
    }

    #[test]
    fn a_thread_that_could_run_all_the_time_is_busy_however_busy_the_machine_is() {
        assert!(is_busy(&thread(99, 0, 3, 'R')));
        assert!(is_busy(&thread(30, 69, 30, 'S')));
        assert!(!is_busy(&thread(30, 30, 30, 'S')));
        // It was given no processor, so that it is not known what it would do.
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
