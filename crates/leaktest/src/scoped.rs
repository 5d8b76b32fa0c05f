//! A future in its own scope, which is checked when the future has ended.

use std::{
    fmt,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, ready},
    thread::panicking,
};

use pin_project_lite::pin_project;
use rtops_tasks::ScopeId;

use crate::{
    Check,
    waiting::Waiting,
    watch::{Extent, Watch},
};

pin_project! {
    /// A future that is checked for leaks when it has ended: see [`scope`](crate::scope).
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F: Future> {
        #[pin]
        future: Option<F>,
        scope: ScopeId,
        site: &'static Location<'static>,
        // Taken by the first poll, which begins the watch.
        check: Option<Check>,
        watch: Option<Watch>,
        is_passed: fn(&F::Output) -> bool,
        output: Option<F::Output>,
        waiting: Option<Waiting>,
    }
}

impl<F: Future> Scoped<F> {
    pub(crate) fn new(
        check: Check,
        future: F,
        is_passed: fn(&F::Output) -> bool,
        site: &'static Location<'static>,
    ) -> Self {
        Self {
            future: Some(future),
            scope: ScopeId::fresh(),
            site,
            check: Some(check),
            watch: None,
            is_passed,
            output: None,
            waiting: None,
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if let Some(check) = this.check.take() {
            let extent = Extent::Scope(*this.scope);
            *this.watch = Some(Watch::begin(check, extent, this.site));
        }
        if let Some(future) = this.future.as_mut().as_pin_mut() {
            let entered = this.scope.enter();
            let output = ready!(future.poll(context));
            // What the future owns may be what its tasks wait for.
            this.future.set(None);
            drop(entered);
            let watch = this.watch.take();
            if (this.is_passed)(&output) && !panicking() {
                *this.waiting = watch.map(Waiting::begin);
            }
            *this.output = Some(output);
        }
        if let Some(waiting) = this.waiting.as_mut() {
            let result = ready!(Pin::new(waiting).poll(context));
            *this.waiting = None;
            if let Err(report) = result {
                panic!("{report}");
            }
        }
        // Polled after its end, it is never ready again.
        this.output.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<F: Future> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped")
            .field("scope", &self.scope)
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}
