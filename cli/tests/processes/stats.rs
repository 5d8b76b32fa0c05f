//! `rtops stats`.

use serde::Deserialize;

use crate::support::{Build, Target};

#[derive(Debug, Deserialize)]
struct Stats {
    process: Process,
    tasks: Tasks,
    runtimes: Vec<Runtime>,
}

#[derive(Debug, Deserialize)]
struct Process {
    pid: i32,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Tasks {
    tracked: u64,
    alive: u64,
    spawned: u64,
    finished: u64,
    polls: u64,
    polls_per_second: f64,
    finished_per_second: f64,
}

#[derive(Debug, Deserialize)]
struct Runtime {
    name: String,
    alive_tasks: u64,
    workers: Vec<Worker>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    busy_share: f64,
}

fn stats(target: &Target) -> Stats {
    let pid = target.pid.to_string();
    let run = target.rtops(&["stats", &pid, "--json"]).success();
    run.json()
}

#[test]
fn the_counters_of_a_resting_process_are_exact() {
    let target = Target::start(Build::Dev, &["herd", "30"]);
    let stats = stats(&target);
    assert_eq!(
        (stats.process.pid, &*stats.process.name),
        (target.pid, "targets")
    );
    let tasks = &stats.tasks;
    assert_eq!((tasks.tracked, tasks.alive), (30, 30));
    assert_eq!((tasks.spawned, tasks.finished, tasks.polls), (30, 0, 30));
    assert!(tasks.polls_per_second == 0.0 && tasks.finished_per_second == 0.0);
    let [runtime] = &stats.runtimes[..] else {
        panic!("{stats:#?}");
    };
    assert_eq!((&*runtime.name, runtime.alive_tasks), ("tokio", 30));
    assert_eq!(runtime.workers.len(), 2);
    // A dump is not a poll of the process's own.
    target.stack(&["--tasks"]);
    assert_eq!(self::stats(&target).tasks.polls, 30);
}

#[test]
fn the_rates_of_a_busy_process_are_plausible() {
    let target = Target::start(Build::Dev, &["churn"]);
    let Stats {
        tasks, runtimes, ..
    } = stats(&target);
    assert!(tasks.tracked >= 8, "{tasks:#?}");
    assert!(
        tasks.spawned > tasks.finished && tasks.finished > 0,
        "{tasks:#?}"
    );
    // Half of the tasks are polled to their end, in two polls.
    assert!(tasks.finished_per_second > 0.0, "{tasks:#?}");
    assert!(
        tasks.polls_per_second > tasks.finished_per_second / 2.0,
        "{tasks:#?}"
    );
    let busy = runtimes.iter().flat_map(|runtime| &runtime.workers);
    let busy: f64 = busy.map(|worker| worker.busy_share).sum();
    assert!(busy > 0.0 && busy <= 2.0, "{runtimes:#?}");
    let pid = target.pid.to_string();
    let text = target.rtops(&["stats", &pid]).success().stdout;
    for section in ["process", "tasks", "runtime \"tokio\""] {
        assert!(text.lines().any(|line| line == section), "{text}");
    }
}
