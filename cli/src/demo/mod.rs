//! `rtops demo`: a sample service, and what `rtops` shows of it.

mod acts;
mod app;
mod sample;
mod service;

use std::io;

use crate::{
    args::{DemoArgs, OutputArgs},
    error::Error,
};

/// Runs the sample service and asks about it, or only serves.
///
/// # Errors
/// If the service can't be started or one of the commands fails.
pub fn run(args: &DemoArgs, output: &OutputArgs) -> Result<(), Error> {
    if args.serve {
        service::run(args.parent)
    } else {
        acts::run(output)
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Failed(format!("the demo can't {what}: {source}"))
}
