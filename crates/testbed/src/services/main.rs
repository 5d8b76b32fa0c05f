//! Services on the libraries that most services are built on: `services SERVICE`. Only `web` and
//! `grpc` know of rtops, apart from `main`, which starts the agent. They obey the same commands as
//! `targets`, and their awaits are marked in the same way.

mod grpc;
mod http;
mod http2;
mod pool;
mod redis_client;
mod waiting;
mod web;

use std::{env, process::ExitCode};

use rtops_testbed::{Never, control::Control, failed};

/// Prepares everything, waits until every request is in flight, and serves the test.
type Service = fn(Control) -> Result<Never, String>;

fn main() -> ExitCode {
    match run(&env::args().nth(1).unwrap_or_default()) {
        Err(error) => failed(&error),
    }
}

fn run(name: &str) -> Result<Never, String> {
    let service: Service = match name {
        "grpc" => grpc::run,
        "http" => http::run,
        "http2" => http2::run,
        "pool" => pool::run,
        "redis" => redis_client::run,
        "web" => web::run,
        other => return Err(format!("no service is called {other:?}")),
    };
    let control = Control::take().map_err(|error| error.to_string())?;
    rtops_agent::start().map_err(|error| error.to_string())?;
    service(control)
}
