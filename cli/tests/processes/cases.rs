//! Faults from public bug reports, in services that know nothing of rtops, have the
//! agent, or use its wrappers: the first screen of `rtops stack` has the right
//! verdict and the lines that an operator needs.

use std::{fs, path::Path, sync::Arc, time::Instant};

use serde_json::Value;
use tempfile::tempdir;

use crate::{
    common::built,
    source::Marks,
    support::{DEADLINE, Target, eventually},
};

/// The number of lines that people read first.
const FIRST_LINES: usize = 10;
const VARIANTS: [&str; 3] = ["bare", "plain", "wrapped"];

fn start(case: &str, variant: &str) -> Target {
    let directory = Arc::new(tempdir().unwrap());
    Target::start_in(directory, &built("cases"), &[case, variant])
}

/// Returns the faults that a look shows.
fn faults(target: &Target) -> Vec<String> {
    let run = target.rtops(&["stack", &target.pid.to_string(), "--json"]);
    let document: Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let verdicts = document["verdicts"]["verdicts"].as_array().unwrap().iter();
    let faults = verdicts.map(|verdict| verdict["fault"].as_str().unwrap().to_owned());
    faults.collect()
}

/// Returns `file:line` of each line that has this mark in a case.
fn marked(case: &str, name: &str) -> Vec<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/testbed/src/cases");
    let text = fs::read_to_string(sources.join(case).with_extension("rs")).unwrap();
    let marks = Marks::signed(&text, &format!("cases/{case}.rs"), "// STUCK ");
    let marks = marks.of(&format!("{name}:")).iter();
    marks
        .map(|mark| format!("{}:{}", mark.file, mark.line))
        .collect()
}

/// Asserts that the first screen of each variant eventually shows this fault and the marked lines.
#[track_caller]
fn shows(case: &str, variants: &[&str], fault: &str, marks: &[&str]) {
    let targets: Vec<_> = variants
        .iter()
        .map(|variant| (variant, start(case, variant)))
        .collect();
    for (variant, target) in targets {
        let deadline = Instant::now() + DEADLINE;
        let missing = loop {
            let text = target.stack_text(&[]);
            let first: Vec<&str> = text.lines().take(FIRST_LINES).collect();
            let first = first.join("\n");
            let is_told = |mark: &&str| marked(case, mark).iter().any(|line| first.contains(line));
            let missing = marks.iter().find(|mark| !is_told(mark));
            let has_fault = first.contains(&format!("\n{fault}: "));
            match missing {
                None if has_fault => break None,
                _ if Instant::now() > deadline => break Some((missing, text)),
                _ => {}
            }
        };
        assert_eq!(missing, None, "{case} {variant}: {fault}");
    }
}

#[test]
fn full_channels_in_a_ring() {
    shows("actor_cycle", &VARIANTS, "deadlock", &["router", "storage"]);
}

#[test]
fn a_blocking_pool_that_waits_for_itself() {
    shows("blocking_nested", &VARIANTS, "deadlock", &["read_vector"]);
}

#[test]
fn a_pool_that_is_held_by_futures_nobody_polls() {
    shows("buffered_pool", &VARIANTS, "deadlock", &["job"]);
}

#[test]
fn a_block_on_without_a_budget() {
    shows("coop_block_on", &VARIANTS, "livelock", &["work"]);
}

#[test]
fn a_guard_that_is_kept_while_the_only_worker_is_blocked() {
    shows(
        "dashmap_guard",
        &VARIANTS,
        "deadlock",
        &["list_watch", "notify_change"],
    );
}

#[test]
fn a_lock_that_was_handed_to_a_future_nobody_polls() {
    shows("futurelock", &VARIANTS, "deadlock", &["session"]);
}

#[test]
fn a_woken_task_behind_a_poll_that_does_not_yield() {
    shows(
        "lifo_slot",
        &VARIANTS,
        "blocked worker",
        &["writer", "reader"],
    );
}

#[test]
fn a_future_that_forgets_its_waker() {
    shows("poll_recreates", &["bare"], "never", &["client"]);
    // The agent keeps a waker of a wrapped task.
    shows("poll_recreates", &["wrapped"], "lost wake-up", &["client"]);
}

