//! What is shown of the places where memory says that tasks wait, and of the spans around them.

use rtops_protocol::{StringId, Strings, TraceOrder};

use super::*;
use crate::{
    chains::Chains,
    dump::fixtures::poll,
    frame::FrameKind,
    frames::{
        Frames,
        fixtures::{frames_with_spans, with_code},
    },
    spans::Spans,
};

const POLL: &str = "rtops_tasks::tracked::poll_ordinary rtops_tasks::tracked::Tracked::poll";

/// Makes a dump of tasks that wait in one tokio task: in these stacks, each
/// inside a tracked future.
fn placed(told: Vec<Told>, stacks: &[&str], places: &[(u32, u64)], more: Found) -> (Dump, Frames) {
    let addresses = stacks.iter().zip(1..);
    let addresses = addresses.map(|(names, first)| {
        let names = names.split(' ').zip(0x100 * first..);
        names.map(|(_, address)| address).collect()
    });
    let names = ["outer", "inner", "other"].map(str::to_owned);
    let dump = receive(vec![
        Reply::Strings(Strings(names.to_vec())),
        Reply::Tasks(told),
        head(),
        Reply::Stacks(Stacks(addresses.collect())),
        poll(TraceOrder::LastRun, 1..3),
        Reply::Untracked(vec![Found {
            wakers: 9,
            ..waits_at(places, more)
        }]),
        end(),
    ])
    .unwrap();
    let frames = frames_with_spans(stacks, &dump);
    (dump, frames)
}

fn span(id: u64, parent: u64, name: u32) -> Told {
    Told {
        parent,
        kind: TaskKind::Span,
        name: StringId(name),
        ..waiting(id, &[])
    }
}

/// Makes spans 2 and 4 in task 1, and span 3 in span 2.
fn nested() -> Vec<Told> {
    vec![waiting(1, &[]), span(2, 1, 1), span(3, 2, 2), span(4, 1, 3)]
}

/// Returns the chains of a task without the agent's own frames.
fn chains(dump: &Dump, frames: &Frames, task: u64) -> Vec<String> {
    let spans = Spans::of(dump);
    let mut tasks = dump.tasks.iter();
    let task = tasks.find(|it| it.key == TaskKey::Tracked(task)).unwrap();
    let chains = Chains::new(dump, frames).of_task(task, &spans);
    let shown = chains.iter().map(|chain| {
        let links = chain.links.iter();
        let names = links.filter_map(|link| {
            let frame = frames.get(link.frame).unwrap();
            match frame.kind {
                FrameKind::Span => Some(format!("<{}>", frame.name)),
                FrameKind::Code if frame.name.starts_with("rtops_tasks::") => None,
                FrameKind::Code => Some(frame.name.clone()),
            }
        });
        names.collect::<Vec<_>>().join(" ")
    });
    let mut shown: Vec<String> = shown.collect();
    shown.sort_unstable();
    shown
}

/// Returns what is shown of a task with nested spans.
fn shown(stacks: &[&str], places: &[(u32, u64)]) -> Vec<String> {
    let found = Found {
        trace: None,
        ..idle()
    };
    let (dump, frames) = placed(nested(), stacks, places, found);
    chains(&dump, &frames, 1)
}

#[test]
fn spans_stand_around_what_is_polled_inside_of_them() {
    let nested = format!("recv fetch {POLL} retry {POLL} serve {POLL}");
    let beside = format!("sleep {POLL} serve {POLL}");
    let own = format!("recv serve {POLL}");
    let stacks = [&*nested, &*beside, &*own];
    assert_eq!(
        shown(&stacks, &[(0, 3), (1, 4), (2, 1)]),
        [
            "recv fetch <inner> retry <outer> serve",
            "recv serve",
            "sleep <other> serve",
        ]
    );
    // If the innermost future is not a known one, no span is shown.
    for inside in [0, 1, 99] {
        assert_eq!(shown(&stacks, &[(1, inside)]), ["sleep serve"]);
    }
    // Equal stacks are told apart, whatever their order.
    for places in [[(1, 4), (1, 2)], [(1, 2), (1, 4)]] {
        let told = ["sleep <other> serve", "sleep <outer> serve"];
        assert_eq!(shown(&stacks, &places), told);
    }
}

#[test]
fn a_span_is_shown_where_its_task_is_nothing_but_it() {
    let stack = format!("recv fetch {POLL} {POLL}");
    assert_eq!(shown(&[&stack], &[(0, 2)]), ["recv fetch <outer>"]);
    assert_eq!(shown(&[&stack], &[(0, 1)]), ["recv fetch"]);
    // Both polls look like one if it is unknown where the inner one begins.
    let stack = "recv fetch rtops_tasks::tracked::poll_ordinary rtops_tasks::tracked::poll";
    assert_eq!(shown(&[stack], &[(0, 2)]), ["recv fetch <outer>"]);
}

#[test]
fn spans_right_inside_of_each_other_stand_one_inside_of_the_other() {
    let only = format!("recv fetch {POLL} {POLL} {POLL}");
    let further_out = format!("recv fetch {POLL} {POLL} serve {POLL}");
    let further_in = format!("recv fetch {POLL} retry {POLL} {POLL}");
    let stacks = [&*only, &*further_out, &*further_in];
    for (place, told) in [
        (0, "recv fetch <inner> <outer>"),
        (1, "recv fetch <inner> <outer> serve"),
        (2, "recv fetch <inner> retry <outer>"),
    ] {
        assert_eq!(shown(&stacks, &[(place, 3)]), [told]);
    }
}

#[test]
fn what_is_around_a_tracked_future_is_not_its_own() {
    let inside = format!("recv fetch {POLL} serve {POLL} timeout around");
    let stacks = [&*inside, "sleep timeout around"];
    let places = [(0, 2), (1, 0)];
    assert_eq!(shown(&stacks, &places), ["recv fetch <outer> serve"]);
}

#[test]
fn a_place_and_the_poll_that_came_to_it_are_one() {
    const SERVE: &str = "app::serve::{async_fn#0}";
    const AROUND: &str = "app::around::{async_fn#0}";
    let stack = format!("recv {SERVE} {POLL} {AROUND}");
    let (dump, frames) = placed(nested(), &[&stack], &[(0, 1)], idle());
    let tracked = "rtops_tasks::Tracked::poll:1";
    let code = [
        (1, format!("{SERVE}:20 {tracked} {AROUND}:12")),
        (2, format!("{SERVE}:22 {tracked} {AROUND}:12")),
    ];
    let code = code.each_ref().map(|(ip, names)| (*ip, names.as_str()));
    let frames = with_code(frames, &code);
    assert_eq!(dump.tasks[0].trace, Some(TraceId(0)));
    assert_eq!(chains(&dump, &frames, 1), [format!("recv {SERVE}")]);
    // The poll shows only this if nothing was registered.
    let (dump, _) = placed(nested(), &[&stack], &[], idle());
    assert_eq!(chains(&dump, &frames, 1), ["app::serve"]);
}

#[test]
fn each_of_several_parts_of_a_task_shows_what_is_inside_of_it() {
    let told = vec![waiting(1, &[]), waiting(2, &[]), span(3, 2, 2)];
    let first = format!("recv fetch {POLL} join around");
    let second = format!("sleep {POLL} serve {POLL} join around");
    let places = [(0, 1), (1, 3)];
    let (dump, frames) = placed(told, &[&first, &second], &places, idle());
    assert_eq!(chains(&dump, &frames, 1), ["recv fetch"]);
    assert_eq!(chains(&dump, &frames, 2), ["sleep <inner> serve"]);
}
