//! Polling cells, in further copies.
#![expect(unsafe_code, reason = "calls the polls of tasks")]

use std::sync::atomic::Ordering::{Acquire, Release};

use rtops_snapshot::{Copy, Ended, GiveUp, Patience, Poller};
use rtops_step::Stepper;

use super::{
    Room, bytes, hook,
    memory::{read, write},
    wake,
};
use crate::{
    layout::{CANCELLED, COMPLETE, NOTIFIED, REFERENCE, STATE},
    record::{Tag, ended},
};

/// Steps in one record.
const STEPS: usize = 8192;

/// What a poll needs of a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polled {
    pub(super) number: u64,
    pub(super) header: usize,
    pub(super) state: usize,
    pub(super) poll: usize,
}

/// How a poll ended, and whether others can be polled in the same copy.
enum After {
    Clean,
    Spoiled,
}

/// Polls cells for their leaves.
pub(super) fn hook(copy: &mut Copy<'_>, room: &Room, cells: &[u64]) {
    let this: *const Copy<'_> = copy;
    each(copy, room, cells, |poller, cell| {
        hook::noting(this, cell.number, || poll(poller, cell, Patience::Short))
    });
}

/// Polls cells step by step, after these wakers were called.
pub(super) fn step(
    copy: &mut Copy<'_>,
    room: &mut Room,
    cells: &[u64],
    stepper: &Stepper,
    wakers: &[[u64; 2]],
) {
    let buffer = std::mem::take(&mut room.batch);
    let mut woken = false;
    each(copy, room, cells, |poller, cell| {
        // Once in each copy: what is set here is not seen in the next one.
        if !woken {
            woken = true;
            wake::wake_all(poller, wakers);
        }
        let tag = cell.number as u32;
        let (after, stepped) = stepper.step_in_copy(tag, || poll(poller, cell, Patience::Long));
        if stepped.is_ok() {
            send_steps(poller, stepper, cell.number, buffer);
        }
        after
    });
    room.batch = buffer;
}

/// Runs `act` for each cell, in as few copies as can be: after a poll that was given up comes a new
/// one.
fn each(
    copy: &mut Copy<'_>,
    room: &Room,
    cells: &[u64],
    mut act: impl FnMut(&mut Poller<'_>, &Polled) -> After,
) {
    let mut next = 0;
    while next < cells.len() {
        copy.progress().store(next as u64, Release);
        let ended = copy.fork(|poller| {
            for (index, number) in cells.iter().enumerate().skip(next) {
                poller.progress().store(index as u64, Release);
                if poller.is_late() {
                    return;
                }
                let Some(cell) = room.cell(*number) else {
                    continue;
                };
                if let After::Spoiled = act(poller, &cell) {
                    return;
                }
            }
        });
        // Where the copy was lost it may have written anywhere: there is always progress.
        let reached = usize::try_from(copy.progress().load(Acquire)).unwrap_or(next);
        let reached = reached.clamp(next, cells.len() - 1);
        if let (Ended::Lost, Some(number)) = (ended, cells.get(reached)) {
            copy.send(&[bytes(&[Tag::Polled as u64, *number, ended::LOST])]);
        }
        next = reached + 1;
    }
}

/// Polls a cell as a worker would that found it in its queue, and tells how that ended.
fn poll(poller: &mut Poller<'_>, cell: &Polled, patience: Patience) -> After {
    let state = cell.header + STATE;
    // One reference is what a queue has, and one keeps the cell if all others are given back.
    let queued = (cell.state & !CANCELLED | NOTIFIED).wrapping_add(2 * REFERENCE);
    // SAFETY: the header of a cell that was checked, and that no other thread has: there is none.
    unsafe { write(state, queued) };
    // SAFETY: the function of its vtable that polls it, which takes the header.
    let result = unsafe { poller.guarded(cell.poll, cell.header, patience) };
    let (how, after) = match result {
        Ok(()) => {
            // SAFETY: as above; the reference that was added keeps it.
            let state = unsafe { read(state) };
            match state & COMPLETE {
                0 => (ended::PENDING, After::Clean),
                _ => (ended::READY, After::Spoiled),
            }
        }
        Err(why) => (ended::GIVEN_UP + reason(why), After::Spoiled),
    };
    poller.send(&[bytes(&[Tag::Polled as u64, cell.number, how])]);
    after
}

const fn reason(why: GiveUp) -> u64 {
    why as u64
}

fn send_steps(poller: &Poller<'_>, stepper: &Stepper, cell: u64, buffer: &mut [u64]) {
    stepper.take_steps(|end, steps| {
        let mut filled = 0;
        for step in steps {
            let words = [step.ip | u64::from(step.is_call) << 63, step.sp];
            if let Some(place) = buffer.get_mut(filled..filled + 2) {
                place.copy_from_slice(&words);
                filled += 2;
            }
            if filled + 2 > buffer.len().min(STEPS) {
                send_some(poller, cell, buffer, &mut filled);
            }
        }
        send_some(poller, cell, buffer, &mut filled);
        poller.send(&[bytes(&[Tag::StepsEnd as u64, cell, end as u64])]);
    });
}

fn send_some(poller: &Poller<'_>, cell: u64, buffer: &[u64], filled: &mut usize) {
    let steps = buffer.get(..*filled).unwrap_or_default();
    poller.send(&[bytes(&[Tag::Steps as u64, cell]), bytes(steps)]);
    *filled = 0;
}