#[test]
fn a_runtime_that_is_dropped_and_waits() {
    shows(
        "shutdown_in_place",
        &VARIANTS,
        "shutdown waits",
        &["main", "commit"],
    );
}

#[test]
fn a_thread_that_is_blocked_by_its_own_task() {
    shows("std_mutex_select", &VARIANTS, "deadlock", &["controller"]);
}

#[test]
fn permits_that_are_held_by_those_without_work() {
    shows(
        "tower_ready",
        &VARIANTS,
        "exhausted",
        &["waiting", "reserved"],
    );
}

#[test]
fn spans_that_nobody_polls() {
    shows(
        "unpolled_span",
        &["wrapped"],
        "deadlock",
        &["session", "job"],
    );
}

#[test]
fn a_future_that_is_polled_all_the_time() {
    shows("busy_wake", &VARIANTS, "livelock", &["drain_stderr"]);
}

#[test]
fn a_task_that_has_both_ends_of_a_channel() {
    // Not if it is tracked: its agent has a waker, too, so which of the
    // two places it waits at is unknown.
    let untracked = &["bare", "plain"];
    shows(
        "own_channel",
        untracked,
        "deadlock",
        &["collect", "confirm"],
    );
}

#[test]
fn tasks_that_wait_for_each_others_messages() {
    shows("broadcast_ring", &VARIANTS, "deadlock", &["answer"]);
}

#[test]
fn a_worker_that_is_blocked_while_nobody_waits_for_it() {
    shows("blocked_alone", &VARIANTS, "blocked worker", &["handler"]);
}

#[test]
fn tasks_whose_threads_wait_for_each_others_locks() {
    shows("std_circle", &VARIANTS, "deadlock", &["debit", "credit"]);
    let target = start("std_circle", "bare");
    let is_told = || faults(&target) == ["deadlock"];
    eventually("it is one fault", is_told);
}

#[test]
fn a_lock_whose_holder_runs_elsewhere_is_no_deadlock() {
    for variant in VARIANTS {
        let target = start("std_contended", variant);
        // One worker of four waits; it may be reported as long as it does.
        for _ in 0..5 {
            let faults = faults(&target);
            assert!(
                faults.iter().all(|fault| fault == "blocked worker"),
                "{variant}: {faults:?}"
            );
        }
    }
}

#[test]
fn a_guard_that_main_holds_while_it_waits_for_a_task() {
    shows("block_on_guard", &VARIANTS, "deadlock", &["serve", "flush"]);
}

#[test]
fn a_sender_that_main_keeps_while_it_waits_for_the_receiver() {
    shows(
        "block_on_sender",
        &VARIANTS,
        "deadlock",
        &["serve", "print"],
    );
}

#[test]
fn a_thread_inside_block_on_and_a_task_with_each_others_locks() {
    shows(
        "block_on_circle",
        &VARIANTS,
        "deadlock",
        &["transfer", "settle"],
    );
}

#[test]
fn guards_of_its_own_that_a_task_waits_behind() {
    shows("rwlock_upgrade", &VARIANTS, "deadlock", &["update"]);
    shows(
        "rwlock_twice",
        &VARIANTS,
        "deadlock",
        &["report", "refresh"],
    );
}

#[test]
fn a_guard_that_is_kept_while_a_set_of_tasks_is_joined() {
    shows(
        "join_under_lock",
        &VARIANTS,
        "deadlock",
        &["import", "part"],
    );
}

#[test]
fn a_cell_that_is_needed_to_fill_it() {
    shows("once_cycle", &VARIANTS, "deadlock", &["config", "read"]);
}

#[test]
fn a_pool_that_is_exhausted_by_those_who_want_more_of_it() {
    shows("pool_twice", &VARIANTS, "exhausted", &["copy"]);
}

#[test]
fn a_permit_that_a_future_of_the_same_task_has() {
    shows("buffered_alone", &VARIANTS, "exhausted", &["pack"]);
}

