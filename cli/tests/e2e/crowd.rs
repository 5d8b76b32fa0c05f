//! 100,000 tasks.

use std::time::Instant;

use crate::{
    source::Marks,
    support::{Build, Target},
};

#[test]
fn a_hundred_thousand_tasks_are_all_there() {
    let target = Target::start(Build::Release, &["herd", "100000"]);
    let start = Instant::now();
    let stack = target.stack(&["--tasks"]);
    eprintln!("100,000 tasks as JSON: {:?}", start.elapsed());
    assert!(stack.complete, "{:?}", stack.gaps);
    for (name, count) in [("sleeps", 33_334), ("receives", 33_333), ("waits", 33_333)] {
        let group = stack.group(name);
        assert_eq!((group.count, &*group.state), (count, "waiting"));
        group.expect_lines(Marks::read().of(name));
    }
    let start = Instant::now();
    let text = target.stack_text(&["--tasks"]);
    eprintln!("100,000 tasks as text: {:?}", start.elapsed());
    assert!(
        text.contains("100000 tasks in 3 groups, 100000 of 100000 alive"),
        "{text}"
    );
}
