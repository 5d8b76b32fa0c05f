//! Which thread runs which task: a thread that is inside of a poll has the cell's address on its
//! stack, or in a register.

use rtops_snapshot::Copy;
use rtops_threads::HeldThread;

use super::{
    Room, bytes,
    memory::{Memory, Piece},
};
use crate::{layout::RUNNING, record::Tag};

/// A longer stack is cut here, in bytes.
const LONGEST: usize = 512 << 10;

/// Tells of running tasks which threads may have them, and sends the stacks of those threads.
pub(super) fn report(copy: &Copy<'_>, room: &mut Room) {
    let list = std::mem::take(&mut room.alone);
    let running = collect(room, list);
    for thread in copy.threads() {
        let (start, end) = stack(copy, thread);
        let Some(stack) = Memory { copy }.piece(start, end) else {
            continue;
        };
        let mut has_any = false;
        let mut last = 0;
        for word in registers(thread).into_iter().chain(words(stack)) {
            let found = running.binary_search_by_key(&word, |[header, _]| *header);
            let found = found.ok().and_then(|place| running.get(place));
            if let Some([header, number]) = found.filter(|[header, _]| *header != last) {
                last = *header;
                has_any = true;
                let tid = i64::from(thread.tid.as_raw()).cast_unsigned();
                copy.send(&[bytes(&[Tag::Running as u64, *number, tid])]);
            }
        }
        if has_any {
            send_stack(copy, thread, stack);
        }
    }
    room.alone = list;
}

/// The headers of running tasks and their numbers, sorted.
fn collect<'a>(room: &Room, list: &'a mut [u64]) -> &'a [[u64; 2]] {
    let list = list.as_chunks_mut::<2>().0;
    let mut count = 0;
    for number in 0..room.count as u64 {
        let cell = room.cell(number).filter(|cell| cell.state & RUNNING != 0);
        if let (Some(cell), Some(place)) = (cell, list.get_mut(count)) {
            *place = [cell.header as u64, number];
            count += 1;
        }
    }
    let list = list.get_mut(..count).unwrap_or_default();
    list.sort_unstable();
    list
}

/// The part of the address space from its stack pointer to the end of its stack.
fn stack(copy: &Copy<'_>, thread: &HeldThread) -> (usize, usize) {
    let start = usize::try_from(thread.registers.sp).unwrap_or(0) & !7;
    let mapped = copy.mapping(start).map_or(start, |mapping| mapping.end);
    let end = match usize::try_from(thread.stack_end) {
        Ok(end) if (start..=mapped).contains(&end) => end & !7,
        _ => mapped,
    };
    (start, end.min(start + LONGEST))
}

fn registers(thread: &HeldThread) -> [u64; 6] {
    let registers = &thread.registers;
    [
        registers.rbx,
        registers.bp,
        registers.r12,
        registers.r13,
        registers.r14,
        registers.r15,
    ]
}

fn words(stack: Piece) -> impl Iterator<Item = u64> {
    stack.words(8).map(|(_, word)| word as u64)
}

fn send_stack(copy: &Copy<'_>, thread: &HeldThread, stack: Piece) {
    let words = [
        Tag::Thread as u64,
        i64::from(thread.tid.as_raw()).cast_unsigned(),
        thread.registers.ip,
        stack.start as u64,
        thread.registers.bp,
    ];
    copy.send(&[bytes(&words), stack.bytes()]);
}
