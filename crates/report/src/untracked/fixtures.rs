//! Untracked tasks for tests.

use rtops_protocol::{
    FoundBy, NotAttached, Outside, Process, Reply, Stacks, TraceId, Unresolved, Untracked,
    UntrackedLeaf, UntrackedState,
};

use crate::{
    dump::{
        Dump,
        fixtures::{end, leaf, receive},
    },
    frames::{
        Frames,
        fixtures::{frames, with_futures},
    },
};

pub const SERVE: u64 = 0x10;
pub const PUMP: u64 = 0x20;
pub const WORKER_POLL: u64 = 0x30;
pub const CLOSURE: u64 = 0x40;

/// The frames between a task's future and the executor on a stack.
pub const POLL: &str = "tokio::runtime::task::core::Core::poll core::panicking::try \
    tokio::runtime::task::harness::Harness::poll tokio::runtime::task::raw::poll";

pub fn futures() -> [(u64, &'static str); 4] {
    [
        (SERVE, "app::serve::{async_fn_env#0}"),
        (PUMP, "app::Pump<app::pump::{async_block_env#0}>"),
        (
            WORKER_POLL,
            "tokio::runtime::scheduler::multi_thread::worker::{impl#0}::launch::{closure_env#0}",
        ),
        (CLOSURE, "app::hash::{closure_env#0}"),
    ]
}

pub fn untracked(number: u64, poll: u64, stacks: &[u32]) -> Untracked {
    Untracked {
        number: Some(number),
        tokio: 0,
        cell: None,
        mark: None,
        poll,
        boxed_poll: None,
        state: UntrackedState::Idle,
        wakers: 1,
        has_join_handle: false,
        found_by: FoundBy::Steps,
        trace: None,
        polled: Vec::new(),
        wakes_itself: None,
        leaves: stacks
            .iter()
            .map(|stack| UntrackedLeaf::from(leaf(*stack)))
            .collect(),
    }
}

pub fn unresolved(id: u64, poll: u64, why: Unresolved) -> Untracked {
    Untracked {
        found_by: FoundBy::Unresolved(why),
        ..untracked(id, poll, &[])
    }
}

/// Makes the head of what was read of a process whose agent was asked a millisecond later.
pub fn outside() -> Reply {
    Reply::Outside(Outside {
        pause_ns: 1_500_000,
        read_standing: None,
        copy_ns: Some(5_000_000),
        has_tokio: true,
        threads_not_stopped: 0,
        agent_told_after_ns: Some(1_000_000),
    })
}

pub fn not_attached() -> Reply {
    Reply::NotAttached(NotAttached {
        why: "it would stand still for 80 ms, longer than --max-pause allows".to_owned(),
    })
}

pub fn process(tracked: u64, alive: u64) -> Reply {
    Reply::Process(Process {
        name: "gateway".to_owned(),
        tracked_on_tokio: Some(tracked),
        alive_on_tokio: Some(alive),
        tracking: None,
    })
}

pub fn dump_of(head: Vec<Reply>, stacks: &[&str], tasks: Vec<Untracked>) -> Dump {
    let stacks = stacks.iter().zip(1..);
    let stacks = stacks.map(|(names, number)| {
        let entries = names.split_whitespace().zip(0x1000_u64..);
        entries.map(|(_, address)| address + number).collect()
    });
    let mut replies = head;
    replies.extend([
        Reply::Stacks(Stacks(stacks.collect())),
        Reply::Untracked(tasks),
        end(),
    ]);
    receive(replies).unwrap()
}

pub fn named(stacks: &[&str]) -> Frames {
    let stacks: Vec<String> = stacks
        .iter()
        .map(|names| names.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let stacks: Vec<&str> = stacks.iter().map(String::as_str).collect();
    with_futures(frames(&stacks), &futures())
}

/// The instructions that the polls of [`polled`] may reach.
pub const CODE: [(u64, &str); 5] = [
    (1, "app::serve::{async_fn#0}:10"),
    (2, "app::serve::{async_fn#0}:12"),
    (3, "app::serve::{async_fn#0}:13"),
    (4, "app::serve::{async_fn#0}:14"),
    (5, "app::Timer::poll:30 app::serve::{async_fn#0}:15"),
];

pub fn polled(number: u64, found_by: FoundBy, trace: u32) -> Untracked {
    Untracked {
        found_by,
        trace: Some(TraceId(trace)),
        ..untracked(number, SERVE, &[])
    }
}
