//! The layer, and the service that it makes.

use std::{
    borrow::Cow,
    panic::Location,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use rtops_tasks::{Kind, Tracker};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    NameRequest, ResponseFuture,
    name::{ByRoute, bounded},
};

/// Has each request that goes through tracked under a name.
///
/// Inside a tracked task, such as a connection that `rtops_agent::spawn` spawned, a request is a span of
/// that task; elsewhere, as with `axum::serve`, it is listed as a task of its own.
#[derive(Clone, Copy, Debug)]
pub struct RequestLayer<N = ByRoute> {
    name: N,
    site: &'static Location<'static>,
}

impl RequestLayer {
    /// Requests are named as [`ByRoute`] tells, and the caller's file and line are shown as the place
    /// where they come from.
    #[track_caller]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            name: ByRoute,
            site: Location::caller(),
        }
    }
}

impl Default for RequestLayer {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<N> RequestLayer<N> {
    /// Requests are named by this function instead. It should come to few names: equal ones are shown
    /// together, and no name is made of what a client sends at will. [`route_name`](crate::route_name)
    /// makes one of a method and a route without an allocation. Names are cut at 128 bytes.
    ///
    /// ```
    /// use axum::extract::Request;
    /// use rtops_tower::{RequestLayer, route_name};
    ///
    /// let layer = RequestLayer::new().name_by(|request: &Request| {
    ///     let is_admin = request.uri().path().starts_with("/admin/");
    ///     route_name(request.method(), if is_admin { "/admin/…" } else { "" })
    /// });
    /// ```
    #[must_use]
    pub fn name_by<B, F>(self, name: F) -> RequestLayer<F>
    where
        F: Fn(&Request<B>) -> Cow<'static, str>,
    {
        RequestLayer {
            name,
            site: self.site,
        }
    }
}

impl<S, N: Clone> Layer<S> for RequestLayer<N> {
    type Service = RequestService<S, N>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service whose requests are tracked.
#[derive(Clone, Copy, Debug)]
pub struct RequestService<S, N = ByRoute> {
    inner: S,
    layer: RequestLayer<N>,
}

impl<S, N, B, R> Service<Request<B>> for RequestService<S, N>
where
    S: Service<Request<B>, Response = Response<R>>,
    N: NameRequest<B>,
    R: Body,
{
    type Response = Response<crate::TrackedBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let name = bounded(self.layer.name.name(&request));
        let tracker = Tracker::new::<S::Future>(Some(name), Kind::Undecided, self.layer.site);
        ResponseFuture::new(self.inner.call(request), tracker)
    }
}
