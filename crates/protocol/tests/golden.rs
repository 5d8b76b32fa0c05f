//! Messages, byte for byte. Once a version is released its files in `golden/` never change: a build
//! that can't read them, or writes other bytes, no longer fits the agents that are out there. Until
//! then, run with `RTOPS_UPDATE_GOLDEN=1` where messages have changed.
#![allow(clippy::unwrap_used)]

#[path = "samples/memory.rs"]
mod memory;
#[path = "samples/tasks.rs"]
mod tasks;

use std::{env, fs, path::Path};

use rtops_protocol::{
    Access, Ask, Build, Call, Capabilities, Claim, ClaimMode, ClaimRole, CoreHead, DumpRequest,
    End, EndedSite, Fact, FrameKind, HandleSeen, Hello, LeafEnd, MAX_REPLY, Module, ModuleKind,
    NotAttached, Outside, Package, Process, ProtocolError, Refusal, Refused, Reply, Request,
    Resource, ResourceKind, Runtime, RuntimeFlavor, Saved, Sender, Signal, SourceLocation, StackId,
    StackParts, Stacks, Stats, StringId, Strings, Summary, Thread, ThreadCapture, ThreadRun, Trace,
    TraceEnd, TraceOrder, Tracking, Unresolved, Visit, Worker, read_frame, write_frame,
};

use memory::memories;
use tasks::{leaf, notes, tasks, untracked};

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    fs::read(path.join(name)).unwrap()
}

/// Panics unless these are the bytes of the file, or writes them to it where that is wanted.
#[track_caller]
fn expect_golden(name: &str, written: &[u8]) {
    if env::var_os("RTOPS_UPDATE_GOLDEN").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        fs::write(path.join(name), written).unwrap();
    }
    assert_eq!(written, golden(name), "{name}");
}

