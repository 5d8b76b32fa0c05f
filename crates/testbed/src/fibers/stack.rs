//! Stacks for coroutines, in places where a reader must not read past their ends.
#![expect(unsafe_code, reason = "whoever makes a stack promises that it is one")]

use std::{
    fs,
    num::NonZeroUsize,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use corosensei::stack::{STACK_ALIGNMENT, Stack, StackPointer};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// More than any coroutine of a target needs, in any build, in bytes.
pub(super) const SIZE: usize = 256 << 10;
/// The unmapped space around a mapped stack, in bytes.
const GAP: usize = 64 << 10;

/// A mapping with nothing mapped right above it, and a guard below.
pub(super) struct Mapped {
    start: NonNull<u8>,
}

impl Mapped {
    /// Maps a stack wherever the kernel puts it.
    pub(super) fn new() -> Self {
        Self::map(None, MapFlags::empty())
    }

    /// Maps a stack where the main thread's stack could grow to, and so close to it that the main
    /// stack's maximum size covers this one, too.
    pub(super) fn below_main() -> Self {
        // Leaves the main stack room to grow by what is put on it here.
        static TAKEN: AtomicUsize = AtomicUsize::new(4 << 20);
        let below = TAKEN.fetch_add(GAP + SIZE + GAP, Relaxed);
        let start = NonZeroUsize::new(main_stack() - below);
        Self::map(start, MapFlags::MAP_FIXED_NOREPLACE)
    }

    fn map(at: Option<NonZeroUsize>, flags: MapFlags) -> Self {
        let all = GAP + SIZE + GAP;
        let length = NonZeroUsize::new(all).expect("a stack has a size");
        let flags = flags | MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: with these flags, a new mapping replaces nothing, and only parts of
        // this mapping are changed and unmapped.
        unsafe {
            let start = mmap_anonymous(at, length, access, flags).expect("there is room");
            nix::sys::mman::mprotect(start, GAP, ProtFlags::PROT_NONE).expect("it is mapped");
            munmap(start.byte_add(GAP + SIZE), GAP).expect("it is mapped");
            Self {
                start: start.cast(),
            }
        }
    }
}

/// Returns the current lower end of the main thread's stack.
fn main_stack() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is there");
    let line = maps.lines().find(|line| line.ends_with("[stack]"));
    let start = line.and_then(|line| usize::from_str_radix(line.split_once('-')?.0, 16).ok());
    start.expect("the main thread has a stack")
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it was mapped, and the coroutine that ran on it is gone.
        unsafe { munmap(self.start.cast(), GAP + SIZE) }.expect("it is mapped");
    }
}

// SAFETY: the range is mapped, aligned and large enough, and has a guard below.
unsafe impl Stack for Mapped {
    fn base(&self) -> StackPointer {
        self.start.addr().saturating_add(GAP + SIZE)
    }

    fn limit(&self) -> StackPointer {
        self.start.addr()
    }
}

/// A block of an allocator, among others.
pub(super) struct Heap(Box<[u8]>);

impl Heap {
    pub(super) fn new() -> Self {
        Self(vec![0; SIZE / 4].into())
    }
}

// SAFETY: the range is allocated, aligned and large enough. It needs no guard,
// because no coroutine of a target uses all of it.
unsafe impl Stack for Heap {
    fn base(&self) -> StackPointer {
        aligned_down(self.0.as_ptr().addr() + self.0.len())
    }

    fn limit(&self) -> StackPointer {
        aligned_down(self.0.as_ptr().addr() + STACK_ALIGNMENT)
    }
}

/// A part of a thread's own stack.
pub(super) struct Lent {
    start: usize,
}

impl Lent {
    /// # Safety
    /// The block is not used for anything else from now on.
    pub(super) unsafe fn new(block: &mut [u8; SIZE]) -> Self {
        Self {
            start: block.as_mut_ptr().expose_provenance(),
        }
    }
}

// SAFETY: the range belongs to this stack alone, and is aligned and large enough. It needs no
// guard, because no coroutine of a target uses all of it.
unsafe impl Stack for Lent {
    fn base(&self) -> StackPointer {
        aligned_down(self.start + SIZE)
    }

    fn limit(&self) -> StackPointer {
        aligned_down(self.start + STACK_ALIGNMENT)
    }
}

fn aligned_down(address: usize) -> StackPointer {
    NonZeroUsize::new(address / STACK_ALIGNMENT * STACK_ALIGNMENT).expect("no stack is at 0")
}
