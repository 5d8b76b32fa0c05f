//! A check and its options, before it begins.

use std::{panic::Location, time::Duration};

use crate::{
    Guard, Scoped,
    ignored::Ignored,
    watch::{Extent, Watch},
};

/// A leak check and its options; [`guard`](Self::guard), [`scope`](Self::scope) or
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
/// Tasks that exist at the start can't all be ignored, and need not be: a check sees only what
/// is created in its scope after it began.
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
    /// Creates a check with a timeout of 5 seconds, nothing ignored, and tracked futures only.
    pub fn new() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            ignored: Ignored::default(),
            threads: false,
            #[cfg(feature = "tokio")]
            tokio_alive: false,
        }
    }

    /// Sets how long tasks may take to end before they count as leaked.
    ///
    /// They are looked at after 1 ms, 2 ms and so on up to every 100 ms, and the check ends as soon
    /// as nothing is left, so a long timeout costs time only if a test fails.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ignores tasks of this name, and threads if they are [checked](Self::threads) as well. Takes
    /// the whole name, or its beginning followed by `*`: `"connection *"`.
    pub fn ignore_name(mut self, name: impl Into<String>) -> Self {
        self.ignored.names.push(name.into());
        self
    }

    /// Ignores tasks that are anywhere inside this function, as their await tree shows, and threads
    /// if they are [checked](Self::threads) as well. Takes whole parts of a path: `"pool::reap"`
    /// matches `app::pool::reap` and its closures, but not `app::pool::reap_all`.
    ///
    /// This takes a dump, so a check with such tasks lasts a tenth of a second or more. Prefer
    /// [`ignore_name`](Self::ignore_name) and [`ignore_site`](Self::ignore_site).
    pub fn ignore_function(mut self, function: impl Into<String>) -> Self {
        self.ignored.functions.push(function.into());
        self
    }

    /// Ignores tasks that were spawned or tracked at this place. Takes the end of a source path,
    /// such as `"src/pool.rs"`, with or without a line, such as `"src/pool.rs:41"`.
    pub fn ignore_site(mut self, site: impl Into<String>) -> Self {
        self.ignored.sites.push(site.into());
        self
    }

    /// Sets whether OS threads count as well if they started after the check began and are alive
    /// at its end. Their stacks are reported. [`verify_all`](Self::verify_all) counts every
    /// thread except the one that it is called on.
    ///
    /// The system does not say who started a thread, so this sees *all* threads of the process. If
    /// tests run in parallel, threads of another test can fail this one, and the report says so;
    /// use it in a separate test binary, under `cargo nextest`, or with `--test-threads=1`. Threads
    /// that are known not to be leaked never count: those in which the test harness runs tests,
    /// idle threads of tokio's blocking pool, and those of rtops.
    ///
    /// At the end of a check that has found threads, each is sent the signal
    /// SIGURG to take its stack; this may cause `EINTR` in it. A thread that is
    /// still ending is waited for, as tasks are.
    pub fn threads(mut self, check: bool) -> Self {
        self.threads = check;
        self
    }

    /// Sets whether untracked tasks count as well, as far as tokio knows their number: a check
    /// fails if the runtime in which it began has more tasks at the end than it had then, besides
    /// tracked ones. Where such a task waits is unknown.
    ///
    /// This needs a runtime that no other test uses at the same time. It is on by default in
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

    /// Runs a future and checks what is created in it: see [`scope`](crate::scope).
    #[track_caller]
    pub fn scope<F: Future>(self, future: F) -> Scoped<F> {
        Scoped::new(self, future, |_| true, Location::caller())
    }

    /// Checks the whole process: see [`verify_all`](crate::verify_all).
    ///
    /// # Panics
    /// If something is left after the timeout; with
    /// [`tokio_alive`](Self::tokio_alive) outside of a tokio runtime.
    #[track_caller]
    pub fn verify_all(self) {
        if std::thread::panicking() {
            return;
        }
        if let Err(report) = Watch::begin(self, Extent::Process, Location::caller()).wait() {
            panic!("{report}");
        }
    }

    /// What the attribute expands an `async fn` to: if `is_passed` returns
    /// false, the test has failed by its result.
    #[doc(hidden)]
    #[track_caller]
    pub fn attribute_scope<F: Future>(
        self,
        future: F,
        is_passed: fn(&F::Output) -> bool,
    ) -> Scoped<F> {
        Scoped::new(self, future, is_passed, Location::caller())
    }

    /// What the attribute expands a plain function to.
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
