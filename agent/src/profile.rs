//! Profiles of a service's tasks, taken inside the service, in the formats of Go's goroutine
//! profile, which Go programs serve under `/debug/pprof/goroutine`.
//!
//! ```no_run
//! use rtops_agent::profile::{self, Text};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut file = std::fs::File::create("tasks.pb.gz")?;
//! profile::tasks().write_pprof(&mut file)?; // go tool pprof -top tasks.pb.gz
//!
//! let mut text = Vec::new();
//! profile::tasks().write_text(Text::Grouped, &mut text)?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything here blocks: the tasks are polled once more, then the debug info of the program is
//! read. In async code, use `spawn_blocking`:
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let text = tokio::task::spawn_blocking(|| {
//!     let mut text = Vec::new();
//!     rtops_agent::profile::tasks()
//!         .write_text(rtops_agent::profile::Text::Each, &mut text)
//!         .map(|()| text)
//! })
//! .await??;
//! # drop(text);
//! # Ok(())
//! # }
//! ```
//!
//! Calling it from inside a task does not deadlock. If that leaves a runtime without a
//! thread, its tasks are `starved` in the profile, without their stacks, and the call
//! returns when its time is up.
//!
//! The example `debug_pprof` of this crate serves `/debug/pprof/` with axum.
//! `docs/operate/profile.md` says what a profile contains and how it differs from Go's.
//!
//! # What it costs
//!
//! The tasks are probed as for `rtops stack`. But names and lines are looked up inside the service:
//! its debug info is read into memory for each profile and freed afterwards. If the debug info is
//! large, ask from outside: `rtops profile tasks` gives the same result. Bad debug info costs only
//! names, but with `panic = "abort"` a panic in the DWARF reader would end the service.
//!
//! It also works without [`start()`]. But the stack of a task that is inside a poll is in the
//! profile only while an agent runs that may take the stacks of threads, and the name of a runtime
//! only once an agent has been started.

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rtops_capture::{Evidence, Host, OwnThread, Wanted};
use rtops_protocol::{Ask, Reply, StackParts};
use rtops_render::pprof::Profile;
pub use rtops_render::pprof::Text;
use rtops_report::dump::Dump;
use rtops_symbols::{Options, Pid, Symbols};
use rtops_tasks::RuntimeTag;

use crate::{
    exchange::{Identity, MAX_DUMP_TIME},
    fork, runtimes,
    serve::{self, Entered},
    start,
};

/// The default time limit for polling the tasks.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Returns a profile of this process's tracked tasks, which is taken when it is written.
#[must_use = "nothing is taken before it is written"]
pub const fn tasks() -> Tasks {
    Tasks { timeout: TIMEOUT }
}

/// A profile of the tasks, still to be taken; see [`tasks`].
#[derive(Clone, Debug)]
#[must_use = "nothing is taken before it is written"]
pub struct Tasks {
    timeout: Duration,
}

impl Tasks {
    /// Limits the time for polling the tasks, instead of 2 seconds; at most five minutes. Part of
    /// it is reserved for the stacks of threads that are inside a poll. It does not include the
    /// lookup of names or the wait for a dump that `rtops` has asked for.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Takes the profile and writes it as text.
    ///
    /// Lines that begin with `# incomplete:` say what is missing.
    ///
    /// # Errors
    /// If no profile can be taken, or the writer fails.
    pub fn write_text(&self, text: Text, writer: &mut impl Write) -> Result<(), ProfileError> {
        Ok(self.take()?.write_text(text, writer)?)
    }

    /// Takes the profile and writes it as a gzipped pprof protobuf.
    ///
    /// Its comments say what is missing; `go tool pprof -comments` prints them.
    ///
    /// # Errors
    /// If no profile can be taken, or the writer fails.
    pub fn write_pprof(&self, writer: &mut impl Write) -> Result<(), ProfileError> {
        Ok(self.take()?.write_pprof(writer)?)
    }

    fn take(&self) -> Result<Profile, ProfileError> {
        if fork::is_forked_child() {
            return Err(ProfileError::ForkedChild);
        }
        let deadline = Instant::now() + self.timeout.min(MAX_DUMP_TIME);
        // On a new thread: the caller may be inside the poll of a task, which is then seen like any
        // other, and may rely on its thread's wake-ups and stack for something else.
        let taker = thread::Builder::new()
            .name("rtops-profile".to_owned())
            .spawn(move || take(deadline))
            .map_err(ProfileError::Thread)?;
        taker.join().unwrap_or(Err(ProfileError::Panicked))
    }
}

fn take(deadline: Instant) -> Result<Profile, ProfileError> {
    let _own = Entered::enter(OwnThread::Client);
    let host = Inside(start::identity());
    let taken = SystemTime::now();
    let wanted = Wanted {
        parts: StackParts::Tasks,
        evidence: Evidence::Full,
        ask: Ask::TasksAndThreads,
        only: None,
    };
    let dump = rtops_capture::take(&host, wanted, deadline)
        .map_err(|disabled| ProfileError::Taken(format!("{} are switched off", disabled.0)))?;
    let mut frames = Vec::new();
    dump.send(&mut frames)
        .map_err(|error| ProfileError::Taken(error.to_string()))?;
    let mut unread = frames.as_slice();
    let dump = Dump::receive(|| Reply::receive(&mut unread))
        .map_err(|failure| ProfileError::Taken(format!("{failure:?}")))?;
    drop(frames);
    let options = Options {
        pid: Some(Pid::own()),
        ..Options::default()
    };
    let symbols = Symbols::new(dump.modules.clone(), options);
    Ok(Profile::resolve(dump, symbols, taken))
}

/// Answers a dump that the process takes of itself. Whom the agent would answer, and whether there
/// is one, makes no difference here.
struct Inside(Option<Arc<Identity>>);

impl Host for Inside {
    fn name(&self) -> &str {
        self.0.as_ref().map_or("", |identity| &identity.name)
    }

    fn has_tasks(&self) -> bool {
        true
    }

    fn capturer(&self) -> Option<&rtops_threads::Capturer> {
        self.0.as_ref()?.capturer.as_ref()
    }

    fn own_thread(&self, tid: i32) -> Option<OwnThread> {
        serve::own_thread(tid)
    }

    fn runtime_name(&self, tag: RuntimeTag) -> Option<String> {
        runtimes::name(tag)
    }

    fn alive_tasks(&self) -> Option<u64> {
        runtimes::alive_tasks()
    }
}

/// Why a profile could not be taken or written. The service can go on without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The writer failed.
    #[error("can't write the profile: {0}; try another writer")]
    Write(#[from] io::Error),
    /// This process is the child of a fork whose parent had an agent.
    #[error("no profile of the forked child of a process that had an rtops agent: exec first")]
    ForkedChild,
    /// The system refused to start a thread.
    #[error("no thread to take a profile on: {0}; raise the limit of threads")]
    Thread(#[source] io::Error),
    /// The tasks can't be inspected.
    #[error("can't take a profile of the tasks: {0}; please report it")]
    Taken(String),
    /// The thread that took the profile panicked, which the panic hook has reported.
    #[error("a panic ended the profile of the tasks; please report it")]
    Panicked,
}
