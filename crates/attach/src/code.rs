//! Finds the two pieces of a process's own code that are needed to make it run system calls.

use memchr::memmem;
use rtops_image::{Pid, live::Mapping};

use crate::memory;

/// `syscall`, `ret`.
const CALL: &[u8] = &[0x0f, 0x05, 0xc3];
/// `mov rax, 15`, `syscall`: every C library has this to return from a
/// signal handler. 15 is `rt_sigreturn`.
const RESTORE: [&[u8]; 2] = [
    &[0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05],
    &[0xb8, 15, 0, 0, 0, 0x0f, 0x05],
];
const LONGEST: usize = 9;
const CHUNK: usize = 1 << 20;
/// The most bytes of code that are searched.
const MOST: u64 = 512 << 20;

/// The addresses of both pieces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Code {
    /// Makes a system call and returns to the address on the stack.
    pub(crate) call: u64,
    /// Returns from a signal handler: sets all registers from the stack.
    pub(crate) restore: u64,
    /// The address after that instruction.
    pub(crate) behind_restore: u64,
}

impl Code {
    /// Looks for both pieces in a running process. `None` if they are not found.
    pub(crate) fn find(pid: Pid, maps: &[Mapping]) -> Option<Self> {
        let is_code = |map: &&Mapping| {
            // Writable or shared code may change between this look and its use.
            map.access.execute
                && map.access.read
                && !map.access.write
                && !map.is_shared()
                && !map.is_special()
        };
        let mut code: Vec<&Mapping> = maps.iter().filter(is_code).collect();
        code.sort_by_key(|map| memmem::find(map.name(), b"libc").is_none());
        let (mut call, mut restore) = (None, None);
        let mut left = MOST;
        for map in code {
            let mut at = map.range.start;
            while at < map.range.end && left > 0 {
                let rest = map.range.end - at;
                let mut bytes = vec![0; CHUNK.min(usize::try_from(rest).unwrap_or(CHUNK))];
                let read = memory::read(pid, at, &mut bytes).unwrap_or(0);
                bytes.truncate(read);
                let find =
                    |piece: &[u8]| memmem::find(&bytes, piece).map(|found| at + found as u64);
                call = call.or_else(|| find(CALL));
                restore = restore.or_else(|| {
                    let both = |piece| Some((find(piece)?, piece.len() as u64));
                    RESTORE.into_iter().find_map(both)
                });
                if let (Some(call), Some((restore, length))) = (call, restore) {
                    return Some(Self {
                        call,
                        restore,
                        behind_restore: restore + length,
                    });
                }
                if read < CHUNK {
                    break;
                }
                // A piece that begins in this chunk may end in the next.
                at += (CHUNK - LONGEST) as u64;
                left = left.saturating_sub(CHUNK as u64);
            }
        }
        None
    }

    /// Returns whether both pieces are still there: the process may have called `exec` since.
    pub(crate) fn is_there(self, pid: Pid) -> bool {
        let begins = |address, piece: &[u8]| {
            memory::read_exact::<LONGEST>(pid, address)
                .is_some_and(|bytes| bytes.starts_with(piece))
        };
        begins(self.call, CALL) && RESTORE.iter().any(|piece| begins(self.restore, piece))
    }
}
