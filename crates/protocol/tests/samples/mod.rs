//! One message of each kind, and of each variant in them.

mod memory;
mod tasks;

use rtops_protocol::{
    Access, Afterwards, Ask, Build, Call, Capabilities, Claim, ClaimMode, ClaimRole, CoreHead,
    DumpRequest, End, EndedSite, Fact, HandleSeen, HeapWalk, Hello, LeafEnd, Module, ModuleKind,
    NotAttached, OnRuntime, Outside, Package, Party, Process, Refusal, Refused, Reply, Request,
    Resource, ResourceKind, Runtime, RuntimeFlavor, Saved, Sender, Shared, SharedKind, Signal,
    SourceLocation, StackId, StackParts, Stacks, Stats, StringId, Strings, Summary, Thread,
    ThreadCapture, Trace, TraceEnd, TraceOrder, Tracking, Unresolved, Visit, Worker,
};
use rtops_types::Pid;

use memory::memories;
use tasks::{leaf, tasks, untracked};

pub fn hello() -> Hello {
    Hello {
        oldest_version: 1,
        newest_version: 1,
        pid: 4711,
        start_time: 123_456_789,
        capabilities: Capabilities::STATS
            .with(Capabilities::TASKS)
            .with(Capabilities::THREADS),
        agent_version: "0.1.0".to_owned(),
        name: "gateway".to_owned(),
    }
}

pub fn requests() -> Vec<Request> {
    let dump = |parts, ask| {
        Request::Dump(DumpRequest {
            parts,
            deadline_ms: 2500,
            ask,
        })
    };
    vec![
        Request::Summary,
        Request::Stats,
        dump(StackParts::All, Ask::TasksAndThreads),
        dump(StackParts::Tasks, Ask::TasksAndThreads),
        dump(StackParts::Threads, Ask::TasksAndThreads),
        dump(StackParts::All, Ask::Tasks),
        dump(StackParts::All, Ask::These(vec![7, 300])),
        dump(StackParts::Tasks, Ask::Nobody),
        Request::Memory(HeapWalk::IfSmall),
        Request::Trim,
        Request::Build,
        Request::Memory(HeapWalk::Always),
        Request::Attach,
    ]
}

fn stats() -> Stats {
    Stats {
        name: "gateway".to_owned(),
        tracked_tasks: 1204,
        tracked_spans: 12,
        running: 2,
        longest_poll_ns: 4_200_000_000,
        spawned: 70_000,
        finished: 68_796,
        polls: 5_000_000_000,
        clock_ns: 987_654_321_000,
        runtimes: vec![Runtime {
            name: "main".to_owned(),
            flavor: RuntimeFlavor::MultiThread,
            alive_tasks: 1219,
            global_queue_depth: 3,
            workers: vec![
                Worker {
                    busy_ns: 1_000_000,
                    parks: 77,
                    park_unparks: 153,
                    queue_depth: None,
                    polls: None,
                    steals: None,
                },
                Worker {
                    busy_ns: 2_000_000,
                    parks: 78,
                    park_unparks: 156,
                    queue_depth: Some(1),
                    polls: Some(2),
                    steals: Some(300),
                },
            ],
            spawned_tasks: Some(70_001),
            blocking_threads: Some(4),
            idle_blocking_threads: None,
            blocking_queue_depth: Some(0),
            budget_forced_yields: None,
        }],
    }
}

fn modules() -> Vec<Module> {
    let module = |path: &str, build_id: &[u8], start, kind| Module {
        path: path.to_owned(),
        build_id: build_id.to_vec(),
        load_bias: start,
        code: start + 0x1000..start + 0x9000,
        kind,
    };
    vec![
        module(
            "/srv/gateway",
            &[0xab; 20],
            0x5555_5555_0000,
            ModuleKind::MainExecutable,
        ),
        module(
            "/lib/libc.so.6",
            &[1, 2, 3],
            0x7f00_0000_0000,
            ModuleKind::Library,
        ),
        module("", &[], 0x7fff_0000_0000, ModuleKind::Vdso),
    ]
}