fn hello() -> Hello {
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

fn requests() -> Vec<(&'static str, Request)> {
    let dump = |parts, ask| {
        Request::Dump(DumpRequest {
            parts,
            deadline_ms: 2500,
            ask,
        })
    };
    vec![
        ("request-summary", Request::Summary),
        ("request-stats", Request::Stats),
        ("request-dump", dump(StackParts::All, Ask::TasksAndThreads)),
        (
            "request-dump-tasks",
            dump(StackParts::Tasks, Ask::TasksAndThreads),
        ),
        (
            "request-dump-threads",
            dump(StackParts::Threads, Ask::TasksAndThreads),
        ),
        ("request-dump-asks-tasks", dump(StackParts::All, Ask::Tasks)),
        (
            "request-dump-asks-these",
            dump(StackParts::All, Ask::These(vec![7, 300])),
        ),
        (
            "request-dump-asks-nobody",
            dump(StackParts::Tasks, Ask::Nobody),
        ),
        ("request-memory", Request::Memory),
        ("request-trim", Request::Trim),
        ("request-build", Request::Build),
        ("request-memory-by-walk", Request::MemoryByWalk),
        ("request-attach", Request::Attach),
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

fn trace(end: TraceEnd) -> Trace {
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

/// What a dump says beyond stacks, and what only files hold.
fn evidence() -> Vec<(&'static str, Reply)> {
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
    let run = ThreadRun {
        tid: 4711,
        timeslices: 123_456,
    };
    let saved = Saved {
        taken: 1_764_000_000,
        host: "web-1".to_owned(),
        pid: 4711,
        inner_pid: 7,
        start_time: Some(123_456_789),
        agent_version: Some("0.1.0".to_owned()),
        rtops_version: "0.1.0".to_owned(),
    };
    let not_attached = NotAttached {
        why: "a debugger is attached to it".to_owned(),
    };
    vec![
        ("reply-notes", Reply::Notes(notes())),
        ("reply-ended-sites", Reply::EndedSites(vec![ended])),
        ("reply-resources", Reply::Resources(resources())),
        ("reply-claims", Reply::Claims(claims())),
        ("reply-handles-seen", Reply::HandlesSeen(vec![handle])),
        ("reply-trace", Reply::Trace(trace(TraceEnd::Whole))),
        (
            "reply-trace-too-long",
            Reply::Trace(trace(TraceEnd::TooLong)),
        ),
        (
            "reply-trace-given-up",
            Reply::Trace(trace(TraceEnd::GivenUp(Unresolved::Locked))),
        ),
        ("reply-thread-runs", Reply::ThreadRuns(vec![run])),
        ("reply-saved", Reply::Saved(saved)),
        ("reply-core", Reply::Core(core(Some(signal())))),
        ("reply-core-alive", Reply::Core(core(None))),
        ("reply-untracked", Reply::Untracked(untracked())),
        ("reply-outside", Reply::Outside(outside(None))),
        (
            "reply-outside-beside-agent",
            Reply::Outside(outside(Some(1_400_000))),
        ),
        ("reply-not-attached", Reply::NotAttached(not_attached)),
    ]
}

fn outside(agent_told_after_ns: Option<u64>) -> Outside {
    Outside {
        pause_ns: 812_000,
        read_standing: Some("it has locked its memory".to_owned()),
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

fn replies() -> Vec<(&'static str, Reply)> {
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
        ("reply-summary", Reply::Summary(summary)),
        ("reply-stats", Reply::Stats(stats())),
        ("reply-build", Reply::Build(build())),
        ("reply-build-unstated", Reply::Build(Build::default())),
        ("reply-process", Reply::Process(process)),
        ("reply-modules", Reply::Modules(modules())),
        (
            "reply-strings",
            Reply::Strings(Strings(strings.map(str::to_owned).to_vec())),
        ),
        (
            "reply-stacks",
            Reply::Stacks(Stacks(vec![
                vec![0x5555_5555_1234, 0x7f00_0000_2000],
                vec![1],
                vec![],
            ])),
        ),
        ("reply-tasks", Reply::Tasks(tasks())),
        ("reply-threads", Reply::Threads(threads())),
        (
            "reply-end",
            Reply::End(End {
                gaps: vec!["some".to_owned()],
            }),
        ),
        ("reply-busy", refused(Refusal::Busy)),
        ("reply-permission", refused(Refusal::Permission)),
        ("reply-unsupported", refused(Refusal::Unsupported)),
        ("reply-disabled", refused(Refusal::Disabled)),
        ("reply-failed", refused(Refusal::Failed)),
    ]
}

#[test]
fn the_hello_is_what_it_always_was() {
    let bytes = golden("hello");
    assert_eq!(Hello::receive(&mut bytes.as_slice()).unwrap(), hello());
    let mut written = Vec::new();
    write_frame(&mut written, FrameKind::HELLO, &hello().encode()).unwrap();
    assert_eq!(written, bytes);
}

#[test]
fn requests_are_what_they_always_were() {
    for (name, request) in requests() {
        let mut written = Vec::new();
        request.send(&mut written).unwrap();
        expect_golden(name, &written);
        let read = Request::receive(&mut written.as_slice()).unwrap();
        assert_eq!(read, request, "{name}");
    }
}

#[test]
fn replies_are_what_they_always_were() {
    let replies = replies().into_iter().chain(evidence()).chain(memories());
    for (name, reply) in replies {
        let mut written = Vec::new();
        reply.send(&mut written).unwrap();
        expect_golden(name, &written);
        let read = Reply::receive(&mut written.as_slice()).unwrap();
        assert_eq!(read, reply, "{name}");
    }
}

#[test]
fn every_golden_file_is_one_frame() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let mut rest = bytes.as_slice();
        read_frame(&mut rest, MAX_REPLY).unwrap();
        assert!(rest.is_empty());
        count += 1;
    }
    assert_eq!(
        count,
        1 + requests().len() + replies().len() + evidence().len() + memories().len()
    );
}

#[test]
fn a_longer_hello_of_a_newer_agent_is_read() {
    let mut body = Hello {
        newest_version: 9,
        ..hello()
    }
    .encode();
    body.extend(b"fields of the future");
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameKind::HELLO, &body).unwrap();
    let read = Hello::receive(&mut frame.as_slice()).unwrap();
    assert_eq!((read.newest_version, read.name.as_str()), (9, "gateway"));
}

#[test]
fn a_hello_without_a_common_version_says_so() {
    for (oldest_version, newest_version) in [(0, 0), (2, 9)] {
        let body = Hello {
            oldest_version,
            newest_version,
            ..hello()
        };
        let mut frame = Vec::new();
        write_frame(&mut frame, FrameKind::HELLO, &body.encode()).unwrap();
        let error = Hello::receive(&mut frame.as_slice()).unwrap_err();
        assert!(matches!(error, ProtocolError::Version { .. }), "{error}");
    }
}

#[test]
fn a_reply_of_an_unknown_kind_is_skipped() {
    let mut stream = Vec::new();
    write_frame(&mut stream, FrameKind(200), b"from the future").unwrap();
    stream.extend(golden("reply-end"));
    let mut stream = stream.as_slice();
    let unknown = Reply::receive(&mut stream).unwrap();
    assert_eq!(unknown, Reply::Unknown(FrameKind(200)));
    assert!(matches!(
        Reply::receive(&mut stream).unwrap(),
        Reply::End(_)
    ));
}

#[test]
fn a_trace_that_no_frame_holds_is_sent_in_several() {
    let ip = |index: u32| 0x5555_5555_0000 + u64::from(index);
    let long = Trace {
        calls: (0..70_000)
            .map(|caller| Call {
                caller,
                site: ip(caller),
            })
            .collect(),
        visits: (0..87_000)
            .map(|call| Visit { call, ip: ip(call) })
            .collect(),
        ..trace(TraceEnd::Whole)
    };
    let mut stream = Vec::new();
    Reply::Trace(long.clone()).send(&mut stream).unwrap();
    assert!(stream.len() > MAX_REPLY as usize);
    stream.extend(golden("reply-end"));
    let mut rest = stream.as_slice();
    assert_eq!(Reply::receive(&mut rest).unwrap(), Reply::Trace(long));
    assert!(matches!(Reply::receive(&mut rest).unwrap(), Reply::End(_)));
}

#[test]
fn a_trace_in_parts_ends_or_is_refused() {
    let mut whole = Vec::new();
    Reply::Trace(trace(TraceEnd::Whole))
        .send(&mut whole)
        .unwrap();
    let body = read_frame(&mut whole.as_slice(), MAX_REPLY).unwrap().body;
    let empty = Trace {
        calls: Vec::new(),
        visits: Vec::new(),
        ..trace(TraceEnd::Whole)
    };
    let mut stream = Vec::new();
    Reply::Trace(empty).send(&mut stream).unwrap();
    let empty = read_frame(&mut stream.as_slice(), MAX_REPLY).unwrap().body;
    for (second, is_fine) in [
        ((FrameKind::TRACE, &body), true),
        ((FrameKind::END, &body), false),
        ((FrameKind::TRACE_PART, &empty), false),
        ((FrameKind::TRACE, &empty), false),
    ] {
        let mut stream = Vec::new();
        write_frame(&mut stream, FrameKind::TRACE_PART, &body).unwrap();
        write_frame(&mut stream, second.0, second.1).unwrap();
        let read = Reply::receive(&mut stream.as_slice());
        assert_eq!(read.is_ok(), is_fine, "{read:?}");
    }
    let mut endless = Vec::new();
    for _ in 0..Trace::MAX {
        write_frame(&mut endless, FrameKind::TRACE_PART, &body).unwrap();
    }
    let mut rest = endless.as_slice();
    assert!(Reply::receive(&mut rest).is_err() && !rest.is_empty());
}

#[test]
fn an_unknown_request_is_an_error_and_no_more() {
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameKind::REQUEST, &[250, 1, 2, 3]).unwrap();
    let error = Request::receive(&mut frame.as_slice()).unwrap_err();
    assert!(matches!(error, ProtocolError::Malformed { .. }), "{error}");
}

#[test]
fn long_names_are_cut_between_characters() {
    let long = Hello {
        name: "ä".repeat(200),
        ..hello()
    };
    let read = Hello::decode(&long.encode()).unwrap();
    assert_eq!(read.name, "ä".repeat(127));
}
