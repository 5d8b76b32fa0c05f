//! The counters of [`Counting`](super::Counting).
//!
//! There is a fixed number of shards, and each thread adds to one of them. Counters only
//! grow. A block may be allocated in one shard and freed in another, so only sums over all
//! shards are meaningful.

use std::{
    cell::Cell,
    sync::atomic::{
        AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use rtops_protocol::{Counted, SizeClass};

/// A power of two. If there are more threads, they share shards.
const SHARDS: usize = 64;
/// Blocks of up to 8 bytes are in the first class, those of up to 16 in the second, and so on. All
/// blocks above 8 GiB are in the last.
const CLASSES: usize = 32;
/// The largest size of the first class, as a power of two.
const FIRST_CLASS: u32 = 3;

static TALLY: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The shard of this thread. It starts as a constant and has no destructor, so it works for the
    /// thread's first allocation, and for the last, after all destructors.
    static MINE: Cell<Option<&'static Shard>> = const { Cell::new(None) };
}

/// Counters that few threads share. Aligned to two cache lines, as processors fetch them in pairs.
#[repr(align(128))]
pub(super) struct Shard {
    classes: [Class; CLASSES],
    reallocations: AtomicU64,
    /// The reallocations that moved a block from one class to another.
    crossings: AtomicU64,
}

/// What was added to a class and removed from it since the start.
struct Class {
    blocks: AtomicU64,
    bytes: AtomicU64,
    gone_blocks: AtomicU64,
    gone_bytes: AtomicU64,
}

impl Shard {
    const fn new() -> Self {
        Self {
            classes: [const { Class::new() }; CLASSES],
            reallocations: AtomicU64::new(0),
            crossings: AtomicU64::new(0),
        }
    }

    /// Returns the shard of this thread.
    #[inline]
    pub(super) fn mine() -> &'static Self {
        // Never an error, as there is no destructor.
        let mine = MINE.try_with(Cell::get).ok().flatten();
        mine.unwrap_or_else(Self::assign)
    }

    /// If a signal comes in between whose handler allocates, the thread gets two shards, one after
    /// the other. That does no harm.
    #[cold]
    fn assign() -> &'static Self {
        let number = NEXT.fetch_add(1, Relaxed) % SHARDS;
        let [first, ..] = &TALLY;
        let shard = TALLY.get(number).unwrap_or(first);
        MINE.try_with(|mine| mine.set(Some(shard))).ok();
        shard
    }

    #[inline]
    pub(super) fn comes(&self, size: usize) {
        let class = self.class(size);
        class.blocks.fetch_add(1, Relaxed);
        class.bytes.fetch_add(size as u64, Relaxed);
    }

    /// Also publishes what this thread counted before, so that a freed block is never seen
    /// without its allocation.
    #[inline]
    pub(super) fn goes(&self, size: usize) {
        let class = self.class(size);
        class.gone_bytes.fetch_add(size as u64, Release);
        class.gone_blocks.fetch_add(1, Release);
    }

    #[inline]
    pub(super) fn changes(&self, old: usize, new: usize) {
        self.reallocations.fetch_add(1, Relaxed);
        if class_of(old) != class_of(new) {
            self.crossings.fetch_add(1, Relaxed);
            self.comes(new);
            self.goes(old);
            return;
        }
        let class = self.class(new);
        if new >= old {
            class.bytes.fetch_add((new - old) as u64, Relaxed);
        } else {
            class.gone_bytes.fetch_add((old - new) as u64, Release);
        }
    }

    #[inline]
    fn class(&self, size: usize) -> &Class {
        self.numbered(class_of(size))
    }

    #[inline]
    fn numbered(&self, class: usize) -> &Class {
        let [first, ..] = &self.classes;
        self.classes.get(class).unwrap_or(first)
    }
}

impl Class {
    const fn new() -> Self {
        Self {
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            gone_blocks: AtomicU64::new(0),
            gone_bytes: AtomicU64::new(0),
        }
    }
}

#[inline]
const fn class_of(size: usize) -> usize {
    let power = usize::BITS - size.saturating_sub(1).leading_zeros();
    let class = power.saturating_sub(FIRST_CLASS) as usize;
    if class < CLASSES { class } else { CLASSES - 1 }
}

/// The largest size in a class.
const fn up_to(class: usize) -> u64 {
    if class < CLASSES - 1 {
        1 << (class + FIRST_CLASS as usize)
    } else {
        u64::MAX
    }
}

/// Returns the counts so far; `None` if no allocator counts.
pub(crate) fn counted() -> Option<Counted> {
    let crossings = sum(|shard| &shard.crossings);
    let mut frees = 0_u64;
    let class = |number| {
        // Frees are read before allocations: others may happen in between, but every block seen as
        // freed is also seen as allocated.
        let gone_blocks = sum(|shard| &shard.numbered(number).gone_blocks);
        let gone_bytes = sum(|shard| &shard.numbered(number).gone_bytes);
        let blocks = sum(|shard| &shard.numbered(number).blocks);
        let bytes = sum(|shard| &shard.numbered(number).bytes);
        frees = frees.saturating_add(gone_blocks);
        SizeClass {
            up_to: up_to(number),
            live_blocks: blocks.saturating_sub(gone_blocks),
            live_bytes: bytes.saturating_sub(gone_bytes),
            blocks,
            bytes,
        }
    };
    let classes = (0..CLASSES).map(class).filter(|class| class.blocks > 0);
    let classes: Vec<SizeClass> = classes.collect();
    let came: u64 = classes.iter().map(|class| class.blocks).sum();
    (came > 0).then(|| Counted {
        allocations: came.saturating_sub(crossings),
        frees: frees.saturating_sub(crossings),
        reallocations: sum(|shard| &shard.reallocations),
        classes,
    })
}

/// Sums a counter over all shards.
fn sum(of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
    TALLY.iter().map(|shard| of(shard).load(Acquire)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_powers_of_two() {
        for (size, class) in [
            (0, 0),
            (1, 0),
            (8, 0),
            (9, 1),
            (16, 1),
            (17, 2),
            (1 << 33, 30),
            ((1 << 33) + 1, 31),
            (usize::MAX, 31),
        ] {
            assert_eq!(class_of(size), class, "{size}");
            assert!(size as u64 <= up_to(class), "{size}");
        }
        assert_eq!((up_to(0), up_to(30), up_to(31)), (8, 1 << 33, u64::MAX));
    }

    #[test]
    fn threads_take_turns_and_keep_their_shard() {
        let mine = std::ptr::from_ref(Shard::mine());
        assert_eq!(mine, std::ptr::from_ref(Shard::mine()));
        let other = std::thread::spawn(|| std::ptr::from_ref(Shard::mine()).addr());
        assert_ne!(other.join().ok(), Some(mine.addr()));
    }
}
