//! What counts as leaked, where, and what a failure says.
#![allow(clippy::unwrap_used)]

use std::{
    future::pending,
    mem::{ManuallyDrop, forget},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use rtops_leaktest::{Check, ScopeId, Track, check, scope};
use tokio::{
    join,
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    task::{JoinSet, LocalSet, yield_now},
    time::sleep,
};

/// Returns what a failing test says.
fn failure(test: impl FnOnce() + Send + 'static) -> String {
    let panic = thread::spawn(test).join().unwrap_err();
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

#[track_caller]
fn assert_has(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "{part} is not in: {report}");
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// For leaks that stay forever.
fn soon() -> Check {
    Check::new().timeout(Duration::from_millis(20))
}

/// For tasks that end.
fn patient() -> Check {
    Check::new().timeout(Duration::from_secs(60))
}

async fn lasting() {
    let (end, ended) = oneshot::channel::<()>();
    forget(end);
    drop(ended.await);
}

/// Spawns a task, and returns once it has reached its await.
async fn leak(name: &'static str) {
    let (begin, begun) = oneshot::channel();
    let task = async {
        begin.send(()).unwrap();
        lasting().await;
    };
    tokio::spawn(task.tracked(name));
    begun.await.unwrap();
}

#[test]
fn a_scope_finds_what_tasks_of_it_spawn_on_either_runtime() {
    for runtime in [current_thread, multi_thread] {
        let report = failure(move || {
            runtime().block_on(soon().scope(async {
                rtops_agent::spawn(async {
                    yield_now().await;
                    leak("grandchild").await;
                })
                .await
                .unwrap();
            }));
        });
        assert_has(
            &report,
            &[
                "1 task leaked: ",
                "1 task \"grandchild\" [oneshot receive, ",
                "checks::lasting",
                "tests/checks.rs:",
            ],
        );
    }
}

#[test]
fn what_was_there_before_is_none_of_its_business() {
    multi_thread().block_on(async {
        leak("before").await;
        scope(async {}).await;
        check().verify().await;
        drop(check());
    });
}

#[test]
fn a_task_that_ends_in_time_is_no_leak() {
    let later = || async {
        for _ in 0..3 {
            rtops_agent::spawn(sleep(Duration::from_millis(30)));
        }
    };
    current_thread().block_on(patient().scope(later()));
    multi_thread().block_on(patient().scope(later()));
    let runtime = multi_thread();
    let _leaks = patient().guard();
    runtime.block_on(later());
}

#[test]
fn a_scope_gives_the_output_of_its_future() {
    let runtime = current_thread();
    assert_eq!(runtime.block_on(scope(async { 7 })), 7);
    let waits = async {
        rtops_agent::spawn(sleep(Duration::from_millis(5)));
        "seven"
    };
    assert_eq!(runtime.block_on(patient().scope(waits)), "seven");
}

#[test]
fn the_tasks_of_a_join_set_end_with_it() {
    let runtime = current_thread();
    let set = || {
        let mut set = JoinSet::new();
        set.spawn(lasting().tracked("first"));
        set.spawn(lasting().tracked("second"));
        set
    };
    runtime.block_on(patient().scope(async { drop(set()) }));
    let report = failure(move || {
        runtime.block_on(soon().scope(async { forget(set()) }));
    });
    assert_has(&report, &["2 tasks leaked: ", "\"first\"", "\"second\""]);
}

#[test]
fn closures_and_local_tasks_are_found() {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let report = failure(|| {
        // Dropping a runtime waits for its closures.
        let runtime = ManuallyDrop::new(current_thread());
        let in_scope = async {
            tokio::task::spawn_local(lasting().tracked("local"));
            let (begin, begun) = oneshot::channel();
            rtops_agent::spawn_blocking(move || {
                begin.send(()).unwrap();
                ended.recv()
            });
            begun.await.unwrap();
        };
        LocalSet::new().block_on(&runtime, soon().scope(in_scope));
    });
    drop(end);
    assert_has(
        &report,
        &[
            "2 tasks leaked: ",
            "1 task \"local\" [oneshot receive, ",
            "1 blocking task checks::closures_and_local_tasks_are_found",
            "[running for ",
            "checks::closures_and_local_tasks_are_found::{closure}",
        ],
    );
}

#[test]
fn a_task_that_never_leaves_its_poll_shows_its_thread() {
    static END: AtomicBool = AtomicBool::new(false);
    fn spin() {
        while !END.load(SeqCst) {
            thread::yield_now();
        }
    }
    let report = failure(|| {
        // Dropping a runtime waits for polls to end.
        let runtime = ManuallyDrop::new(multi_thread());
        let (begin, begun) = oneshot::channel();
        runtime.block_on(soon().scope(async {
            let spinning = async move {
                begin.send(()).unwrap();
                spin();
            };
            tokio::spawn(spinning.tracked("spins"));
            begun.await.unwrap();
        }));
    });
    END.store(true, SeqCst);
    assert_has(
        &report,
        &[
            "1 task \"spins\" [running for ",
            "::spin ",
            "tests/checks.rs:",
        ],
    );
}

#[test]
fn a_guard_on_a_runtime_that_it_stops_says_so_and_verify_does_not_stop_it() {
    let aborted = || {
        tokio::spawn(lasting().tracked("about to end")).abort();
    };
    current_thread().block_on(async {
        let leaks = patient().guard();
        aborted();
        leaks.verify().await;
    });
    let report = failure(move || {
        current_thread().block_on(async {
            let _leaks = soon().guard();
            aborted();
        });
    });
    assert_has(
        &report,
        &[
            "1 task leaked: ",
            "\"about to end\" [new: not polled yet",
            "leaks.verify().await",
        ],
    );
}

#[test]
fn verify_finds_leaks() {
    let report = failure(|| {
        current_thread().block_on(async {
            let leaks = soon().guard();
            leak("verified").await;
            leaks.verify().await;
        });
    });
    assert_has(&report, &["1 task \"verified\" [oneshot receive, "]);
}

#[test]
fn a_guard_across_an_await_in_a_local_task_is_found_out() {
    let report = failure(|| {
        let local = LocalSet::new();
        let guarded = async {
            let leaks = check();
            yield_now().await;
            drop(leaks);
        };
        let task = local.spawn_local(guarded.tracked("guarded"));
        let panic = local.block_on(&current_thread(), task).unwrap_err();
        std::panic::resume_unwind(panic.into_panic());
    });
    assert_has(&report, &["has lost its scope", "rtops_leaktest::scope"]);
}

#[test]
fn a_thread_can_be_taken_into_the_scope() {
    let in_thread = |is_in_scope: bool| {
        move || {
            let runtime = multi_thread();
            let _leaks = soon().guard();
            let scope = ScopeId::current();
            let handle = runtime.handle().clone();
            let thread = thread::spawn(move || {
                let _entered = is_in_scope.then(|| scope.enter());
                handle.spawn(lasting().tracked("from a thread"));
            });
            thread.join().unwrap();
        }
    };
    in_thread(false)();
    let report = failure(in_thread(true));
    assert_has(&report, &["1 task \"from a thread\" [oneshot receive, "]);
}

#[test]
fn scopes_are_apart_also_where_one_is_inside_the_other() {
    multi_thread().block_on(scope(async {
        let inner = tokio::spawn(soon().scope(async { leak("inner").await })).await;
        let report = inner
            .unwrap_err()
            .into_panic()
            .downcast::<String>()
            .unwrap();
        assert_has(&report, &["1 task \"inner\" ["]);
    }));
    let report = failure(|| {
        multi_thread().block_on(async {
            let one = soon().scope(async { leak("one").await });
            // Its polls take turns with those of the other on one thread.
            let other = scope(async { rtops_agent::spawn(yield_now()).await.unwrap() });
            join!(other, one);
        });
    });
    assert_has(&report, &["1 task leaked: ", "\"one\""]);
}

#[test]
fn what_is_ignored_by_name_function_or_site_may_live_on() {
    async fn reap() {
        lasting().await;
    }
    let spawn_all = || async {
        leak("metrics 1").await;
        tokio::spawn(reap().tracked("reaper"));
        // Whatever is further in, the task is inside the function.
        tokio::spawn(async { join!(reap().tracked("part"), lasting()) }.tracked("joined"));
        leak("metrics 2").await;
        // With one thread, the tasks in between have reached their awaits.
        yield_now().await;
    };
    let ignoring = |check: Check| {
        check
            .ignore_name("metrics*")
            .ignore_function("what_is_ignored_by_name_function_or_site_may_live_on::reap")
    };
    current_thread().block_on(ignoring(patient()).scope(spawn_all()));
    multi_thread().block_on(patient().ignore_site("tests/checks.rs").scope(spawn_all()));
    let report = failure(move || {
        current_thread().block_on(ignoring(soon()).scope(async {
            spawn_all().await;
            leak("other").await;
        }));
    });
    assert_has(&report, &["1 task leaked: ", "1 task \"other\""]);
    for ignored in ["metrics", "reaper", "joined", "part"] {
        assert!(!report.contains(ignored), "{report}");
    }
}

#[test]
fn a_task_and_its_spans_are_one_leak() {
    let report = failure(|| {
        multi_thread().block_on(soon().scope(async {
            let (begin, begun) = oneshot::channel();
            let both = async {
                let stock = async {
                    begin.send(()).unwrap();
                    lasting().await;
                };
                join!(lasting().tracked("price"), stock.tracked("stock"))
            };
            tokio::spawn(both.tracked("checkout"));
            begun.await.unwrap();
        }));
    });
    assert_has(
        &report,
        &[
            "1 task leaked: ",
            "1 task \"checkout\" [",
            "├─ span \"price\"",
            "└─ span \"stock\"",
        ],
    );
}

#[test]
fn a_future_that_is_left_in_a_task_of_others_is_found() {
    let report = failure(|| {
        let runtime = multi_thread();
        runtime.block_on(async {
            let (queue, mut jobs) = mpsc::channel::<rtops_tasks::Tracked<_>>(1);
            tokio::spawn(async move { jobs.recv().await.unwrap().await }.tracked("worker"));
            let (begin, begun) = oneshot::channel();
            let job = async {
                begin.send(()).unwrap();
                lasting().await;
            };
            let in_scope = async {
                queue.send(job.tracked("job")).await.unwrap();
                begun.await.unwrap();
            };
            soon().scope(in_scope).await;
        });
    });
    assert_has(
        &report,
        &["1 task leaked: ", "1 span \"job\" [oneshot receive, "],
    );
    assert!(!report.contains("worker"), "{report}");
}

#[test]
fn the_number_of_a_runtimes_tasks_tells_of_untracked_ones() {
    let untracked = || async {
        tokio::spawn(pending::<()>());
        leak("tracked").await;
    };
    let check = |check: Check| check.ignore_name("tracked");
    for runtime in [current_thread, multi_thread] {
        let report = failure(move || {
            runtime().block_on(check(soon()).tokio_alive(true).scope(untracked()));
        });
        assert_has(
            &report,
            &[
                "1 untracked task leaked: ",
                "spawn it with rtops_agent::spawn",
            ],
        );
        // Tasks from before, tracked ones, and those that end do not count.
        runtime().block_on(async {
            untracked().await;
            let ending = async {
                leak("tracked").await;
                tokio::spawn(yield_now());
            };
            check(patient()).tokio_alive(true).scope(ending).await;
        });
        runtime().block_on(check(patient()).scope(untracked()));
    }
    let report = failure(|| drop(Check::new().tokio_alive(true).guard()));
    assert_has(&report, &["has no tokio runtime to count on"]);
}

#[test]
fn it_works_without_tokio() {
    smol::block_on(patient().scope(async {
        smol::spawn(smol::future::yield_now().tracked("ends")).detach();
    }));
    let report = failure(|| {
        smol::block_on(soon().scope(async {
            let (end, ended) = smol::channel::bounded::<()>(1);
            forget(end);
            smol::spawn(async move { ended.recv().await }.tracked("on smol")).detach();
        }));
    });
    assert_has(
        &report,
        &[
            "1 task leaked: ",
            "1 task \"on smol\" [",
            "tests/checks.rs:",
        ],
    );
}

#[test]
fn a_panic_of_the_test_itself_is_the_only_one() {
    for guarded in [true, false] {
        let message = failure(move || {
            multi_thread().block_on(async {
                let body = async {
                    leak("behind the panic").await;
                    panic!("the test's own failure");
                };
                if guarded {
                    let _leaks = soon().guard();
                    body.await
                } else {
                    soon().scope(body).await
                }
            });
        });
        assert_eq!(message, "the test's own failure");
    }
}
