//! `rtops memstats` and `rtops trim` with allocators other than that of the C library.

use crate::{
    memstats::{MIB, Memstats, Side},
    support::{Build, Target},
};

#[test]
fn jemalloc_tells_and_gives_back() {
    let target = Target::start(Build::Jemalloc, &["memory"]);
    let before = target.memstats(&[]);
    target.told("hold 100 1000000");
    let after = target.memstats(&[]);
    let jemalloc =
        |memstats: &Memstats| memstats.heap().allocator("jemalloc").in_use_bytes.unwrap();
    assert!(
        jemalloc(&after) - jemalloc(&before) >= 100_000_000,
        "{after:#?}"
    );
    assert!(
        jemalloc(&after) - jemalloc(&before) < 110_000_000,
        "{after:#?}"
    );
    // Both are present: C code has its blocks from glibc.
    assert!(after.heap().held_bytes.unwrap() > jemalloc(&after));
    after.heap().allocator("glibc malloc");
    assert!(after.heap().allocator("jemalloc").notes[0].contains("without statistics"));

    target.told("fragment 64");
    let trimmed = target.trim();
    let kept = |side: &Side| side.heap.allocator("jemalloc").kept_bytes.unwrap();
    assert_eq!(kept(&trimmed.after), 0, "{trimmed:#?}");
    // On its own, jemalloc gives such memory back within ten seconds.
    if kept(&trimmed.before) > 40 * MIB {
        let freed = trimmed
            .before
            .memory
            .rss_bytes
            .checked_sub(trimmed.after.memory.rss_bytes);
        assert!(freed.unwrap() > 30 * MIB, "{trimmed:#?}");
    }
    let calls: Vec<_> = trimmed.calls.iter().map(|call| &*call.allocator).collect();
    assert_eq!(calls, ["jemalloc", "glibc malloc"]);
    assert!(trimmed.calls.iter().all(|call| call.failed.is_none()));
    target.told("fragment 64");
    target.stack(&[]);
}

#[test]
fn mimalloc_tells_what_it_holds() {
    let target = Target::start(Build::Mimalloc, &["memory"]);
    let before = target.memstats(&[]);
    target.told("fragment 64");
    target.told("hold 100 1000000");
    let after = target.memstats(&[]);
    let held = |memstats: &Memstats| memstats.heap().allocator("mimalloc").held_bytes.unwrap();
    assert!(
        held(&after) >= held(&before) + 100_000_000,
        "{before:#?} {after:#?}"
    );
    // mimalloc reports no more, and nothing is made up for it.
    assert_eq!(after.heap().in_use_bytes, None);
    let mimalloc = after.heap().allocator("mimalloc");
    assert_eq!((mimalloc.in_use_bytes, mimalloc.kept_bytes), (None, None));
    assert!(mimalloc.notes[0].contains("Counting"), "{mimalloc:#?}");
    let trimmed = target.trim();
    let calls: Vec<_> = trimmed.calls.iter().map(|call| &*call.call).collect();
    assert_eq!(calls, ["mi_collect(true)", "malloc_trim(0)"]);
    target.told("free");
    target.told("fragment 64");
    target.stack(&[]);
}