#[test]
fn tasks_that_wait_for_what_nobody_else_has() {
    shows("forsaken", &VARIANTS, "never", &["shard", "watch"]);
}

#[test]
fn what_goes_on_well_is_no_fault() {
    for case in ["healthy_kept", "healthy_channels", "healthy_locks"] {
        for variant in VARIANTS {
            let target = start(case, variant);
            for _ in 0..3 {
                assert_eq!(faults(&target), Vec::<String>::new(), "{case} {variant}");
            }
        }
    }
}

#[test]
fn whose_age_is_not_known_is_said() {
    for (variant, said) in [
        ("bare", "\nages are unknown without the agent, so "),
        ("plain", "\nages of untracked tasks are unknown, so "),
    ] {
        let text = start("healthy_kept", variant).stack_text(&[]);
        assert!(text.contains(said), "{variant}: {text}");
    }
}

#[test]
fn what_is_no_fault_by_itself_deserves_a_look() {
    for (case, variant, told) in [
        ("half_close", "bare", "half-closed: "),
        (
            "joinset_unreaped",
            "bare",
            "ended tasks whose results nobody has taken are kept: ",
        ),
    ] {
        let target = start(case, variant);
        let deadline = Instant::now() + DEADLINE;
        let text = loop {
            let text = target.stack_text(&[]);
            let first: Vec<&str> = text.lines().take(FIRST_LINES).collect();
            let first = first.join("\n");
            if first.contains(told) || Instant::now() > deadline {
                break first;
            }
        };
        assert!(text.contains(told), "{case} {variant}: {text}");
    }
}

#[test]
fn a_task_that_gives_others_a_turn_has_no_children() {
    let target = start("busy_yield", "bare");
    let waits = |text: &str| text.contains("wait_until [yield]");
    // At other moments it is woken, or runs.
    let mut text = String::new();
    eventually("it is seen while it waits for its turn", || {
        text = target.stack_text(&[]);
        waits(&text)
    });
    assert!(!text.contains("children"), "{text}");
}

#[test]
fn of_many_children_all_are_counted_or_it_is_said_that_there_are_more() {
    let target = start("healthy_sets", "bare");
    let joined = |children: &str| {
        let mut words = children.split_whitespace().rev();
        words.find_map(|word| word.parse::<usize>().ok())
    };
    assert_eq!(faults(&target), Vec::<String>::new());
    let mut text = String::new();
    eventually("both sets are joined", || {
        text = target.stack_text(&[]);
        text.matches(" children: ").count() == 2
    });
    for children in text.split(" children: ").take(2) {
        let count = joined(children);
        let is_partial = children.ends_with(&format!("at least {}", count.unwrap_or(0)));
        assert!(count == Some(300) || is_partial, "{text}");
    }
    assert!(
        text.contains("block_on future cases::healthy_sets::run"),
        "{text}"
    );
}

#[test]
fn a_watch_tells_what_one_look_does_not() {
    for (case, variant, told) in [
        ("joinset_unreaped", "bare", "results not taken: "),
        ("half_close", "plain", "cases/half_close.rs:51"),
        ("busy_yield", "bare", "spinning: "),
        ("undriven_local", "bare", "nobody drives its executor"),
    ] {
        let target = start(case, variant);
        let pid = target.pid.to_string();
        let deadline = Instant::now() + DEADLINE;
        let text = loop {
            let text = target
                .rtops(&["leaks", &pid, "--for", "4s", "--every", "1s"])
                .stdout;
            if text.contains(told) || Instant::now() > deadline {
                break text;
            }
        };
        assert!(text.contains(told), "{case} {variant}: {text}");
    }
}

#[test]
fn what_one_look_told_stands_after_a_watch() {
    let target = start("blocked_alone", "bare");
    let told = "blocked worker: ";
    eventually("one look tells it", || {
        target.stack_text(&[]).contains(told)
    });
    let pid = target.pid.to_string();
    let watch = target.rtops(&["leaks", &pid, "--for", "2s"]).stdout;
    assert!(watch.contains(told), "{watch}");
    for wrong in ["no longer", "spinning"] {
        assert!(!watch.contains(wrong), "{watch}");
    }
}
