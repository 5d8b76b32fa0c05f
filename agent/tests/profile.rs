//! Profiles of the tasks of this process.
//!
//! A profile covers the whole process, so the tests take turns.
#![allow(clippy::unwrap_used)]

use std::{
    future::pending,
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rtops_agent::{
    Options, Track,
    profile::{self, ProfileError, Text},
    task_count,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, oneshot},
    task::yield_now,
    time::sleep,
};

const DEADLINE: Duration = Duration::from_secs(60);

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(text: Text) -> String {
    let mut bytes = Vec::new();
    profile::tasks().write_text(text, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn workers() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a block of the text for each task with this name.
fn blocks<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let name = format!("\"{name}\"");
    let blocks = text.split("\n\n").filter(|block| block.contains(&name));
    blocks.collect()
}

async fn receives() {
    let (_sender, receiver) = oneshot::channel::<()>();
    receiver.await.ok();
}

async fn sleeps() {
    sleep(DEADLINE * 60).await;
}

#[test]
fn equal_tasks_are_counted_together() {
    let _turn = turn();
    let runtime = workers();
    for _ in 0..7 {
        runtime.spawn(receives().tracked("receives"));
    }
    runtime.spawn(sleeps().tracked("sleeps"));
    let seen = || {
        let text = text(Text::Grouped);
        text.contains("\n7 @ 0x") && blocks(&text, "sleeps").len() == 1
    };
    eventually("all tasks wait", seen);
    let text = text(Text::Grouped);
    assert_eq!(task_count(), 8);
    assert!(
        text.starts_with("goroutine profile: total 8\n7 @ 0x"),
        "{text}"
    );
    let [receives] = *blocks(&text, "receives") else {
        panic!("{text}")
    };
    let lines: Vec<&str> = receives.lines().collect();
    assert!(lines[2].contains("\"state\":\"oneshot receive\""), "{text}");
    assert!(
        lines[3].contains("\ttokio::sync::oneshot::Receiver::poll+0x"),
        "{text}"
    );
    assert!(lines[4].contains("\tprofile::receives+0x"), "{text}");
    assert!(lines[4].contains("agent/tests/profile.rs:"), "{text}");
}

#[test]
fn each_task_tells_who_spawned_it() {
    let _turn = turn();
    let runtime = workers();
    let spawning = async {
        tokio::spawn(sleeps().tracked("child"));
        pending::<()>().await;
    };
    let parent = async { spawning.tracked("span of the parent").await };
    runtime.spawn(parent.tracked("parent"));
    let mut text = String::new();
    eventually("both wait", || {
        text = self::text(Text::Each);
        text.contains("[sleep]:") && text.contains("[never]:")
    });
    let heads = text.lines().filter(|line| line.starts_with("goroutine "));
    assert_eq!(heads.count(), 2, "{text}");
    let child = blocks(&text, "child")[0];
    let parent = text
        .split("\n\n")
        .find(|block| !block.contains("\"child\""));
    let parent = parent.unwrap().lines().next().unwrap();
    let number = parent.split(' ').nth(1).unwrap();
    let creator = format!("\ncreated by \"parent\" in goroutine {number}\n");
    assert!(child.contains(&creator), "{text}");
    assert!(child.contains("\nprofile::sleeps(...)\n\t"), "{text}");
    assert!(
        child.contains("[sleep]:\ntokio::time::sleep::Sleep::poll(...)\n\t"),
        "{text}"
    );
}

/// The only thread of a runtime waits for the profile, so none is left to poll the tasks.
#[test]
fn a_runtime_that_is_blocked_by_its_profile_is_no_deadlock() {
    let _turn = turn();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(async {
        for _ in 0..3 {
            tokio::spawn(receives().tracked("stuck"));
        }
        yield_now().await;
        text(Text::Grouped)
    });
    assert!(
        text.starts_with("goroutine profile: total 3\n3 @ 0x0\n"),
        "{text}"
    );
    assert!(text.contains("\"state\":\"starved\""), "{text}");
    assert!(
        text.contains("#\t0x0\t(woken, but no thread polls it)+0x0\t"),
        "{text}"
    );
}

#[test]
fn a_task_that_asks_is_seen_where_it_asks() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    Options::new().directory(directory.path()).start().unwrap();
    let runtime = workers();
    // A thread that does not get to run in time is left out.
    eventually("its stack is there", || {
        let asking = async { text(Text::Grouped) };
        let asked = runtime.spawn(asking.tracked("asks"));
        let text = runtime.block_on(asked).unwrap();
        let asks = blocks(&text, "asks")[0];
        assert!(asks.contains("\"state\":\"running\""), "{text}");
        asks.contains("\tprofile::text+0x")
    });
    rtops_agent::stop();
}

#[test]
fn a_task_that_runs_is_counted_without_an_agent_too() {
    let _turn = turn();
    let runtime = workers();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    runtime.spawn(async move { stopped.recv().ok() }.tracked("runs"));
    let seen = || text(Text::Grouped).contains("(running on thread ");
    eventually("it runs", seen);
    drop(stop);
}

#[test]
fn a_short_timeout_gives_what_there_is() {
    let _turn = turn();
    let runtime = workers();
    static NONE: Semaphore = Semaphore::const_new(0);
    for _ in 0..2000 {
        runtime.spawn(async { drop(NONE.acquire().await) }.tracked("waits"));
    }
    // A task that was never polled can't be asked.
    eventually("all wait", || text(Text::Grouped).contains("\n2000 @ 0x"));
    let mut bytes = Vec::new();
    let tasks = profile::tasks().timeout(Duration::ZERO);
    tasks.write_text(Text::Grouped, &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.starts_with("goroutine profile: total 2000\n"),
        "{text}"
    );
    assert!(
        text.contains("\n# incomplete: there was no time to ask "),
        "{text}"
    );
}

#[test]
fn profiles_at_once_are_taken_one_after_the_other() {
    let _turn = turn();
    let runtime = workers();
    runtime.spawn(sleeps().tracked("sleeps"));
    eventually("it waits", || text(Text::Grouped).contains("\"sleep\""));
    let asked: Vec<_> = (0..4)
        .map(|_| thread::spawn(|| text(Text::Grouped)))
        .collect();
    for asked in asked {
        let text = asked.join().unwrap();
        assert!(text.contains("\tprofile::sleeps+0x"), "{text}");
    }
}

#[test]
fn a_writer_that_fails_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let _turn = turn();
    let full = |result| matches!(result, Err(ProfileError::Write(error)) if error.kind() == io::ErrorKind::StorageFull);
    assert!(full(profile::tasks().write_pprof(&mut Full)));
    assert!(full(profile::tasks().write_text(Text::Grouped, &mut Full)));
}
