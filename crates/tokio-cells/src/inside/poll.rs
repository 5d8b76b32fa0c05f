//! Polling cells, in further copies.
#![expect(unsafe_code, reason = "calls the polls of tasks")]

use std::sync::atomic::Ordering::{Acquire, Release};

use rtops_snapshot::{Copy, Ended, Patience, Poller};
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

/// Polls cells for their leaves.
pub(super) fn hook(copy: &mut Copy<'_>, room: &Room, cells: &[u64]) {
    let this: *const Copy<'_> = copy;
    each(copy, room, cells, |poller, cell| {
        let how = hook::noting(this, cell.number, || poll(poller, cell, Patience::Short));
        tell(poller, cell, how);
        how
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
    let room_now = &*room;
    let mut woken = false;
    each(copy, room_now, cells, |poller, cell| {
        // Once in each copy: what is set here is not seen in the next one.
        if !woken {
            woken = true;
            // A task that is queued already is not queued by what wakes inside of it. It would be
            // there when its poll, as one of a container may, asks for another turn.
            let to_poll = cells.iter().filter_map(|number| room_now.cell(*number));
            to_poll.for_each(|cell| queue(&cell));
            wake::wake_all(poller, wakers);
        }
        let tag = cell.number as u32;
        let (how, stepped) = stepper.step_in_copy(tag, || poll(poller, cell, Patience::Long));
        tell(poller, cell, how);
        if stepped.is_ok() {
            send_steps(poller, stepper, cell.number, buffer);
        }
        how
    });
    room.batch = buffer;
}

/// Runs `act` for each cell, which says how its poll ended, in as few copies as can be: after a poll that
/// did not simply wait comes a new one.
fn each(
    copy: &mut Copy<'_>,
    room: &Room,
    cells: &[u64],
    mut act: impl FnMut(&mut Poller<'_>, &Polled) -> u64,
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
                if act(poller, &cell) != ended::PENDING {
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

/// Marks a cell as it is while it waits in the queue of a worker.
fn queue(cell: &Polled) {
    // One reference is what a queue has, and one keeps the cell if all others are given back.
    let queued = (cell.state & !CANCELLED | NOTIFIED).wrapping_add(2 * REFERENCE);
    // SAFETY: the header of a cell that was checked, and that no other thread has: there is none.
    unsafe { write(cell.header + STATE, queued) };
}

/// Polls a cell as a worker would that found it in its queue; how that ended, one of [`ended`].
fn poll(poller: &mut Poller<'_>, cell: &Polled, patience: Patience) -> u64 {
    queue(cell);
    // SAFETY: the function of its vtable that polls it, which takes the header.
    match unsafe { poller.guarded(cell.poll, cell.header, patience) } {
        // SAFETY: the header; the reference that was added keeps it.
        Ok(()) if unsafe { read(cell.header + STATE) } & COMPLETE == 0 => ended::PENDING,
        Ok(()) => ended::READY,
        Err(why) => ended::GIVEN_UP + u64::from(why.code()),
    }
}

fn tell(poller: &Poller<'_>, cell: &Polled, how: u64) {
    poller.send(&[bytes(&[Tag::Polled as u64, cell.number, how])]);
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
