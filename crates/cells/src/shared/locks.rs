//! Locks that threads wait for in the kernel.

use rtops_image::{Image, Thread};

use super::memory::Memory;

/// How far around what a thread sleeps on `parking_lot` has the address of the lock, in bytes.
const AROUND: u64 = 64;

/// What may be the lock that a thread waits for: of the standard library, which sleep on the lock itself, or one
/// of those that note its address beside what they sleep on.
pub(super) fn candidates(memory: &mut Memory<'_, impl Image>, thread: &Thread) -> Vec<u64> {
    let registers = &thread.registers;
    let is_futex = i64::try_from(registers.orig_rax) == Ok(libc::SYS_futex);
    if !is_futex || !crate::answers::is_park(registers.orig_rax, registers.rsi) {
        return Vec::new();
    }
    let sleeps_on = registers.rdi;
    let aligned = sleeps_on & !7;
    let around = (aligned.saturating_sub(AROUND)..aligned + AROUND).step_by(8);
    let noted = around.filter_map(|at| memory.words.at(at));
    // Of a lock with two queues, the second one's key is by one larger.
    let noted = noted.map(|key| if key % 8 == 1 { key - 1 } else { key });
    let mut found: Vec<u64> = [sleeps_on].into_iter().chain(noted).collect();
    found.retain(|lock| {
        let is_elsewhere = *lock == sleeps_on || lock.abs_diff(sleeps_on) > AROUND;
        is_elsewhere && memory.is_own(lock & !7) && !memory.places.stacks.contains(*lock)
    });
    found.retain(|lock| memory.byte(*lock).is_some_and(|state| state != 0));
    found.dedup();
    found
}
