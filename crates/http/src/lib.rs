//! Makes requests and connections visible to `rtops` by name, for services based on axum, tonic,
//! hyper and everything built on tower.
//!
//! | feature | provides | for |
//! |---|---|---|
//! | `tower` | `RequestLayer` | each request in flight, by method and route |
//! | `axum` | `RequestLayer` | the same, with the routes of axum's routers in the names |
//! | `hyper` | `TrackedExecutor` | the tasks that hyper spawns: streams, connections |
//!
//! No feature is on by default, and each adds only the dependencies that it needs.

/// Runs the examples of the user documentation as doctests.
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
