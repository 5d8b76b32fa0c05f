//! Dumps for tests.

use std::io;

use rtops_protocol::{
    Call, End, Leaf, LeafEnd, Obtained, Reply, SourceLocation, StackId, StringId, Task, TaskKind,
    TaskState, Thread, ThreadCapture, Trace, TraceEnd, TraceOrder, Visit, WakerState,
};

use super::{Dump, Failure};

/// Makes a poll that reached one instruction.
pub fn trace(ip: u64) -> Reply {
    poll(TraceOrder::LastRun, [1, ip].into_iter())
}

/// Makes a poll that reached these instructions one after the other.
pub fn poll(order: TraceOrder, ips: impl Iterator<Item = u64>) -> Reply {
    Reply::Trace(Trace {
        end: TraceEnd::Whole,
        order,
        calls: vec![Call { caller: 0, site: 0 }],
        visits: ips.map(|ip| Visit { call: 0, ip }).collect(),
    })
}

/// Makes a suspended task with these stacks.
pub fn task(id: u64, name: u32, stacks: &[u32]) -> Task {
    Task {
        id,
        parent: 0,
        kind: TaskKind::Task,
        name: StringId(name),
        future_type: StringId(0),
        site: SourceLocation::default(),
        runtime: StringId(0),
        age_ns: id * 1_000_000_000,
        polls: 3,
        state: TaskState::Suspended {
            since_ns: id * 1_000_000_000,
        },
        waker: WakerState::Held(1),
        obtained: match stacks {
            [] => Obtained::NotCaptured,
            _ => Obtained::Probed,
        },
        mark: 0x10 * id,
        cell: None,
        lost_wakers: false,
        is_orphan: false,
        leaves: stacks.iter().copied().map(leaf).collect(),
    }
}

/// Makes a leaf with a complete stack.
pub fn leaf(stack: u32) -> Leaf {
    Leaf {
        stack: StackId(stack),
        end: LeafEnd::Complete,
    }
}

/// Makes the capture of a thread with such a stack.
pub fn on(stack: u32) -> ThreadCapture {
    ThreadCapture::Stack(leaf(stack))
}

/// Makes a thread in a futex, as read from outside.
pub fn thread(tid: i32, name: Option<&str>, capture: ThreadCapture) -> Thread {
    Thread {
        tid,
        name: name.map(str::to_owned),
        state: None,
        wchan: None,
        syscall: Some(202),
        cpu_ticks: None,
        timeslices: None,
        afterwards: None,
        capture,
    }
}

/// Makes a thread as an agent reports it without interrupting it.
pub fn of_agent(tid: i32, name: &str) -> Thread {
    Thread {
        state: Some('S'),
        wchan: Some("futex_wait".to_owned()),
        cpu_ticks: Some(40),
        timeslices: Some(7),
        ..thread(tid, Some(name), ThreadCapture::Off)
    }
}

/// Makes the last message of a dump without gaps.
pub fn end() -> Reply {
    Reply::End(End { gaps: Vec::new() })
}

/// Receives the dump sent in these messages.
///
/// # Errors
/// Those of [`Dump::receive`].
pub fn receive(replies: Vec<Reply>) -> Result<Dump, Failure> {
    let mut replies = replies.into_iter();
    Dump::receive(|| {
        replies
            .next()
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
    })
}
