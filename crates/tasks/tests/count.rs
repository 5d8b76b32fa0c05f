//! Counting tasks without looking at each one. The count is for the whole process, so this
//! test is alone in its own.
#![allow(clippy::unwrap_used)]

use std::{future::pending, panic::Location};

use rtops_tasks::{Kind, Track, Tracked, census, task_count, track_blocking};
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
};

/// Checks the count that looks at no task against the one that looks at each.
#[track_caller]
fn expect(tasks: u64, spans: u64) {
    let census = census();
    assert_eq!((census.tasks, census.spans), (tasks, spans));
    assert_eq!(task_count(), tasks);
}

/// Polls every task: one turn of the runtime polls a few dozen.
fn turn(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..100 {
            yield_now().await;
        }
    });
}

#[test]
fn tasks_count_and_spans_do_not() {
    expect(0, 0);
    let runtime = Builder::new_current_thread().build().unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| runtime.spawn(pending::<()>().tracked("inside").tracked("task")))
        .collect();
    // A span is not known to be one before its first poll.
    expect(200, 0);
    turn(&runtime);
    expect(100, 100);

    let born_a_span = Tracked::new(pending::<()>(), None, Kind::Span, Location::caller());
    expect(100, 101);
    drop(born_a_span);
    let blocking = track_blocking(|| (), Some("blocking".into()), Location::caller());
    expect(101, 100);
    drop(blocking);
    expect(100, 100);

    // A span may outlive its task, and end on another thread.
    let (sender, receiver) = std::sync::mpsc::channel();
    let parent = runtime.spawn(
        async move {
            let mut span = Box::pin(pending::<()>().tracked("moved"));
            tokio::select! { biased; () = &mut span => {}, () = yield_now() => {} }
            sender.send(span).unwrap();
        }
        .tracked("parent"),
    );
    runtime.block_on(parent).unwrap();
    let span = receiver.recv().unwrap();
    expect(100, 101);
    std::thread::spawn(move || drop(span)).join().unwrap();
    expect(100, 100);

    for task in tasks {
        task.abort();
    }
    turn(&runtime);
    expect(0, 0);
}
