//! Requests in flight that `rtops` sees by method and route, for axum, tonic and all that is built on
//! tower.
//!
//! [`RequestLayer`] has each request tracked from its arrival until the last of its answer's body is
//! handed over. `rtops stack` shows it by name, with its age and where it waits:
//!
//! ```text
//! 3 tasks "GET /users/{id}" [mutex lock, 2.1 s … 4.0 s]
//!     tokio::sync::mutex::Mutex::lock  tokio-1.54.1/src/sync/mutex.rs:455:33
//!     shop::users::load                src/users.rs:41:31
//!     shop::users::show                src/users.rs:18:21
//!     …
//! ```
//!
//! # axum
//!
//! With the feature `axum` a request is named by the route that it matched, which `Router::layer` and
//! `Router::route_layer` know, as they run inside of routing:
//!
//! ```
//! use axum::{Router, extract::Path, routing::get};
//! use rtops_tower::RequestLayer;
//!
//! async fn user(Path(id): Path<u64>) -> String {
//!     format!("user {id}")
//! }
//!
//! let router: Router = Router::new()
//!     .route("/users/{id}", get(user))
//!     .layer(RequestLayer::new());
//! ```
//!
//! One layer is enough, also for routers that are nested: it belongs around them all, and last of all
//! layers, so that what these wait for is seen as well.
//!
//! # tonic
//!
//! The path of a gRPC request is its route, `/package.Service/Method`. tonic's server takes the layer
//! as it is: `Server::builder().layer(RequestLayer::new())`.
//!
//! # hyper
//!
//! A service that hyper-util's `TowerToHyperService` wraps may be one of these:
//!
//! ```
//! use std::{borrow::Cow, convert::Infallible};
//!
//! use http::{Request, Response};
//! use hyper::body::Incoming;
//! use hyper_util::{rt::TokioIo, service::TowerToHyperService};
//! use rtops_tower::{RequestLayer, route_name};
//! use tower_layer::Layer;
//! # use std::{future::{Ready, ready}, task::{Context, Poll}};
//! # #[derive(Clone)]
//! # struct Api;
//! # impl tower_service::Service<Request<Incoming>> for Api {
//! #     type Response = Response<String>;
//! #     type Error = Infallible;
//! #     type Future = Ready<Result<Response<String>, Infallible>>;
//! #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
//! #         Poll::Ready(Ok(()))
//! #     }
//! #     fn call(&mut self, _: Request<Incoming>) -> Self::Future {
//! #         ready(Ok(Response::new(String::new())))
//! #     }
//! # }
//!
//! /// The routes of this service, by hand: never the path itself.
//! fn name(request: &Request<Incoming>) -> Cow<'static, str> {
//!     let route = match request.uri().path() {
//!         path if path.starts_with("/users/") => "/users/{id}",
//!         "/health" => "/health",
//!         _ => "",
//!     };
//!     route_name(request.method(), route)
//! }
//!
//! async fn serve(socket: tokio::net::TcpStream) -> hyper::Result<()> {
//!     let api = RequestLayer::new().name_by(name).layer(Api);
//!     hyper::server::conn::http1::Builder::new()
//!         .serve_connection(TokioIo::new(socket), TowerToHyperService::new(api))
//!         .await
//! }
//! ```
//!
//! # Names
//!
//! What a client makes up names nothing: without a route, a request is named by its method alone. Names
//! are kept once for all requests of a route. There is room for some thousand; beyond that, which only
//! made-up gRPC paths and methods should come to, a name lives as long as its request.
//!
//! # What it does to the service
//!
//! A request costs some 400 nanoseconds, of which axum's layers take a part, and each poll of its
//! handler or body some ten. Nothing is changed of what goes by, a panic in a handler goes on as without, and a
//! request is gone from the list when its client is, as far as the server drops it then.
//!
//! The body's last piece counts as sent when the server has taken it. Where a client is slow to
//! read, the server stops asking for pieces: `rtops stack` says that the request is held back, and shows its
//! connection beside it. What goes on after an upgrade is no longer a request.

/// The page for users has examples, too.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/operate/integrations.md")]
struct Integrations;

mod body;
mod future;
mod layer;
mod name;

pub use body::TrackedBody;
pub use future::ResponseFuture;
pub use layer::{RequestLayer, RequestService};
pub use name::{ByRoute, NameRequest, route_name};