fn threads() -> Vec<Thread> {
    let captures = [
        ThreadCapture::Stack(leaf(0, LeafEnd::Complete)),
        ThreadCapture::Agent,
        ThreadCapture::SignalBlocked,
        ThreadCapture::NoAnswer,
        ThreadCapture::NoTime,
        ThreadCapture::HandlerReplaced,
        ThreadCapture::Failed(11),
        ThreadCapture::Off,
        ThreadCapture::Absent,
    ];
    let threads = captures.into_iter().zip(4711..);
    threads
        .map(|(capture, tid)| Thread {
            tid,
            name: (tid != 4711).then(|| "worker".to_owned()),
            state: (tid != 4711).then_some('S'),
            wchan: (tid % 2 == 0).then(|| "futex_wait".to_owned()),
            syscall: (tid % 2 == 1).then_some(202),
            cpu_ticks: (tid != 4711).then_some(42),
            timeslices: (tid != 4711).then_some(123_456),
            afterwards: (tid == 4711).then_some(Afterwards {
                watched_ns: 100_000_000,
                ran_ns: 60_000_000,
                queued_ns: 39_000_000,
                timeslices: 3,
                state: 'R',
            }),
            capture,
        })
        .collect()
}

fn site() -> SourceLocation {
    SourceLocation {
        file: StringId(3),
        line: 41,
        column: 20,
    }
}

fn resources() -> Vec<Resource> {
    let kinds = [
        ResourceKind::Mutex,
        ResourceKind::RwLock,
        ResourceKind::Semaphore,
        ResourceKind::JoinSet,
    ];
    let resources = kinds.into_iter().zip(1..);
    resources
        .map(|(kind, id)| Resource {
            id,
            kind,
            value_type: StringId(2),
            site: site(),
        })
        .collect()
}

fn claims() -> Vec<Claim> {
    let claim = |role, mode| Claim {
        resource: 2,
        role,
        task: 17,
        tid: 4713,
        since_ns: 120_000_000_000,
        site: site(),
        mode,
        permits: 3,
    };
    vec![
        claim(ClaimRole::Holder, ClaimMode::Shared),
        claim(ClaimRole::Waiter, ClaimMode::Exclusive),
    ]
}

pub fn trace(end: TraceEnd) -> Trace {
    Trace {
        end,
        order: match end {
            TraceEnd::GivenUp(_) => TraceOrder::FirstRun,
            _ => TraceOrder::LastRun,
        },
        calls: vec![
            Call { caller: 0, site: 0 },
            Call {
                caller: 0,
                site: 0x5555_5555_1234,
            },
        ],
        visits: vec![
            Visit {
                call: 1,
                ip: 0x5555_5555_2000,
            },
            Visit {
                call: 0,
                ip: 0x5555_5555_1239,
            },
        ],
    }
}

/// Returns what a dump contains besides stacks, and what only files contain.
fn evidence() -> Vec<Reply> {
    let ended = EndedSite {
        site: site(),
        ended: 70_000,
        last_ns: 5_000_000,
    };
    let handle = HandleSeen {
        task: 4,
        stack: StackId(1),
        entry: 2,
        of: 17,
    };
    let saved = Saved {
        taken: 1_764_000_000,
        host: "web-1".to_owned(),
        pid: Pid::new(4711),
        inner_pid: 7,
        start_time: Some(123_456_789),
        agent_version: Some("0.1.0".to_owned()),
        rtops_version: "0.1.0".to_owned(),
    };
    let not_attached = NotAttached {
        why: "a debugger is attached to it".to_owned(),
    };
    vec![
        Reply::EndedSites(vec![ended]),
        Reply::Resources(resources()),
        Reply::Claims(claims()),
        Reply::HandlesSeen(vec![handle]),
        Reply::Trace(trace(TraceEnd::Whole)),
        Reply::Trace(trace(TraceEnd::TooLong)),
        Reply::Trace(trace(TraceEnd::GivenUp(Unresolved::Locked))),
        Reply::Saved(saved),
        Reply::Core(core(Some(signal()))),
        Reply::Core(core(None)),
        Reply::Untracked(untracked()),
        Reply::Shared(shared()),
        Reply::OnRuntime(OnRuntime {
            number: 1,
            threads: vec![4711, 4712],
            cells: vec![0x5555_5578_0000],
        }),
        Reply::Outside(outside(None)),
        Reply::Outside(outside(Some(1_400_000))),
        Reply::NotAttached(not_attached),
    ]
}

