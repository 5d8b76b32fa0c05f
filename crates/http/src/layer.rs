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

/// Tracks each request under a name, from its arrival until the last piece of its answer's body is
/// handed over. `rtops stack` shows its age and where it waits:
///
/// ```text
/// 3 tasks "GET /users/{id}" [mutex lock, 2.1 s … 4.0 s]
///     tokio::sync::mutex::Mutex::lock  tokio-1.54.1/src/sync/mutex.rs:455:33
///     shop::users::load                src/users.rs:41:31
///     shop::users::show                src/users.rs:18:21
///     …
/// ```
///
/// Inside a tracked task, such as a connection spawned with `rtops_agent::spawn`, a request is a
/// span of that task. Otherwise, as with `axum::serve`, it is listed as a task of its own.
///
/// # axum
///
/// With the feature `axum`, a request is named after the route that it matched. `Router::layer` and
/// `Router::route_layer` know the route, as they run inside routing:
///
/// ```
/// use axum::{Router, extract::Path, routing::get};
/// use rtops_http::RequestLayer;
///
/// async fn user(Path(id): Path<u64>) -> String {
///     format!("user {id}")
/// }
///
/// let router: Router = Router::new()
///     .route("/users/{id}", get(user))
///     .layer(RequestLayer::new());
/// ```
///
/// One layer is enough, even with nested routers. Add it around all of them and as the last layer,
/// so that what the other layers wait for is visible too.
///
/// # tonic
///
/// The path of a gRPC request is its route, `/package.Service/Method`. tonic's server takes the
/// layer as it is: `Server::builder().layer(RequestLayer::new())`.
///
/// # hyper
///
/// hyper-util's `TowerToHyperService` can wrap a tracked service:
///
/// ```
/// use std::{borrow::Cow, convert::Infallible};
///
/// use http::{Request, Response};
/// use hyper::body::Incoming;
/// use hyper_util::{rt::TokioIo, service::TowerToHyperService};
/// use rtops_http::{RequestLayer, route_name};
/// use tower_layer::Layer;
/// # use std::{future::{Ready, ready}, task::{Context, Poll}};
/// # #[derive(Clone)]
/// # struct Api;
/// # impl tower_service::Service<Request<Incoming>> for Api {
/// #     type Response = Response<String>;
/// #     type Error = Infallible;
/// #     type Future = Ready<Result<Response<String>, Infallible>>;
/// #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
/// #         Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: Request<Incoming>) -> Self::Future {
/// #         ready(Ok(Response::new(String::new())))
/// #     }
/// # }
///
/// /// The routes of this service, by hand: never the path itself.
/// fn name(request: &Request<Incoming>) -> Cow<'static, str> {
///     let route = match request.uri().path() {
///         path if path.starts_with("/users/") => "/users/{id}",
///         "/health" => "/health",
///         _ => "",
///     };
///     route_name(request.method(), route)
/// }
///
/// async fn serve(socket: tokio::net::TcpStream) -> hyper::Result<()> {
///     let api = RequestLayer::new().name_by(name).layer(Api);
///     hyper::server::conn::http1::Builder::new()
///         .serve_connection(TokioIo::new(socket), TowerToHyperService::new(api))
///         .await
/// }
/// ```
///
/// # Names
///
/// A request without a route is named by its method only, so clients can hardly make up names. The
/// name of a route is stored once for all of its requests. There is room for about a thousand
/// names. Beyond that, which only made-up gRPC paths and methods should cause, a name lives as long
/// as its request.
///
/// # What it does to the service
///
/// A request costs about 400 nanoseconds, part of which are axum's layers, and each poll of its
/// handler or body about ten. Requests and answers are not changed. A panic in a handler propagates
/// as usual. A request disappears from the list when its client disconnects, provided that the
/// server then drops it.
///
/// The last piece of the body counts as sent when the server has taken it. If a client reads
/// slowly, the server stops asking for pieces: `rtops stack` then says that the request is held
/// back, and shows its connection next to it. What happens after an upgrade is no longer a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLayer<N = ByRoute> {
    name: N,
    site: &'static Location<'static>,
}

impl RequestLayer {
    /// Creates a layer that names requests as [`ByRoute`] does. The caller's file and line are
    /// shown as their spawn site.
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
    /// Names requests with this function instead. It should return few different names: equal ones
    /// are shown together, and no name should contain what a client can choose freely.
    /// [`route_name`](crate::route_name) makes a name from a method and a route without an
    /// allocation. Names are cut at 128 bytes.
    ///
    /// ```
    /// use axum::extract::Request;
    /// use rtops_http::{RequestLayer, route_name};
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
