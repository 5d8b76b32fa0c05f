//! A client with a pool of connections, whose requests a server in the same process answers slowly.

use std::net::SocketAddr;

use http_body_util::Empty;
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rtops_testbed::{Never, control::Control, runtime::workers, settle::settlement};

use crate::{http, waiting::Arrivals};

/// How many requests are in flight.
const REQUESTS: usize = 3;

type Pool = Client<HttpConnector, Empty<Bytes>>;

pub(crate) fn run(control: Control) -> Result<Never, String> {
    let runtime = workers(2)?;
    let _inside = runtime.enter();
    let (pending, settlement) = settlement();
    let arrivals = Arrivals::of(pending, REQUESTS);
    let address = http::serve(arrivals).map_err(|error| error.to_string())?;
    let pool: Pool = Client::builder(TokioExecutor::new()).build_http();
    for _ in 0..REQUESTS {
        drop(runtime.spawn(call(pool.clone(), address)));
    }
    settlement.wait();
    control.serve(|| 0)
}

async fn call(pool: Pool, address: SocketAddr) {
    ask(&pool, address).await; // AWAIT pool-request
}

async fn ask(pool: &Pool, address: SocketAddr) {
    let request = Request::get(format!("http://{address}/slow")).body(Empty::new());
    if let Ok(request) = request {
        pool.request(request).await.ok(); // AWAIT pool-request
    }
}
