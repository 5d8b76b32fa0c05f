//! Makes a test fail if it leaks tasks, and shows where each of them waits.
//!
//! ```
//! #[rtops_leaktest::test]
//! async fn the_worker_ends_with_its_queue() {
//!     let (queue, mut jobs) = tokio::sync::mpsc::channel::<u32>(8);
//!     rtops_agent::spawn(async move { while jobs.recv().await.is_some() {} });
//!     queue.send(7).await.unwrap();
//!     // Had the test kept the queue in a static, this would fail with the worker's await tree.
//! }
//! # fn main() {}
//! ```
//!
//! A check sees *tracked* tasks: those of `rtops_agent::spawn` and its relatives, and futures that
//! are [`tracked`](Track::tracked). The agent itself need not run.
//!
//! # Which check
//!
//! | where | what to write |
//! |---|---|
//! | a test on tokio | [`#[rtops_leaktest::test]`](macro@test) in place of `#[tokio::test]` |
//! | a part of a test, a task, another executor | [`scope(future).await`](scope) |
//! | a synchronous test | `let _leaks = rtops_leaktest::check();` as its first line: [`check()`] |
//! | a test binary with its own `main` | [`verify_all`] at the end of it |
//!
//! [`Check`] does the same with options.
//!
//! # Parallel tests
//!
//! Each check opens a *scope* and sees what is created in it: a tracked future belongs
//! to the scope in which it is created, and so does everything that is created while
//! it is polled, on whatever thread. Tests that run at once do not see each other, and
//! a check ignores what existed before it.
//!
//! The chain breaks at an untracked task: what such a task creates is seen only if
//! its thread itself is in the scope, as on a current-thread runtime. It also breaks
//! at a new thread, which can enter the scope:
//!
//! ```
//! use rtops_leaktest::ScopeId;
//!
//! let _leaks = rtops_leaktest::check();
//! let scope = ScopeId::current();
//! let thread = std::thread::spawn(move || {
//!     let _in_scope = scope.enter();
//!     // What is made here is checked as well.
//! });
//! thread.join().unwrap();
//! ```
//!
//! # When a task counts as leaked
//!
//! If it is still alive at the end of the check and does not end within a
//! [timeout](Check::timeout) of 5 seconds. A check that finds nothing costs no time. If the test
//! itself panics, nothing is checked or printed.
#![forbid(unsafe_code)]

mod alive;
mod check;
mod guard;
mod ignored;
mod report;
mod scoped;
mod symbols;
mod waiting;
mod watch;

pub use check::Check;
pub use guard::Guard;
pub use rtops_tasks::{ScopeId, Track};
pub use scoped::Scoped;

/// Makes a test fail if it leaks tasks: `#[tokio::test]` and [`scope`] in one.
///
/// ```
/// #[rtops_leaktest::test(flavor = "multi_thread", worker_threads = 2, timeout = "2s")]
/// async fn tasks_end() {
///     rtops_agent::spawn(async {}).await.unwrap();
/// }
///
/// #[rtops_leaktest::test(ignore_name = "metrics*")]
/// fn tasks_of_a_runtime_of_its_own_end() {
///     let runtime = tokio::runtime::Runtime::new().unwrap();
///     runtime.block_on(async { rtops_agent::spawn(async {}).await.unwrap() });
/// }
/// # fn main() {}
/// ```
///
/// On an `async fn`, it replaces `#[tokio::test]`, which gets all arguments that are not
/// listed below. On a plain function, it replaces `#[test]` and [`check()`]. Other
/// attributes, such as `#[should_panic]`, may follow.
///
/// | argument | |
/// |---|---|
/// | `timeout = "500ms"` | [`Check::timeout`]; in `ms`, `s` or `m` |
/// | `ignore_name = "…"`, `ignore_function = "…"`, `ignore_site = "…"` | [`Check::ignore_name`] and so on, each as often as needed |
/// | `tokio_alive = false` | no [`Check::tokio_alive`]; it is on here as a test owns its runtime |
/// | `threads = true` | [`Check::threads`] |
///
/// A test that returns an `Err` fails anyway and is not checked.
#[cfg(feature = "tokio")]
pub use rtops_leaktest_macros::test;

/// Checks what is created from here to the end of the block: bind it to a name, `let _leaks = …`.
///
/// When the guard is dropped, the test panics if tracked futures created since, on this thread or
/// below a future created on it, are still alive after the timeout.
///
/// ```
/// # use std::time::Duration;
/// let _leaks = rtops_leaktest::check();
/// let runtime = tokio::runtime::Runtime::new().unwrap();
/// let task = runtime.spawn(rtops_leaktest::Track::tracked(async { 7 }, "answer"));
/// assert_eq!(runtime.block_on(task).unwrap(), 7);
/// ```
///
/// `let _ = rtops_leaktest::check();` drops the guard at once and so ends the check: nothing would
/// be checked. Rust's lint `let_underscore_drop` finds that.
///
/// # In async code
///
/// The guard waits by blocking its thread. On a current-thread runtime, nothing else can run
/// meanwhile, so even a task that is about to end counts as leaked. There, and preferably in all
/// async code, use [`scope`] or the [attribute](macro@test), or end the test with
/// [`leaks.verify().await`](Guard::verify). A guard can't be sent to another thread, so a task of a
/// multi-thread runtime can't hold one across an await:
///
/// ```compile_fail
/// tokio::spawn(async {
///     let _leaks = rtops_leaktest::check();
///     tokio::task::yield_now().await;
/// });
/// ```
///
/// A guard that is held across an await in a local task loses its scope there, and reports that.
#[track_caller]
#[must_use = "the check ends when the guard is dropped: bind it to a name, as in `let _leaks = …`"]
pub fn check() -> Guard {
    Check::new().guard()
}

/// Runs a future and checks what is created in it; panics if tracked futures are left.
///
/// Works in any task on any executor, which keeps running while this waits for tasks to end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let answer = rtops_leaktest::scope(async {
///     let task = rtops_agent::spawn(async { 42 });
///     task.await.unwrap()
/// })
/// .await;
/// assert_eq!(answer, 42);
/// # }
/// ```
///
/// A scope that is dropped before its future has ended is not checked. A scope inside another is
/// separate from it and alone checks what is created in it.
#[track_caller]
pub fn scope<F: Future>(future: F) -> Scoped<F> {
    Check::new().scope(future)
}

/// Checks the whole process, at the end of `main` in a test binary with `harness = false`.
///
/// ```no_run
/// // fn main() {
/// //     … run the tests …
/// rtops_leaktest::verify_all();
/// // }
/// ```
///
/// A binary with the usual harness has no `main` to put this into: each test needs its own check.
///
/// # Panics
/// If a tracked future of any scope is still alive after the timeout.
#[track_caller]
pub fn verify_all() {
    Check::new().verify_all();
}
