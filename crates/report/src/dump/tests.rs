#![allow(clippy::unwrap_used)]

use rtops_protocol::{Stacks, Strings};

use super::{
    fixtures::{end, receive, task},
    *,
};

#[test]
fn a_whole_dump_is_taken() {
    let dump = receive(vec![
        Reply::Strings(Strings(vec!["conn".to_owned()])),
        Reply::Stacks(Stacks(vec![vec![1, 2], vec![3]])),
        Reply::Strings(Strings(vec!["late".to_owned()])),
        Reply::Tasks(vec![task(1, 2, &[0, 1])]),
        end(),
    ])
    .unwrap();
    assert_eq!(dump.string(StringId(0)), None);
    assert_eq!(dump.string(StringId(1)), Some("conn"));
    assert_eq!(dump.string(StringId(2)), Some("late"));
    assert_eq!(dump.stack(StackId(0)), [1, 2]);
    assert!(dump.gaps.is_empty());
}

#[test]
fn numbers_that_name_nothing_are_refused() {
    let strings = || Reply::Strings(Strings(vec!["a".to_owned()]));
    let stacks = || Reply::Stacks(Stacks(vec![vec![1]]));
    let bad = [
        task(1, 2, &[0]),
        task(1, u32::MAX, &[]),
        task(1, 1, &[1]),
        task(1, 1, &[0, u32::MAX]),
    ];
    for task in bad {
        let failure = receive(vec![strings(), stacks(), Reply::Tasks(vec![task]), end()]);
        assert!(matches!(failure, Err(Failure::Nonsense(_))));
    }
    receive(vec![
        strings(),
        stacks(),
        Reply::Tasks(vec![task(1, 1, &[0])]),
        end(),
    ])
    .unwrap();
}

#[test]
fn a_name_must_come_before_its_use() {
    let failure = receive(vec![
        Reply::Tasks(vec![task(1, 1, &[])]),
        Reply::Strings(Strings(vec!["a".to_owned()])),
        end(),
    ]);
    assert!(matches!(failure, Err(Failure::Nonsense(_))));
}

#[test]
fn what_came_before_a_break_is_kept_and_marked() {
    let dump = receive(vec![Reply::Tasks(vec![task(1, 0, &[])])]).unwrap();
    assert_eq!(dump.tasks.len(), 1);
    assert_eq!(dump.gaps.len(), 1);
}

#[test]
fn a_break_before_anything_is_a_failure() {
    assert!(matches!(receive(Vec::new()), Err(Failure::Lost(_))));
}

#[test]
fn what_tasks_share_is_taken() {
    let one = protocol::Shared {
        address: 0x5555_5577_2310,
        kind: protocol::SharedKind::Queue,
        waiters: vec![protocol::Party::BlockOn { tid: 7 }],
        others: Vec::new(),
        holders: Vec::new(),
        is_complete: false,
    };
    let two = vec![one.clone(), one.clone()];
    let replies = vec![Reply::Shared(two), Reply::Shared(vec![one.clone()]), end()];
    let dump = receive(replies).unwrap();
    assert_eq!(dump.shared, vec![one; 3]);
}

#[test]
fn more_parties_than_any_process_has_are_refused() {
    let many = protocol::Shared {
        address: 0x5555_5577_2310,
        kind: protocol::SharedKind::Slot,
        waiters: vec![protocol::Party::BlockOn { tid: 7 }; MAX_ITEMS / 2],
        others: vec![protocol::Party::Thread { tid: 8 }; MAX_ITEMS / 2],
        holders: Vec::new(),
        is_complete: false,
    };
    receive(vec![Reply::Shared(vec![many.clone()]), end()]).unwrap();
    let one = protocol::Shared {
        others: Vec::new(),
        ..many.clone()
    };
    let failure = receive(vec![Reply::Shared(vec![many, one]), end()]);
    assert!(matches!(failure, Err(Failure::Nonsense(_))));
}

#[test]
fn a_frame_of_another_answer_is_refused() {
    let stats = Reply::Stats(rtops_protocol::Stats::default());
    assert!(matches!(receive(vec![stats]), Err(Failure::Nonsense(_))));
}

#[test]
fn endless_empty_stacks_end() {
    let failure = Dump::receive(|| Ok(Reply::Stacks(Stacks(vec![Vec::new(); 100_000]))));
    assert!(matches!(failure, Err(Failure::Nonsense(_))));
}
