//! A future wakes itself in every poll: polls are short, a core is busy (rust-sdk#254, tokio#4549).

use std::{future::poll_fn, pin::Pin, task::Poll};

use tokio::io::{AsyncRead, DuplexStream, ReadBuf};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        let (pipe, _other_end) = tokio::io::duplex(64);
        variant.spawn(drain_stderr(pipe));
        keep().await;
    });
}

async fn drain_stderr(mut pipe: DuplexStream) {
    poll_fn(|context| {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut pipe).poll_read(context, &mut buffer) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => {
                context.waker().wake_by_ref(); // STUCK drain_stderr: asks to be polled again at once
                Poll::Pending
            }
        }
    })
    .await;
}
