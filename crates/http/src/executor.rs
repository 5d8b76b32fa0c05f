//! An executor for hyper whose tasks `rtops` sees by name.

use std::{borrow::Cow, future::Future, panic::Location};

use hyper::rt::Executor;
use rtops_tasks::{Kind, Tracked};
use tokio::runtime::Handle;

/// Spawns tasks on tokio that are tracked under a name. Clones spawn under the same.
///
/// hyper and hyper-util spawn tasks of their own: for each stream of a connection over HTTP/2, and for
/// each connection of a client. With this executor these are tracked: they have a name, an age and
/// a place, need no copy of the process to be looked at, and count for `rtops leaks`.
///
/// The place where the executor was made is shown as the place where its tasks were spawned: hyper does
/// not tell which of its own lines did.
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
    /// Spawns on the runtime that is current when hyper spawns, as [`tokio::spawn`] does.
    #[track_caller]
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            runtime: None,
            site: Location::caller(),
        }
    }

    /// Spawns on this runtime instead, wherever hyper is called.
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
    /// Outside of a runtime, if the executor has none, as [`tokio::spawn`] does.
    fn execute(&self, future: F) {
        let tracked = Tracked::new(future, Some(self.name.clone()), Kind::Task, self.site);
        // Dropping the handle lets the task go on.
        drop(match &self.runtime {
            Some(runtime) => runtime.spawn(tracked),
            None => tokio::spawn(tracked),
        });
    }
}
