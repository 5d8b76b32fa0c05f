//! Ended tasks that their handles or sets keep in growing numbers.

use super::{rested::LEAST_LOOKS, sample::Watch};
use crate::{
    dump::Dump,
    escape::escape,
    format,
    frames::Frames,
    verdicts::{Fault, Verdict},
};

/// Smaller gains are ignored.
const LEAST_GAIN: usize = 20;

/// Returns a verdict for each type whose kept tasks increased from every look to the next.
pub(super) fn growing<'a>(dump: &Dump, frames: &Frames, watch: &Watch) -> Vec<Verdict<'a>> {
    let mut verdicts = Vec::new();
    for (polls, now) in &dump.kept {
        let earlier = watch.earlier.iter().map(|sample| sample.kept.get(polls));
        let mut counts: Vec<usize> = earlier.map(|count| count.copied().unwrap_or(0)).collect();
        counts.push(*now);
        let grows = counts
            .windows(2)
            .all(|pair| matches!(pair, [before, after] if before < after));
        let gained = now.saturating_sub(counts.first().copied().unwrap_or(*now));
        if counts.len() < LEAST_LOOKS || !grows || gained < LEAST_GAIN {
            continue;
        }
        let future = frames.future(*polls).map_or("", |future| &future.name);
        let future = rtops_symbols::display_type(future);
        let time = format::duration(watch.time);
        verdicts.push(Verdict::new(
            Fault::Kept,
            format!(
                "{now} ended tasks of {} are kept, as nobody takes their results: {gained} more within \
                 {time}",
                escape(&future)
            ),
        ));
    }
    verdicts
}
