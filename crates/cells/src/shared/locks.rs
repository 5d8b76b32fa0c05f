//! Locks that threads wait for in the kernel.

use rtops_image::{Image, Thread};

use super::memory::Memory;
use crate::answers;

/// How far around what a thread sleeps on `parking_lot` has the address of the lock, in bytes.
const AROUND: u64 = 64;
/// How much a thread has of its own below its `fs_base`.
const LARGEST_TLS: u64 = 1 << 20;

/// What may be the lock that a thread waits for. With the standard library, it sleeps on the lock itself, and
/// with `parking_lot` on something of its own, beside which is the address of the lock.
pub(super) fn candidates(memory: &mut Memory<'_, impl Image>, thread: &Thread) -> Vec<u64> {
    let registers = &thread.registers;
    let is_futex = i64::try_from(registers.orig_rax) == Ok(libc::SYS_futex);
    if !is_futex || !answers::is_park(registers.orig_rax, registers.rsi) {
        return Vec::new();
    }
    let sleeps_on = registers.rdi;
    let above = registers.fs_base.checked_sub(sleeps_on);
    let is_its_own = above.is_some_and(|above| above < LARGEST_TLS);
    let mut found = if is_its_own {
        let aligned = sleeps_on & !7;
        let around = (aligned.saturating_sub(AROUND)..=aligned.saturating_add(AROUND)).step_by(8);
        let keys = around.filter_map(|at| memory.words.at(at));
        // Of a lock with two queues, the second one's key is by one larger.
        keys.map(|key| if key % 8 == 1 { key - 1 } else { key })
            .collect()
    } else {
        vec![sleeps_on]
    };
    found.retain(|lock| {
        let is_one = memory.is_own(lock & !7) && !memory.places.stacks.contains(*lock);
        is_one && memory.byte(*lock).is_some_and(|state| state != 0)
    });
    found.sort_unstable();
    found.dedup();
    found
}
