//! Threads, stacks and modules of a joined dump.

use rtops_protocol::{Module, ModuleKind};

use super::*;
use crate::dump::fixtures::{of_agent, on, thread};

#[test]
fn threads_are_those_that_were_read_with_what_the_agent_knows_of_them() {
    let told = vec![
        of_agent(1, "main"),
        Thread {
            capture: ThreadCapture::Agent,
            ..of_agent(2, "rtops")
        },
        of_agent(3, "worker"),
        of_agent(4, "late"),
        // It appeared later.
        of_agent(9, "new"),
    ];
    let read = vec![
        thread(1, Some("main"), on(0)),
        thread(2, Some("rtops"), on(1)),
        // It has gone on since.
        Thread {
            state: Some('R'),
            syscall: None,
            ..thread(3, Some("worker"), on(1))
        },
        // It had no name yet when the threads were read.
        thread(4, None, ThreadCapture::Absent),
        thread(5, Some(CLIENT_THREAD), on(1)),
        thread(6, Some("unknown"), on(1)),
    ];
    let dump = receive(vec![
        Reply::Threads(told),
        head(),
        Reply::Stacks(Stacks(vec![vec![0x71], vec![0x72]])),
        Reply::Threads(read),
        end(),
    ])
    .unwrap();
    let joined = |tid, name: &str, capture| Thread {
        capture,
        ..of_agent(tid, name)
    };
    assert_eq!(
        dump.threads,
        [
            joined(1, "main", on(0)),
            joined(2, "rtops", ThreadCapture::Agent),
            Thread {
                state: Some('R'),
                wchan: None,
                syscall: None,
                ..joined(3, "worker", on(1))
            },
            joined(4, "late", ThreadCapture::Absent),
            thread(6, Some("unknown"), on(1)),
        ]
    );
}

#[test]
fn stacks_behind_the_head_are_numbered_anew() {
    let found = Found {
        leaves: untracked(0, POLL, &[1]).leaves,
        ..idle()
    };
    let replies = |last: u32| {
        vec![
            Reply::Stacks(Stacks(vec![vec![0x61], vec![0x62], vec![0x63]])),
            Reply::Tasks(vec![Told {
                cell: None,
                ..waiting(1, &[1])
            }]),
            head(),
            Reply::Stacks(Stacks(vec![vec![0x71], vec![0x72]])),
            Reply::Threads(vec![thread(7, None, on(last))]),
            trace(2),
            Reply::Untracked(vec![found.clone()]),
            end(),
        ]
    };
    let dump = receive(replies(0)).unwrap();
    let of_tasks = dump.tasks.iter().map(|task| task.leaves[0].stack);
    let of_threads = dump.threads.iter().map(|thread| match thread.capture {
        ThreadCapture::Stack(leaf) => leaf.stack,
        _ => panic!("{thread:?}"),
    });
    let stacks = of_tasks.chain(of_threads).map(|stack| dump.stack(stack));
    assert_eq!(stacks.collect::<Vec<_>>(), [[0x62], [0x72], [0x71]]);
    // The agent's stacks can't be those that were read.
    for last in [2, u32::MAX - 1, u32::MAX] {
        let failure = receive(replies(last));
        assert!(matches!(failure, Err(Failure::Nonsense(_))));
    }
}

#[test]
fn modules_are_those_that_were_read() {
    let module = |path: &str| Module {
        path: path.to_owned(),
        build_id: Vec::new(),
        load_bias: 0,
        code: 0..9,
        kind: ModuleKind::MainExecutable,
    };
    let modules = |path: &str| Reply::Modules(vec![module(path)]);
    let dump = receive(vec![modules("in/it"), head(), modules("outside"), end()]).unwrap();
    assert_eq!(dump.modules, [module("outside")]);
}

#[test]
fn two_heads_are_refused() {
    let failure = receive(vec![head(), head(), end()]);
    assert!(matches!(failure, Err(Failure::Nonsense(_))));
}

#[test]
fn nothing_is_joined_where_no_agent_was_asked() {
    let Reply::Outside(outside) = head() else {
        panic!();
    };
    let alone = Reply::Outside(Outside {
        agent_told_after_ns: None,
        ..outside
    });
    let tasks = Reply::Untracked(vec![marked(MARK + 1, idle())]);
    let dump = receive(vec![alone, trace(2), tasks, end()]).unwrap();
    assert_eq!(keys(&dump), [FOUND]);
}
