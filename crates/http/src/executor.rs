//! An executor for hyper whose tasks `rtops` sees by name.

use std::{borrow::Cow, future::Future, panic::Location};

use hyper::rt::Executor;
use rtops_tasks::{Kind, Tracked};
use tokio::runtime::Handle;

/// Spawns tracked tasks with a name on tokio. Clones use the same name.
///
/// hyper and hyper-util spawn tasks of their own: for each stream of an HTTP/2 connection,
/// and for each connection of a client. With this executor these tasks are tracked. They
/// have a name, an age and a spawn site, can be inspected without a copy of the process, and
/// count for `rtops leaks`.
///
/// The spawn site is the place where the executor was made, as hyper does not say which of its own
/// lines spawned a task.
///
/// ```no_run
/// use std::convert::Infallible;
///
/// use http_body_util::Empty;
/// use hyper::{Request, Response, body::{Bytes, Incoming}, service::service_fn};
/// use hyper_util::{client::legacy::Client, rt::TokioIo, server::conn::auto};
/// use rtops_http::TrackedExecutor;
/// use tokio::net::TcpStream;
///
/// async fn answer(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
///     Ok(Response::new("hello".to_owned()))
/// }
///
/// // A server: the connection is the task that calls this, each stream on it a task "stream".
/// async fn serve(socket: TcpStream) {
///     auto::Builder::new(TrackedExecutor::new("stream"))
///         .serve_connection(TokioIo::new(socket), service_fn(answer))
///         .await
///         .ok();
/// }
///
/// // A client: each connection of its pool is a task.
/// let client: Client<_, Empty<Bytes>> =
///     Client::builder(TrackedExecutor::new("connection to the shop")).build_http();
/// ```
#[derive(Clone, Debug)]
pub struct TrackedExecutor {
    name: Cow<'static, str>,
    runtime: Option<Handle>,
    site: &'static Location<'static>,
}

impl TrackedExecutor {
    /// Creates an executor that spawns on the runtime that is current when hyper spawns,
    /// like [`tokio::spawn`].
    #[track_caller]
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            runtime: None,
            site: Location::caller(),
        }
    }

    /// Makes it spawn on this runtime instead, wherever hyper is called.
    #[must_use]
    pub fn on(self, runtime: &Handle) -> Self {
        Self {
            runtime: Some(runtime.clone()),
            ..self
        }
    }
}

impl<F> Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// # Panics
    /// If called outside of a runtime and the executor has none, like [`tokio::spawn`].
    fn execute(&self, future: F) {
        let tracked = Tracked::new(future, Some(self.name.clone()), Kind::Task, self.site);
        // The task goes on when its handle is dropped.
        drop(match &self.runtime {
            Some(runtime) => runtime.spawn(tracked),
            None => tokio::spawn(tracked),
        });
    }
}
