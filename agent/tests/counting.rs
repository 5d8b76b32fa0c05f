//! The counting allocator, in the odd places that an allocator is called from.
//!
//! There is only one test, as the counts are for the whole process.
#![allow(clippy::unwrap_used)]
#![expect(
    unsafe_code,
    reason = "a function before `main`, a signal handler, blocks taken by hand"
)]

use std::{
    alloc::{Layout, System, alloc, alloc_zeroed, dealloc, realloc},
    cell::RefCell,
    hint::black_box,
    os::unix::net::UnixStream,
    sync::{
        Arc, Barrier,
        atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use rtops_agent::{Options, alloc::Counting};
use rtops_protocol::{Counted, HeapWalk, Hello, Reply, Request, SizeClass};
use tempfile::tempdir;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

/// Sizes that nothing else in this process uses, each in a class of its own.
const BEFORE_MAIN: usize = 3 << 20;
const HELD: usize = 6 << 20;
const IN_HANDLER: usize = 12 << 20;
const AT_END: usize = 24 << 20;
const STRESS: usize = 700 << 10;

/// More than there are shards.
const THREADS: usize = 150;
const BLOCKS: usize = 40;

/// The loader calls this before any of Rust's runtime has run.
#[used]
#[unsafe(link_section = ".init_array")]
static EARLY: extern "C" fn() = {
    extern "C" fn early() {
        std::mem::forget(black_box(Vec::<u8>::with_capacity(BEFORE_MAIN)));
    }
    early
};

/// Returns what the agent reports about this process.
fn counted() -> Counted {
    let directory = tempdir().unwrap();
    Options::new().directory(directory.path()).start().unwrap();
    let mut sockets = directory.path().read_dir().unwrap();
    let mut stream = UnixStream::connect(sockets.next().unwrap().unwrap().path()).unwrap();
    Hello::receive(&mut stream).unwrap();
    Request::Memory(HeapWalk::IfSmall)
        .send(&mut stream)
        .unwrap();
    let Reply::Memory(memory) = Reply::receive(&mut stream).unwrap() else {
        panic!("another answer");
    };
    rtops_agent::stop();
    memory.counted.unwrap()
}

fn class(counted: &Counted, size: usize) -> SizeClass {
    let mut classes = counted.classes.iter();
    let class = classes.find(|class| size as u64 <= class.up_to);
    class.copied().unwrap_or_default()
}

#[track_caller]
fn expect_live(counted: &Counted, size: usize, blocks: usize) {
    let class = class(counted, size);
    assert_eq!(class.live_blocks, blocks as u64, "{counted:#?}");
    assert_eq!(class.live_bytes, (blocks * size) as u64, "{counted:#?}");
}

static HANDLED: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn on_signal(_: i32) {
    let layout = Layout::new::<[u8; IN_HANDLER]>();
    // SAFETY: the size is not zero. The signal is raised by this thread, so it interrupts
    // nothing in the allocator.
    HANDLED.store(unsafe { alloc(layout) }, SeqCst);
}

/// Allocates when its thread ends.
struct Last;

static ENDED: AtomicUsize = AtomicUsize::new(0);

impl Drop for Last {
    fn drop(&mut self) {
        let block = black_box(Vec::<u8>::with_capacity(AT_END));
        ENDED.fetch_add(block.capacity().min(1), SeqCst);
    }
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Has threads allocate blocks, grow and shrink them within a class and across classes, and end;
/// other threads free the blocks.
fn stress() -> usize {
    let barrier = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                LAST.with_borrow_mut(|last| *last = Some(Last));
                barrier.wait();
                (0..BLOCKS)
                    .map(|block| STRESS + number + block)
                    .map(resized)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let blocks: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let kept = THREADS / 2;
    let mut blocks = blocks.into_iter();
    blocks.by_ref().take(kept).for_each(|blocks| {
        thread::spawn(|| drop(blocks)).join().unwrap();
    });
    let left: Vec<_> = blocks.flatten().collect();
    let bytes = left.iter().map(Vec::capacity).sum();
    std::mem::forget(left);
    bytes
}

/// Starts in another class and reaches `size` in three steps.
fn resized(size: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(size / 3);
    for size in [size * 2, size - 100, size] {
        block.reserve_exact(size);
        block.shrink_to(size);
        assert_eq!(block.capacity(), size);
    }
    block
}

#[test]
fn what_is_counted_is_exact() {
    let early = counted();
    expect_live(&early, BEFORE_MAIN, 1);

    // Every way to get a block, and both ways to give it back.
    let layout = Layout::from_size_align(HELD, 4096).unwrap();
    // SAFETY: the sizes are not zero; what is freed or resized has this layout, or
    // that of its last size.
    unsafe {
        // Keeps the compiler from leaving the allocation out.
        let zeroed = black_box(alloc_zeroed(layout));
        assert_eq!((zeroed.addr() % 4096, *zeroed.add(HELD - 1)), (0, 0));
        let plain = black_box(alloc(layout));
        assert_eq!(plain.addr() % 4096, 0);
        expect_live(&counted(), HELD, 2);
        let small = black_box(realloc(plain, layout, 100));
        assert_eq!(small.addr() % 4096, 0);
        expect_live(&counted(), HELD, 1);
        let small_layout = Layout::from_size_align(100, 4096).unwrap();
        let large = black_box(realloc(small, small_layout, HELD));
        expect_live(&counted(), HELD, 2);
        dealloc(large, layout);
        dealloc(zeroed, layout);
        // A failed allocation is not counted.
        let impossible = Layout::from_size_align(isize::MAX as usize - 4096, 8).unwrap();
        assert!(black_box(alloc(impossible)).is_null());
    }
    let late = counted();
    expect_live(&late, HELD, 0);
    assert_eq!(class(&late, HELD).blocks, class(&early, HELD).blocks + 3);
    assert_eq!(class(&late, usize::MAX).blocks, 0);
    assert!(late.reallocations >= early.reallocations + 2);

    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: see the handler.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    // A thread that has not allocated yet, as far as possible.
    thread::spawn(|| raise(Signal::SIGUSR1).unwrap())
        .join()
        .unwrap();
    assert!(!HANDLED.load(SeqCst).is_null());
    expect_live(&counted(), IN_HANDLER, 1);

    let bytes = stress();
    let after = counted();
    let stressed = class(&after, STRESS);
    assert_eq!(stressed.live_blocks as usize, THREADS.div_ceil(2) * BLOCKS);
    assert_eq!(stressed.live_bytes as usize, bytes);
    assert_eq!(ENDED.load(SeqCst), THREADS);
    expect_live(&after, AT_END, 0);
    assert_eq!(class(&after, AT_END).blocks as usize, THREADS);
}
