//! Dumps without modules, so that frames are named by their addresses.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashSet,
    time::{Duration, UNIX_EPOCH},
};

use rtops_protocol::{
    End, Reply, SourceLocation, Stacks, StringId, Strings, Task, TaskKind, TaskState, Thread,
    WakerState,
};
use rtops_report::dump::fixtures::{self, on, receive, thread};
use rtops_symbols::{Options, Symbols};

use super::{Profile, Text, message, proto};

const TID: i32 = 7;
const MINUTE: u64 = 60_000_000_000;

/// Makes a waiting task with the names and places of [`profile`].
fn task(id: u64, name: u32, stacks: &[u32]) -> Task {
    Task {
        future_type: StringId(4),
        site: SourceLocation {
            file: StringId(3),
            line: 20,
            column: 9,
        },
        runtime: StringId(5),
        state: TaskState::Suspended {
            since_ns: id * MINUTE,
        },
        ..fixtures::task(id, name, stacks)
    }
}

fn span(id: u64, parent: u64, name: u32, stacks: &[u32]) -> Task {
    Task {
        kind: TaskKind::Span,
        parent,
        ..task(id, name, stacks)
    }
}

fn profile(tasks: Vec<Task>, names: [&str; 2], gaps: &[&str]) -> Profile {
    let [one, two] = names;
    let texts = [
        one,
        two,
        "src/main.rs",
        "app::serve::{async_fn_env#0}<T>",
        "io",
    ];
    let stacks = [
        vec![0x1001, 0x1010, 0x10ff],
        vec![0x2001, 0x10ff],
        vec![0x3001, 0x3010],
    ];
    let thread = Thread {
        state: Some('R'),
        syscall: None,
        ..thread(TID, Some("worker"), on(2))
    };
    let dump = receive(vec![
        Reply::Strings(Strings(texts.map(str::to_owned).to_vec())),
        Reply::Stacks(Stacks(stacks.to_vec())),
        Reply::Tasks(tasks),
        Reply::Threads(vec![thread]),
        Reply::End(End {
            gaps: gaps.iter().map(|gap| (*gap).to_owned()).collect(),
        }),
    ]);
    let taken = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let dump = dump.unwrap();
    let symbols = Symbols::new(dump.modules.clone(), Options::default());
    Profile::resolve(dump, symbols, taken)
}

/// Makes two tasks that wait alike, one that waits in two places, and one of each other kind.
fn mixed() -> Vec<Task> {
    let mut of_another_runtime = task(8, 1, &[0]);
    of_another_runtime.runtime = StringId(0);
    vec![
        task(1, 1, &[0]),
        task(2, 1, &[0]),
        of_another_runtime,
        Task {
            parent: 1,
            ..task(3, 2, &[1, 0])
        },
        Task {
            waker: WakerState::None,
            name: StringId(0),
            ..task(4, 0, &[])
        },
        Task {
            state: TaskState::Running {
                since_ns: 1,
                tid: TID,
            },
            parent: 6,
            ..task(5, 2, &[])
        },
        span(6, 3, 2, &[2]),
        Task {
            kind: TaskKind::Blocking,
            state: TaskState::New { since_ns: 1 },
            parent: 99,
            ..task(7, 2, &[])
        },
    ]
}

