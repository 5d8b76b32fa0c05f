//! Which functions poll a future.

/// How a function polls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Polls {
    /// It is the body of an `async fn` or block: it waits at one await, the last one that it came to.
    AsyncBody,
    /// It is a `poll` or `poll_…` that somebody wrote: it may wait for all that it polls.
    Method,
    /// It is the body of an `async fn`, or a closure: without debug info the two have one name.
    Unclear,
}

/// How the function whose name has these segments polls; `None` for one that is no poll.
pub fn polls(segments: &[String]) -> Option<Polls> {
    let last = segments.last()?.as_str();
    // They ask the kernel, and poll no future.
    let asks_kernel = ["mio", "polling"].map(Some);
    if asks_kernel.contains(&segments.first().map(|first| first.as_str())) {
        return None;
    }
    match last {
        // Makes a future of a function.
        "poll_fn" => None,
        "poll" => Some(Polls::Method),
        "{{closure}}" => Some(Polls::Unclear),
        _ if last.starts_with("poll_") => Some(Polls::Method),
        _ if last.starts_with("{async_") => Some(Polls::AsyncBody),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Polls;
    use crate::Name;

    #[test]
    fn polls_are_told_by_their_names() {
        for (name, expected) in [
            ("gateway::conn::serve::{async_fn#0}", Some(Polls::AsyncBody)),
            ("gateway::conn::{async_fn}<T>", Some(Polls::AsyncBody)),
            ("gateway::main::{async_block#1}<u8>", Some(Polls::AsyncBody)),
            (
                "<core::pin::Pin<P> as core::future::future::Future>::poll",
                Some(Polls::Method),
            ),
            (
                "<T as futures_core::stream::Stream>::poll_next",
                Some(Polls::Method),
            ),
            ("gateway::conn::serve::{{closure}}", Some(Polls::Unclear)),
            ("core::future::poll_fn::poll_fn", None),
            ("gateway::conn::serve::{async_fn#0}::{closure#0}", None),
            ("gateway::conn::serve", None),
            ("<mio::poll::Poll>::poll", None),
            ("mio::poll::Poll::poll", None),
            ("", None),
        ] {
            assert_eq!(Name::of(name).polls(), expected, "{name}");
        }
    }
}
