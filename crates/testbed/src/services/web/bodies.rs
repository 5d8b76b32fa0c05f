//! Bodies that are sent in pieces.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::mpsc::{Receiver, channel};

use super::routes::Gate;

/// One event immediately, and the last one when a gate opens.
pub(super) struct Events(Receiver<String>);

impl Events {
    pub(super) fn new(topic: String, gate: Gate) -> Self {
        let (sender, receiver) = channel(1);
        drop(tokio::spawn(async move {
            sender.send(format!("{topic} begins\n")).await.ok();
            gate.opened().await; // AWAIT web-publisher
            sender.send(format!("{topic} ends\n")).await.ok();
        }));
        Self(receiver)
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = ready!(self.0.poll_recv(context)); // AWAIT web-events
        Poll::Ready(event.map(|event| Ok(Frame::data(event.into()))))
    }
}

/// 32 MiB, with another byte value in each piece.
pub(super) struct Pattern {
    seed: u8,
    pieces: u16,
}

impl Pattern {
    const PIECE: usize = 64 << 10;

    pub(super) const fn new(seed: u8) -> Self {
        Self { seed, pieces: 512 }
    }
}

impl HttpBody for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.pieces.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.pieces = left;
        self.seed = self.seed.wrapping_add(1);
        let piece = vec![self.seed; Self::PIECE];
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}
