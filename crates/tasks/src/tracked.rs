//! The wrapper around a future.

use std::{
    borrow::Cow,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{
    entry::{Birth, Entry, Kind, Name, Polling, TaskId, WakerId},
    local::LOCAL,
    probe,
    registry::{self, End},
};

pin_project! {
    /// A future that `rtops` can see.
    ///
    /// It behaves like the future that it wraps: it passes the executor's waker through, except
    /// during the one poll that a dump asks for.
    #[must_use = "futures do nothing unless polled"]
    pub struct Tracked<F> {
        // Dropped before the tracker, so that a future is listed while it is being dropped.
        #[pin]
        future: F,
        tracker: Tracker,
    }
}

impl<F: Future> Tracked<F> {
    /// Tracks a future that was made at `site`.
    ///
    /// [`Kind::Undecided`] lets the first poll decide: a future that is first polled inside
    /// another tracked one is a span, any other is a task.
    pub fn new(future: F, name: Name, kind: Kind, site: &'static Location<'static>) -> Self {
        Self {
            future,
            tracker: Tracker::new::<F>(name, kind, site),
        }
    }
}

impl<F> Tracked<F> {
    /// Returns what is known about the future.
    pub fn entry(&self) -> &Arc<Entry> {
        self.tracker.entry()
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.tracker.poll_part(this.future, context, |_| Part::Last)
    }
}

/// A [`Tracked`] without its future, for something that is polled in several parts, one after the
/// other, and should be seen as one. An example is a request whose answer has a body.
///
/// When dropped, it counts as cancelled, unless its last part was polled to its end.
pub struct Tracker {
    registration: Registration,
    last_waker: WakerId,
}

/// Whether anything follows a part that was polled to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// More will be polled when somebody asks for it.
    More,
    /// This was the last part.
    Last,
}

impl Tracker {
    /// Tracks something that was made at `site`, as [`Tracked::new`] does. `F` is
    /// the type that is shown.
    pub fn new<F>(name: Name, kind: Kind, site: &'static Location<'static>) -> Self {
        Self {
            registration: Registration::new(Birth {
                name,
                kind,
                future_type: std::any::type_name::<F>,
                site,
            }),
            last_waker: WakerId::default(),
        }
    }

    /// Returns what is known about it.
    pub const fn entry(&self) -> &Arc<Entry> {
        &self.registration.0
    }

    /// Polls a part. `part` says, from its output, whether it was the last one.
    #[inline]
    pub fn poll_part<F: Future>(
        &mut self,
        future: Pin<&mut F>,
        context: &mut Context<'_>,
        part: impl Fn(&F::Output) -> Part,
    ) -> Poll<F::Output> {
        let entry = &self.registration.0;
        entry.go_on();
        let poll = if probe::is_wanted(entry, context.waker()) {
            probe::poll_probed(future, entry, &mut self.last_waker, context, &part)
        } else {
            poll_ordinary(future, entry, &mut self.last_waker, context)
        };
        if let Poll::Ready(output) = &poll {
            match part(output) {
                Part::More => entry.hold_back(),
                Part::Last => registry_end(entry, End::Ready),
            }
        }
        poll
    }

    /// Declares that the previous part was the last one after all.
    pub fn finish(self) {
        registry_end(&self.registration.0, End::Ready);
    }
}

impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracker")
            .field("entry", self.entry())
            .finish_non_exhaustive()
    }
}

/// Polls with the executor's own waker.
#[inline]
pub(crate) fn poll_ordinary<F: Future>(
    future: Pin<&mut F>,
    entry: &Entry,
    last_waker: &mut WakerId,
    context: &mut Context<'_>,
) -> Poll<F::Output> {
    if entry.polls() == 0 {
        first_poll(entry);
    }
    entry.keep_waker(last_waker, context.waker());
    let _polling = Polling::begin(entry);
    future.poll(context)
}

/// Records what only a poll can show.
#[cold]
#[inline(never)]
pub(crate) fn first_poll(entry: &Entry) {
    entry.set_runtime(registry::runtime_here());
    if entry.kind() == Kind::Undecided {
        match LOCAL.with(|local| local.current.get()) {
            TaskId::NONE => entry.decide(Kind::Task, entry.parent()),
            outer => {
                entry.decide(Kind::Span, outer);
                registry::count_span(entry);
            }
        }
    }
}

#[inline(never)]
fn registry_end(entry: &Entry, end: End) {
    if !entry.is_finished() {
        registry::remove(entry, end);
    }
}

impl<F> std::fmt::Debug for Tracked<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracked")
            .field("entry", self.entry())
            .finish_non_exhaustive()
    }
}

/// An entry's place in the registry, given up when dropped.
pub(crate) struct Registration(pub(crate) Arc<Entry>);

impl Registration {
    pub(crate) fn new(birth: Birth) -> Self {
        Self(registry::insert(birth))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        registry_end(&self.0, End::Dropped);
    }
}

/// Tracks any future, on any executor.
pub trait Track: Future + Sized {
    /// Makes this future visible to `rtops` under a name.
    ///
    /// If it is handed to an executor, it is a task. If it is polled inside another tracked
    /// future, it is a span, with an entry of its own that names its parent. The name may be
    /// a literal or built at run time. The caller's file and line are kept as the place
    /// where the future was made.
    ///
    /// ```
    /// use rtops_tasks::Track;
    ///
    /// # let id = 7;
    /// let request = async { 42 }.tracked("request");
    /// let numbered = async { 43 }.tracked(format!("connection {id}"));
    /// # drop((request, numbered));
    /// ```
    #[track_caller]
    fn tracked(self, name: impl Into<Cow<'static, str>>) -> Tracked<Self> {
        Tracked::new(self, Some(name.into()), Kind::Undecided, Location::caller())
    }
}

impl<F: Future> Track for F {}
