//! `rtops stats`.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    look::look,
    support::{Build, Target, eventually},
    victim::Victim,
};

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
    // Polls for a dump are not counted as polls of the process.
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
    // Half of the tasks are polled to completion, in two polls.
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

/// Returns the lines that begin with a fault.
fn faults(text: &str) -> Vec<&str> {
    let head = text.split("\nprocess\n").next().unwrap();
    head.lines()
        .filter(|line| line.starts_with("never: "))
        .collect()
}

#[test]
fn what_is_wrong_comes_first_in_the_words_of_stack() {
    let target = Target::start(Build::Dev, &["wakerless"]);
    let pid = target.pid.to_string();
    let mut run = target.rtops(&["stats", &pid, "--max-pause=10s"]);
    eventually("the tasks wait", || {
        run = target.rtops(&["stats", &pid, "--max-pause=10s"]);
        !faults(&run.stdout).is_empty()
    });
    let stack = target.stack_text(&["--max-pause=10s"]);
    assert_eq!(faults(&run.stdout), faults(&stack), "{run}");
    let first = |text: &str| text.lines().next().unwrap().to_owned();
    assert_eq!(first(&run.stdout), first(&stack), "{run}");
    let run = target.rtops(&["stats", &pid, "--max-pause=10s", "--json"]);
    let stats: Value = run.json();
    let mut verdicts = stats["verdicts"]["verdicts"].as_array().unwrap().iter();
    assert!(verdicts.any(|verdict| verdict["fault"] == "never"), "{run}");
}

#[test]
fn what_no_agent_counts_is_absent() {
    let victim = Victim::start(Build::Dev.path(), &["herd", "10"]).quiet();
    let stats: Value = look(&["stats"], victim.pid(), &["--json"]).success().json();
    assert_eq!(stats["tasks"]["total"], 10, "{stats:#}");
    assert_eq!(stats["process"]["agent_version"], Value::Null);
    assert!(stats["process"]["rss_bytes"].as_u64().unwrap() > 0);
    let counted = [
        "tracked",
        "alive",
        "spans",
        "running",
        "spawned",
        "finished",
        "polls",
        "polls_per_second",
    ];
    for field in counted {
        assert_eq!(stats["tasks"][field], Value::Null, "{field} in {stats:#}");
    }
    let run = look(&["stats"], victim.pid(), &[]).success();
    assert!(run.stdout.contains("\ntasks by type\n"), "{run}");
    for absent in ["tracked ", "polls", "global queue", "\n  agent"] {
        assert!(!run.stdout.contains(absent), "{absent} in {run}");
    }
    let watch = ["--watch=100ms", "--count=2", "--json"];
    let run = look(&["stats"], victim.pid(), &watch).success();
    let mut lines = run.stdout.lines();
    let first: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(first["tasks"]["tracked"], Value::Null, "{run}");
    assert!(first["process"]["cpu_share"].is_number(), "{run}");
    let types = first["look"]["types"].as_array().unwrap();
    let tasks = types.iter().filter(|of_type| of_type["kind"] == "task");
    assert_eq!(
        tasks.map(|it| it["count"].as_u64().unwrap()).sum::<u64>(),
        10
    );
    // The process is frozen only now and then.
    let second: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(second["look"], Value::Null, "{run}");
}

#[test]
fn runtimes_that_no_agent_knows_are_seen() {
    let victim = Victim::start(Build::Dev.path(), &["two-runtimes"]).quiet();
    let run = look(&["stats"], victim.pid(), &["--json"]).success();
    let stats: Value = run.json();
    let runtimes = stats["runtimes"].as_array().unwrap();
    let told = |runtime: &Value| {
        let threads = runtime["worker_threads"].as_object().unwrap();
        let workers: u64 = threads.values().map(|count| count.as_u64().unwrap()).sum();
        let flavor = runtime["flavor"].as_str().unwrap().to_owned();
        assert_eq!(
            (&runtime["alive_tasks"], &runtime["workers"]),
            (&Value::Null, &Value::Null)
        );
        (flavor, (workers, runtime["tasks"].as_u64().unwrap()))
    };
    let told: BTreeMap<_, _> = runtimes.iter().map(told).collect();
    let expected = ["current thread", "multi thread"].map(|flavor| (flavor.to_owned(), (1, 1)));
    assert_eq!(told, BTreeMap::from(expected), "{run}");

    // Runtimes that an agent knows are listed only once.
    let target = Target::start(Build::Dev, &["two-runtimes"]);
    let run = target
        .rtops(&["stats", "targets", "--max-pause=10s"])
        .success();
    for name in ["front", "back"] {
        assert!(
            run.stdout.contains(&format!("runtime \"{name}\"\n")),
            "{run}"
        );
    }
    assert_eq!(run.stdout.matches("\nruntime ").count(), 2, "{run}");
}

#[test]
fn who_watches_sees_which_tasks_came_and_went() {
    let target = Target::start(Build::Dev, &["churn"]);
    let pid = target.pid.to_string();
    let arguments = ["stats", &pid, "--watch=500ms", "--json", "--max-pause=10s"];
    let mut watch = target
        .command_line(&arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let looks = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut looks = looks.filter(|line| !line["look"].is_null());
    let first = looks.next().unwrap();
    assert_eq!(first["look"]["since_last"], Value::Null, "{first:#}");
    let second = looks.next().unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    for since in ["since_last", "since_first"] {
        let moved = second["look"][since].as_array().unwrap();
        let is_such = |of_type: &Value| {
            of_type["came"].as_u64().unwrap() > 0 && of_type["went"].as_u64().unwrap() > 0
        };
        assert!(moved.iter().any(is_such), "{second:#}");
    }
}
