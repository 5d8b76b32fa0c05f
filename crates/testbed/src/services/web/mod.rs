//! A shop on axum whose requests are tracked by route. The test is its client: some requests are
//! parked on each route while others come and go.
//!
//! | command | answer |
//! |---|---|
//! | `port` | the port of the server |
//! | `release` | `released`: everything that is parked goes on |
//! | `check` | how many requests to `/echo/{number}` were answered |

mod bodies;
mod routes;

use std::{io, net::Ipv4Addr, sync::atomic::Ordering::SeqCst};

use axum::{
    Router,
    routing::{get, post, put},
};
use rtops_http::RequestLayer;
use rtops_testbed::{Never, control::Control, runtime::workers};
use tokio::{net::TcpListener, sync::watch};

use self::routes::{ECHOED, Gate, Shop};

pub(crate) fn run(control: Control) -> Result<Never, String> {
    let runtime = workers(2)?;
    let (release, gate) = watch::channel(false);
    let port = runtime.block_on(serve(Gate(gate)));
    let port = port.map_err(|error| error.to_string())?;
    control.serve_with(
        || ECHOED.load(SeqCst),
        |command| match command {
            "port" => Some(port.to_string()),
            "release" => {
                release.send_replace(true);
                Some("released".to_owned())
            }
            _ => None,
        },
    )
}

/// Starts the server on a free port.
async fn serve(gate: Gate) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let shop = Shop::locked_until(gate).await;
    drop(tokio::spawn(async move {
        axum::serve(listener, router(shop)).await.ok(); // AWAIT web-serve
    }));
    Ok(port)
}

fn router(shop: Shop) -> Router {
    let items = Router::new().route("/items/{item}", get(routes::item));
    let orders = Router::new().nest("/orders/{order}", items);
    Router::new()
        .route("/carts/{user}", post(routes::add_to_cart))
        .route("/downloads/{file}", get(routes::download))
        .route("/echo/{number}", post(routes::echo))
        .route("/events/{topic}", get(routes::events))
        .route("/lost", get(routes::lose))
        .route("/report", get(routes::report))
        .route("/uploads/{file}", put(routes::upload))
        .route("/users/{id}", get(routes::user))
        .nest("/api/{version}", orders)
        .layer(RequestLayer::new())
        .with_state(shop)
}