fn shared() -> Vec<Shared> {
    let kinds = [SharedKind::Queue, SharedKind::Slot, SharedKind::Lock];
    let shared = kinds.map(|kind| Shared {
        address: 0x5555_5577_2310,
        kind,
        waiters: vec![Party::Task {
            cell: 0x5555_5578_0000,
        }],
        others: vec![Party::BlockOn { tid: 4711 }, Party::Thread { tid: 4712 }],
        holders: vec![Party::Thread { tid: 4712 }],
        is_complete: kind == SharedKind::Queue,
    });
    shared.to_vec()
}

fn outside(agent_told_after_ns: Option<u64>) -> Outside {
    Outside {
        pause_ns: 812_000,
        read_standing: Some("it has locked its memory".to_owned()),
        copy_ns: None,
        has_tokio: true,
        threads_not_stopped: 1,
        agent_told_after_ns,
    }
}

fn core(signal: Option<Signal>) -> CoreHead {
    CoreHead {
        program: "gateway".to_owned(),
        arguments: "gateway --listen 80".to_owned(),
        pid: Some(4711),
        thread: signal.map(|_| 4712),
        was_alive: signal.is_none(),
        has_tokio: signal.is_some(),
        time: signal.map(|_| 1_764_000_000),
        host: signal.map(|_| "web-1".to_owned()),
        signal,
    }
}

fn signal() -> Signal {
    Signal {
        number: 11,
        code: Some(1),
        address: Some(8),
        access: Some(Access::Write),
        sender: Some(Sender { pid: 1, uid: 1000 }),
    }
}

fn build() -> Build {
    Build {
        package: Some(Package {
            name: "gateway".to_owned(),
            version: "1.4.0".to_owned(),
        }),
        facts: vec![Fact {
            key: "commit".to_owned(),
            value: "3f2a91c".to_owned(),
        }],
        agent_features: vec!["tokio".to_owned()],
    }
}

/// Returns the answers of an agent, and the contents of files.
pub fn replies() -> Vec<Reply> {
    [answers(), evidence(), memories()].concat()
}

/// Returns the bytes of a reply.
pub fn frame(reply: &Reply) -> Vec<u8> {
    let mut frame = Vec::new();
    reply.send(&mut frame).unwrap();
    frame
}

fn answers() -> Vec<Reply> {
    let summary = Summary {
        name: "gateway".to_owned(),
        tracked_tasks: 1204,
        alive_tasks: 1219,
    };
    let process = Process {
        name: "gateway".to_owned(),
        tracked_on_tokio: Some(1204),
        alive_on_tokio: Some(1219),
        tracking: Some(Tracking {
            current: -1096,
            keeps_waker: 0x5555_5555_3000,
        }),
    };
    let strings = ["conn", "gateway::conn::serve::{{closure}}", "src/main.rs"];
    let refused = |why| {
        Reply::Refused(Refused {
            why,
            message: "no".to_owned(),
        })
    };
    vec![
        Reply::Summary(summary),
        Reply::Stats(stats()),
        Reply::Build(build()),
        Reply::Build(Build::default()),
        Reply::Process(process),
        Reply::Modules(modules()),
        Reply::Strings(Strings(strings.map(str::to_owned).to_vec())),
        Reply::Stacks(Stacks(vec![
            vec![0x5555_5555_1234, 0x7f00_0000_2000],
            vec![1],
            vec![],
        ])),
        Reply::Tasks(tasks()),
        Reply::Threads(threads()),
        Reply::End(End {
            gaps: vec!["some".to_owned()],
        }),
        refused(Refusal::Busy),
        refused(Refusal::Permission),
        refused(Refusal::Unsupported),
        refused(Refusal::Disabled),
        refused(Refusal::Failed),
    ]
}
