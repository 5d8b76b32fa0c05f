//! The body of an answer, which is part of its request.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use rtops_tasks::{Part, Tracker};

pin_project! {
    /// A body that keeps its request in flight until it ends or is dropped.
    #[derive(Debug)]
    pub struct TrackedBody<B> {
        // Dropped before the tracker, so that the request is listed while its body is
        // being dropped.
        #[pin]
        body: B,
        tracker: Option<Tracker>,
    }
}

impl<B> TrackedBody<B> {
    pub(crate) const fn new(body: B, tracker: Option<Tracker>) -> Self {
        Self { body, tracker }
    }
}

impl<B: Body> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(tracker) = this.tracker else {
            return this.body.poll_frame(context);
        };
        let mut next = NextFrame(this.body.as_mut());
        let frame = ready!(tracker.poll_part(Pin::new(&mut next), context, part));
        // A caller that learns here that the body has ended does not poll it again.
        let is_over = part(&frame) == Part::Last || this.body.is_end_stream();
        if let Some(tracker) = this.tracker.take_if(|_| is_over) {
            tracker.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether more of the body may follow.
const fn part<T, E>(frame: &Option<Result<T, E>>) -> Part {
    match frame {
        Some(Ok(_)) => Part::More,
        Some(Err(_)) | None => Part::Last,
    }
}

/// The next piece of a body.
struct NextFrame<'a, B>(Pin<&'a mut B>);

impl<B: Body> Future for NextFrame<'_, B> {
    type Output = Option<Result<Frame<B::Data>, B::Error>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll_frame(context)
    }
}
