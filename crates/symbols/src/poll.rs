//! Tells which functions poll a future.

/// How a function polls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Polls {
    /// It is the body of an `async fn` or block: it waits at one
    /// await, the last one that it reached.
    AsyncBody,
    /// It is a handwritten `poll` or `poll_…`: it may wait for everything that it polls.
    Method,
    /// It is the body of an `async fn`, or a closure: without debug
    /// info the two have the same name.
    Unclear,
}

/// Returns how the function with these segments in its name polls; `None` if it does not.
pub fn polls(segments: &[String]) -> Option<Polls> {
    let last = segments.last()?.as_str();
    // These ask the kernel, and poll no future.
    let asks_kernel = ["mio", "polling"].map(Some);
    if asks_kernel.contains(&segments.first().map(|first| first.as_str())) {
        return None;
    }
    match last {
        // This makes a future from a function.
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
