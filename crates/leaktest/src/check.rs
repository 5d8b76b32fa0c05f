//! A check and its options, before it begins.

use std::{panic::Location, time::Duration};

use crate::{
    Guard, Scoped,
    ignored::Ignored,
    watch::{Extent, Watch},
};

/// What a leak check does; [`guard`](Self::guard), [`scope`](Self::scope) or
/// [`verify_all`](Self::verify_all) begins it.
///
/// ```
/// use std::time::Duration;
///
/// let _leaks = rtops_leaktest::Check::new()
///     .timeout(Duration::from_secs(1))
///     .ignore_name("metrics")
///     .ignore_function("pool::reap")
///     .ignore_site("src/cache.rs")
///     .guard();
/// ```
///
/// There is no way to ignore all that exists at the start, and no need: a check sees only what is
/// made after its begin, in its scope.
#[derive(Clone, Debug)]
#[must_use = "nothing is checked before guard(), scope() or verify_all()"]
pub struct Check {
    pub(crate) timeout: Duration,
    pub(crate) ignored: Ignored,
    pub(crate) threads: bool,
    #[cfg(feature = "tokio")]
    pub(crate) tokio_alive: bool,
}

impl Default for Check {
    fn default() -> Self {
        Self::new()
    }
}

impl Check {
    /// A time-out of 5 seconds, nothing ignored, tracked futures only.
    pub fn new() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            ignored: Ignored::default(),
            threads: false,
            #[cfg(feature = "tokio")]
            tokio_alive: false,
        }
    }

    /// How long tasks have to come to their end before they count as leaked.
    ///
    /// They are looked at after 1 ms, 2 ms and so on up to every 100 ms, and the check ends as soon
    /// as nothing is left, so a long time-out costs time only where a test fails.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Lets tasks of this name live on, and threads if they are [checked](Self::threads) as well.
    /// The whole name, or its beginning if it ends in `*`: `"connection *"`.
    pub fn ignore_name(mut self, name: impl Into<String>) -> Self {
        self.ignored.names.push(name.into());
        self
    }

    /// Lets tasks live on that are anywhere inside this function, as their await tree shows it, and
    /// threads if they are [checked](Self::threads) as well. Whole parts of a path: `"pool::reap"`
    /// is in `app::pool::reap`, also in its closures, and not in `app::pool::reap_all`.
    ///
    /// It takes a dump to see that, so that a check with such tasks lasts a tenth of a second or
    /// more. Prefer [`ignore_name`](Self::ignore_name) and [`ignore_site`](Self::ignore_site).
    pub fn ignore_function(mut self, function: impl Into<String>) -> Self {
        self.ignored.functions.push(function.into());
        self
    }

    /// Lets tasks live on that were spawned or tracked there: the end of the path of a source file,
    /// as `"src/pool.rs"`, with or without a line, as `"src/pool.rs:41"`.
    pub fn ignore_site(mut self, site: impl Into<String>) -> Self {
        self.ignored.sites.push(site.into());
        self
    }

    /// Whether OS threads count as well that started after the begin of the check and are alive
    /// at its end. Their stacks are reported. [`verify_all`](Self::verify_all) counts every thread
    /// but the one that it is called on.
    ///
    /// The system does not tell who started a thread: this sees *all* of the process. Where tests
    /// run in parallel, threads of another one can fail this one, and the report says so; use it in
    /// a test binary of its own, under `cargo nextest`, or with `--test-threads=1`. What is known
    /// not to be leaked never counts: the threads in which the test harness runs tests, idle
    /// threads of tokio's blocking pool, and those of rtops.
    ///
    /// To take its stack a thread is sent the signal SIGURG, at the end of a check that has found
    /// one; that may cause `EINTR` in it. A thread that is alive because it is still ending is
    /// waited for as tasks are.
    pub fn threads(mut self, check: bool) -> Self {
        self.threads = check;
        self
    }

    /// Whether tasks that are not tracked count as well, as far as tokio knows their number: a
    /// check fails if the runtime in which it began has more tasks in the end than it had then,
    /// beside tracked ones. Where such a task waits isn't known.
    ///
    /// It needs a runtime that no other test uses at the same time. On by default in
    /// [`#[rtops_leaktest::test]`](macro@crate::test), which makes one for each test.
    #[cfg(feature = "tokio")]
    pub fn tokio_alive(mut self, check: bool) -> Self {
        self.tokio_alive = check;
        self
    }

    /// Begins a check that ends when the guard is dropped: see [`check`](crate::check()).
    ///
    /// # Panics
    /// With [`tokio_alive`](Self::tokio_alive) outside of a tokio runtime.
    #[track_caller]
    #[must_use = "the check ends when the guard is dropped: bind it to a name, as in `let _leaks = …`"]
    pub fn guard(self) -> Guard {
        Guard::new(self)
    }

    /// Runs a future and checks what is made in it: see [`scope`](crate::scope).
    #[track_caller]
    pub fn scope<F: Future>(self, future: F) -> Scoped<F> {
        Scoped::new(self, future, |_| true, Location::caller())
    }

    /// Checks all of the process: see [`verify_all`](crate::verify_all).
    ///
    /// # Panics
    /// When something is left after the time-out; with [`tokio_alive`](Self::tokio_alive) outside
    /// of a tokio runtime.
    #[track_caller]
    pub fn verify_all(self) {
        if std::thread::panicking() {
            return;
        }
        if let Err(report) = Watch::begin(self, Extent::Process, Location::caller()).wait() {
            panic!("{report}");
        }
    }

    /// What the attribute makes of an `async fn`: where `is_passed` says no, the test has failed
    /// by its result.
    #[doc(hidden)]
    #[track_caller]
    pub fn attribute_scope<F: Future>(
        self,
        future: F,
        is_passed: fn(&F::Output) -> bool,
    ) -> Scoped<F> {
        Scoped::new(self, future, is_passed, Location::caller())
    }

    /// What the attribute makes of a plain function.
    #[doc(hidden)]
    #[track_caller]
    pub fn attribute_run<T>(self, test: fn() -> T, is_passed: fn(&T) -> bool) -> T {
        let guard = self.guard();
        let result = test();
        if is_passed(&result) {
            drop(guard);
        } else {
            guard.disarm();
        }
        result
    }
}
