use super::{fixtures::frames, *};
use crate::frame::shortened;

#[test]
fn each_poll_of_a_tracked_future_is_found_by_its_innermost_frame() {
    const ONE: &str = "rtops_tasks::tracked::poll_ordinary rtops_tasks::tracked::Tracked::poll";
    let own = |stack: &str| {
        let frames = frames(&[stack]);
        frames.tracked_polls(frames.stack(StackId(0)))
    };
    assert!(own("recv serve").is_empty());
    assert_eq!(own(&format!("recv {ONE} serve {ONE} run")), [4, 1]);
    // Right inside of another.
    assert_eq!(own(&format!("recv {ONE} {ONE} {ONE}")), [5, 3, 1]);
    // All that the one is made of was inlined.
    let inlined = "rtops_tasks::tracked::Tracked::poll";
    assert_eq!(own(&format!("recv {inlined} {ONE} {inlined}")), [4, 2, 1]);
    // One that is polled in several parts is none of those.
    let part = "rtops_tasks::tracked::poll_ordinary rtops_tasks::tracked::Tracker::poll_part";
    let stack = format!("recv {part} rtops_agent::tower::poll {ONE}");
    assert_eq!(own(&stack), [4, 1]);
}

#[test]
fn paths_are_shortened_to_what_tells() {
    for (file, shown) in [
        ("src/main.rs", "src/main.rs"),
        ("/srv/gateway/src/main.rs", "/srv/gateway/src/main.rs"),
        (
            "/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.54.1/src/time/sleep.rs",
            "tokio-1.54.1/src/time/sleep.rs",
        ),
        (
            "/home/u/.cargo/git/checkouts/hyper-1a2b3c/9f8e7d/src/lib.rs",
            "hyper-1a2b3c/9f8e7d/src/lib.rs",
        ),
        (
            "/rustc/0123abcd/library/core/src/future/mod.rs",
            "core/src/future/mod.rs",
        ),
        (
            "/home/u/.rustup/toolchains/x/lib/rustlib/src/rust/library/std/src/thread/mod.rs",
            "std/src/thread/mod.rs",
        ),
        ("/rustc/", "/rustc/"),
    ] {
        assert_eq!(shortened(file), shown);
    }
}
