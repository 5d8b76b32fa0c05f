//! Dumps of core files: many tasks with few traces.

use super::*;
use crate::frames::fixtures::traced;

fn dump(mut replies: Vec<Reply>) -> Dump {
    replies.push(end());
    receive(replies).unwrap()
}

#[test]
fn a_hundred_thousand_tasks_that_share_three_traces_are_two_groups() {
    // Two of the polls look alike: they reached the same line in different ways.
    let traces = [vec![1, 2], vec![1, 3], vec![1, 3, 2]];
    let mut replies: Vec<Reply> = traces
        .into_iter()
        .map(|ips| poll(TraceOrder::LastRun, ips.into_iter()))
        .collect();
    let tasks: Vec<Untracked> = (0..100_000)
        .map(|number| polled(number, FoundBy::Steps, u32::try_from(number % 3).unwrap()))
        .collect();
    replies.extend(
        tasks
            .chunks(1024)
            .map(|tasks| Reply::Untracked(tasks.to_vec())),
    );
    let dump = dump(replies);
    let frames = with_futures(traced(&CODE), &futures());
    let groups = groups(&dump, &frames);
    let sizes = groups.iter().map(|group| {
        let [chain] = group.chains.as_slice() else {
            panic!("{:?}", group.chains);
        };
        let place = frames.get(chain.links[0].frame).unwrap().place.as_ref();
        (group.tasks.len(), place.unwrap().line)
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [(66_667, 12), (33_333, 13)]);
    assert!(groups.iter().all(|group| group.is_stepped));
}

#[test]
fn a_poll_of_more_visits_than_a_frame_holds_shows_where_its_task_waits() {
    let long = (100..87_100).chain([1, 2]);
    let mut bytes = Vec::new();
    poll(TraceOrder::LastRun, long).send(&mut bytes).unwrap();
    Reply::Untracked(vec![polled(1, FoundBy::Steps, 0)])
        .send(&mut bytes)
        .unwrap();
    end().send(&mut bytes).unwrap();
    let mut bytes = bytes.as_slice();
    let dump = Dump::receive(|| Reply::receive(&mut bytes)).unwrap();
    assert_eq!(dump.traces[0].visits.len(), 87_002);
    let frames = with_futures(traced(&CODE), &futures());
    let groups = groups(&dump, &frames);
    let [chain] = groups[0].chains.as_slice() else {
        panic!("{groups:?}");
    };
    let frame = frames.get(chain.links[0].frame).unwrap();
    assert_eq!((&*frame.name, chain.incomplete), ("app::serve", None));
}
