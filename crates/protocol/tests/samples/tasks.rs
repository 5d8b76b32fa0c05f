//! Tasks: tracked by an agent, and found in memory.

use rtops_protocol::{
    FoundBy, Leaf, LeafEnd, Obtained, SourceLocation, StackId, StringId, Task, TaskKind, TaskState,
    TraceId, Unresolved, Untracked, UntrackedLeaf, UntrackedState, WakerState,
};

pub fn leaf(stack: u32, end: LeafEnd) -> Leaf {
    Leaf {
        stack: StackId(stack),
        end,
    }
}

fn task(id: u64, kind: TaskKind, state: TaskState, waker: WakerState, leaves: Vec<Leaf>) -> Task {
    let was_polled = !matches!(state, TaskState::New { .. });
    Task {
        id,
        parent: id - 1,
        kind,
        name: StringId(1),
        future_type: StringId(2),
        site: SourceLocation {
            file: StringId(3),
            line: 30,
            column: 9,
        },
        runtime: StringId(0),
        age_ns: 11_040_000_000_000,
        polls: 17,
        state,
        waker,
        obtained: if leaves.is_empty() {
            Obtained::NotCaptured
        } else {
            Obtained::Probed
        },
        mark: mark(id),
        cell: was_polled.then_some(0x7f00_0000_0080 + 0x1000 * id),
        lost_wakers: false,
        is_orphan: false,
        leaves,
    }
}

fn mark(id: u64) -> u64 {
    0x7f00_0010_0010 + 0x100 * id
}

/// Returns a task of each kind, state and end of a leaf.
pub fn tasks() -> Vec<Task> {
    let since_ns = 130_000_000_000;
    let suspended = TaskState::Suspended { since_ns };
    vec![
        task(
            1,
            TaskKind::Task,
            TaskState::New { since_ns },
            WakerState::NotKnown,
            vec![],
        ),
        task(
            2,
            TaskKind::Span,
            suspended,
            WakerState::Held(2),
            vec![leaf(0, LeafEnd::Complete), leaf(1, LeafEnd::Truncated)],
        ),
        task(
            3,
            TaskKind::Blocking,
            TaskState::Running {
                since_ns,
                tid: 4713,
            },
            WakerState::NotKnown,
            vec![],
        ),
        task(
            4,
            TaskKind::Task,
            TaskState::Starved { since_ns },
            WakerState::None,
            vec![leaf(1, LeafEnd::Lost)],
        ),
        task(
            5,
            TaskKind::BlockOn,
            suspended,
            WakerState::Held(1),
            vec![leaf(0, LeafEnd::Absent), leaf(1, LeafEnd::Abridged)],
        ),
        Task {
            lost_wakers: true,
            is_orphan: true,
            ..task(
                6,
                TaskKind::Span,
                TaskState::HeldBack { since_ns },
                WakerState::NotKnown,
                vec![],
            )
        },
    ]
}

/// Returns a task for each state, and for each way to determine where it waits.
pub fn untracked() -> Vec<Untracked> {
    let states = [
        UntrackedState::Idle,
        UntrackedState::Woken,
        UntrackedState::Running { tid: Some(4712) },
        UntrackedState::Blocking { tid: None },
        UntrackedState::Completed,
        UntrackedState::BlockOn { tid: 4711 },
        UntrackedState::Queued,
    ];
    let reasons = [
        Unresolved::NotAsked,
        Unresolved::Locked,
        Unresolved::Fault,
        Unresolved::Endless,
        Unresolved::Exit,
        Unresolved::Panic,
        Unresolved::SystemCall,
        Unresolved::Ready,
        Unresolved::NoTime,
        Unresolved::NoThread,
        Unresolved::Instruction,
        Unresolved::OtherStack,
    ];
    let found = [FoundBy::Steps, FoundBy::Thread, FoundBy::Ready].into_iter();
    let found = found.chain(reasons.map(FoundBy::Unresolved));
    let tasks = found.zip(states.into_iter().cycle()).zip(1..);
    tasks
        .map(|((found_by, state), number)| Untracked {
            number: Some(number).filter(|number| *number != 3),
            tokio: u32::from(number == 4),
            cell: (number == 3).then_some(0x7f00_0000_0080),
            mark: (number == 1).then_some(mark(2)),
            poll: 0x5555_5555_1000,
            boxed_poll: (number == 2).then_some(0x5555_5555_2000),
            state,
            wakers: 3,
            has_join_handle: number % 2 == 0,
            found_by,
            trace: (found_by == FoundBy::Steps).then_some(TraceId(1)),
            leaves: vec![UntrackedLeaf {
                leaf: leaf(1, LeafEnd::Complete),
                awaits: (number == 1).then_some(0x7f00_0000_0100),
                inside: number % 2,
            }],
            polled: vec![mark(number)],
            wakes_itself: (number % 2 == 1).then_some(leaf(1, LeafEnd::Complete)),
        })
        .collect()
}