fn text(profile: &Profile, text: Text) -> String {
    let mut bytes = Vec::new();
    profile.write_text(text, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn equal_tasks_are_one_block() {
    let profile = profile(mixed(), ["conn", "flush"], &["no time"]);
    insta::assert_snapshot!(text(&profile, Text::Grouped), @r#"
    goroutine profile: total 7
    2 @ 0x1001 0x1010 0x10ff
    # labels: {"name":"conn", "runtime":"io", "spawned_at":"src/main.rs:20:9", "state":"waiting"}
    #	0x1000	0x1001+0x0	??:0
    #	0x100f	0x1010+0x0	??:0
    #	0x10fe	0x10ff+0x0	??:0

    1 @ 0x1001 0x1010 0x10ff
    # labels: {"name":"conn", "spawned_at":"src/main.rs:20:9", "state":"waiting"}
    #	0x1000	0x1001+0x0	??:0
    #	0x100f	0x1010+0x0	??:0
    #	0x10fe	0x10ff+0x0	??:0

    1 @ 0x0
    # labels: {"runtime":"io", "spawned_at":"src/main.rs:20:9", "state":"never"}
    #	0x0	(no waker is registered, so nothing can wake it)+0x0	src/main.rs:20

    1 @ 0x2001 0x10ff
    # labels: {"name":"flush", "runtime":"io", "spawned_at":"src/main.rs:20:9", "state":"waiting"}
    #	0x2000	0x2001+0x0	??:0
    #	0x10fe	0x10ff+0x0	??:0
    #	0x0	(also waiting at)+0x0	src/main.rs:20
    #	0x1000	0x1001+0x0	??:0
    #	0x100f	0x1010+0x0	??:0
    #	0x10fe	0x10ff+0x0	??:0

    1 @ 0x3002 0x3010
    # labels: {"name":"flush", "runtime":"io", "spawned_at":"src/main.rs:20:9", "state":"running"}
    #	0x3001	0x3001+0x0	??:0
    #	0x300f	0x3010+0x0	??:0

    1 @ 0x0
    # labels: {"kind":"blocking", "name":"flush", "runtime":"io", "spawned_at":"src/main.rs:20:9", "state":"new"}
    #	0x0	(not polled yet)+0x0	src/main.rs:20

    # incomplete: no time
    "#);
}

#[test]
fn single_tasks_read_like_a_panic_of_go() {
    let profile = profile(mixed(), ["conn", "flush"], &["no time"]);
    insta::assert_snapshot!(text(&profile, Text::Each), @r#"
    goroutine 8 [waiting, 8 minutes]:
    0x1001(...)
    	??:0 +0x0
    0x1010(...)
    	??:0 +0x0
    0x10ff(...)
    	??:0 +0x0
    task "conn"(...)
    	src/main.rs:20 +0x0
    created by no tracked task
    	src/main.rs:20 +0x0

    goroutine 4 [never, 4 minutes]:
    (no waker is registered, so nothing can wake it)(...)
    	src/main.rs:20 +0x0
    created by no tracked task
    	src/main.rs:20 +0x0

    goroutine 3 [waiting, 3 minutes]:
    0x2001(...)
    	??:0 +0x0
    0x10ff(...)
    	??:0 +0x0
    (also waiting at)(...)
    	src/main.rs:20 +0x0
    0x1001(...)
    	??:0 +0x0
    0x1010(...)
    	??:0 +0x0
    0x10ff(...)
    	??:0 +0x0
    task "flush"(...)
    	src/main.rs:20 +0x0
    created by "conn" in goroutine 1
    	src/main.rs:20 +0x0

    goroutine 2 [waiting, 2 minutes]:
    0x1001(...)
    	??:0 +0x0
    0x1010(...)
    	??:0 +0x0
    0x10ff(...)
    	??:0 +0x0
    task "conn"(...)
    	src/main.rs:20 +0x0
    created by no tracked task
    	src/main.rs:20 +0x0

    goroutine 1 [waiting, 1 minutes]:
    0x1001(...)
    	??:0 +0x0
    0x1010(...)
    	??:0 +0x0
    0x10ff(...)
    	??:0 +0x0
    task "conn"(...)
    	src/main.rs:20 +0x0
    created by no tracked task
    	src/main.rs:20 +0x0

    goroutine 5 [running]:
    0x3001(...)
    	??:0 +0x0
    0x3010(...)
    	??:0 +0x0
    task "flush"(...)
    	src/main.rs:20 +0x0
    created by "flush" in goroutine 3
    	src/main.rs:20 +0x0

    goroutine 7 [new]:
    (not polled yet)(...)
    	src/main.rs:20 +0x0
    task "flush"(...)
    	src/main.rs:20 +0x0
    created by a task or span that has ended in goroutine 99
    	src/main.rs:20 +0x0

    # incomplete: no time
    "#);
}

/// Names come from the target: none of them may end a line or a quoted text.
#[test]
fn hostile_names_stay_in_their_place() {
    let hostile = "a\"}\n9 @ 0x1\u{1b}[2J\\";
    let profile = profile(mixed(), [hostile, hostile], &[hostile]);
    let mild = self::profile(mixed(), ["a", "a"], &["a"]);
    for which in [Text::Grouped, Text::Each] {
        let (hostile, mild) = (text(&profile, which), text(&mild, which));
        assert_eq!(hostile.lines().count(), mild.lines().count(), "{hostile}");
        assert!(!hostile.contains('\u{1b}'), "{hostile}");
    }
    let quoted = r#""name":"a\"}\n9 @ 0x1\u{1b}[2J\\""#;
    let grouped = text(&profile, Text::Grouped);
    assert!(grouped.contains(quoted), "{grouped}");
    let message = message::message(&profile);
    assert!(
        message
            .string_table
            .iter()
            .all(|text| !text.contains(char::is_control))
    );
}

#[test]
fn a_task_counts_once_and_each_place_where_it_waits() {
    let profile = profile(mixed(), ["conn", "flush"], &[]);
    let message = message::message(&profile);
    let sum = |index: usize| -> i64 {
        let values = message.sample.iter().map(|sample| sample.value[index]);
        values.sum()
    };
    let types = message
        .sample_type
        .iter()
        .map(|value| string(&message, value.r#type));
    assert_eq!(types.collect::<Vec<_>>(), ["tasks", "waits"]);
    // Seven tasks, a second place of one of them, and a span.
    assert_eq!((sum(0), sum(1)), (7, 9));
    assert_eq!(string(&message, message.default_sample_type), "tasks");
    assert_eq!(message.time_nanos, 1_700_000_000_000_000_000);
}

#[test]
fn every_number_in_the_protobuf_names_something() {
    let profile = profile(mixed(), ["conn", "flush"], &["no time"]);
    let message = message::message(&profile);
    assert_eq!(message.string_table[0], "");
    let ids = |ids: Vec<u64>| ids.into_iter().collect::<HashSet<u64>>();
    let functions = ids(message
        .function
        .iter()
        .map(|function| function.id)
        .collect());
    let locations = ids(message
        .location
        .iter()
        .map(|location| location.id)
        .collect());
    assert!(!functions.contains(&0) && functions.len() == message.function.len());
    assert!(!locations.contains(&0) && locations.len() == message.location.len());
    for location in &message.location {
        assert!(!location.line.is_empty());
        assert!(
            location
                .line
                .iter()
                .all(|line| functions.contains(&line.function_id))
        );
    }
    for function in &message.function {
        assert_ne!(string(&message, function.name), "");
        string(&message, function.filename);
    }
    for sample in &message.sample {
        assert!(!sample.location_id.is_empty());
        assert!(sample.location_id.iter().all(|id| locations.contains(id)));
        for label in &sample.label {
            assert_ne!(string(&message, label.key), "");
            assert_ne!(string(&message, label.str), "");
        }
    }
    let comments = message.comment.iter().map(|text| string(&message, *text));
    assert_eq!(comments.collect::<Vec<_>>(), ["incomplete: no time"]);
}

fn string(message: &proto::Profile, number: i64) -> &str {
    &message.string_table[usize::try_from(number).unwrap()]
}

#[test]
fn a_process_without_tasks_has_a_profile() {
    let profile = profile(Vec::new(), ["", ""], &[]);
    assert_eq!(
        text(&profile, Text::Grouped),
        "goroutine profile: total 0\n"
    );
    assert_eq!(text(&profile, Text::Each), "");
    assert_eq!(message::message(&profile).sample, []);
}
