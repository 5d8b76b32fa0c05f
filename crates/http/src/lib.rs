//! Requests and connections that `rtops` sees by name, for services on axum, tonic, hyper and all that is
//! built on tower.
//!
//! | feature | has | for |
//! |---|---|---|
//! | `tower` | `RequestLayer` | each request in flight, by method and route |
//! | `axum` | the same | the routes of axum's routers in the names |
//! | `hyper` | `TrackedExecutor` | the tasks that hyper spawns: streams, connections |
//!
//! None is on by default, and each brings in only what it is for.

/// The page for users has examples, too.
#[cfg(all(doctest, feature = "tower", feature = "hyper"))]
#[doc = include_str!("../../../docs/operate/integrations.md")]
struct Integrations;

#[cfg(feature = "tower")]
mod body;
#[cfg(feature = "hyper")]
mod executor;
#[cfg(feature = "tower")]
mod future;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod name;

#[cfg(feature = "tower")]
pub use body::TrackedBody;
#[cfg(feature = "hyper")]
pub use executor::TrackedExecutor;
#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::{RequestLayer, RequestService};
#[cfg(feature = "tower")]
pub use name::{ByRoute, NameRequest, route_name};
