use super::{fixtures::frames, *};

#[test]
fn each_poll_of_a_tracked_future_is_found_by_its_innermost_frame() {
    const ONE: &str = "rtops_tasks::tracked::poll_ordinary rtops_tasks::tracked::Tracked::poll";
    let own = |stack: &str| {
        let frames = frames(&[stack]);
        frames.tracked_polls(frames.stack(StackId(0)))
    };
    assert!(own("recv serve").is_empty());
    assert_eq!(own(&format!("recv {ONE} serve {ONE} run")), [4, 1]);
    // Directly inside one another.
    assert_eq!(own(&format!("recv {ONE} {ONE} {ONE}")), [5, 3, 1]);
    // Everything that a poll consists of was inlined.
    let inlined = "rtops_tasks::tracked::Tracked::poll";
    assert_eq!(own(&format!("recv {inlined} {ONE} {inlined}")), [4, 2, 1]);
    // The poll of a future that is polled in parts does not count.
    let part = "rtops_tasks::tracked::poll_ordinary rtops_tasks::tracked::Tracker::poll_part";
    let stack = format!("recv {part} rtops_agent::tower::poll {ONE}");
    assert_eq!(own(&stack), [4, 1]);
}
