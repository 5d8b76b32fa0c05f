//! Finds locks that threads wait for in the kernel.

use rtops_image::{Image, Thread};

use super::memory::Memory;
use crate::answers;

/// How far from the word that a thread sleeps on `parking_lot`
/// keeps the address of the lock, in bytes.
const AROUND: u64 = 64;
/// The most memory of its own that a thread has below its `fs_base`, in bytes.
const LARGEST_TLS: u64 = 1 << 20;

/// Returns the addresses of what may be the lock that a thread waits for. With the standard
/// library, the thread sleeps on the lock itself; with `parking_lot`, on a word of its own
/// that is near the address of the lock.
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
        // If a lock has two queues, the second one's key is larger by one.
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
