//! A request until its handler has returned.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use rtops_tasks::{Part, Tracker};

use crate::TrackedBody;

pin_project! {
    /// The future of a [`RequestService`](crate::RequestService)'s response.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        // Dropped before the tracker, so that the request is listed while its
        // handler is being dropped.
        #[pin]
        future: F,
        // Passed on to the body.
        tracker: Option<Tracker>,
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) const fn new(future: F, tracker: Tracker) -> Self {
        Self {
            future,
            tracker: Some(tracker),
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<TrackedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.tracker {
            Some(tracker) => ready!(tracker.poll_part(this.future, context, part)),
            // Polled after its end: the future decides what that does.
            None => ready!(this.future.poll(context)),
        };
        let tracker = this.tracker.take();
        let tracker = tracker.filter(|_| part(&result) == Part::More);
        Poll::Ready(result.map(|response| response.map(|body| TrackedBody::new(body, tracker))))
    }
}

/// Whether a body follows.
fn part<B: Body, E>(result: &Result<Response<B>, E>) -> Part {
    match result {
        Ok(response) if !response.body().is_end_stream() => Part::More,
        _ => Part::Last,
    }
}
