//! Looks while tasks come and go.

use std::collections::HashSet;

use crate::{
    source::Marks,
    support::{Build, Target},
};

#[test]
fn fifty_dumps_under_churn_are_whole() {
    let target = Target::start(Build::Release, &["churn"]);
    let marks = Marks::read();
    for _ in 0..50 {
        let stack = target.stack(&["--tasks"]);
        assert!(stack.complete, "{:?}", stack.gaps);
        for number in 0..8 {
            let group = stack.group(&format!("steady {number}"));
            assert_eq!((group.count, &*group.state), (1, "waiting"), "{group:#?}");
            group.expect_lines(marks.of("steady"));
        }
        let mut seen = HashSet::new();
        let twice = stack.tasks().find(|task| !seen.insert(task.id));
        assert!(twice.is_none(), "{twice:?} is there twice");
    }
    target.expect_progress();
}
