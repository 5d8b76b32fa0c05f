//! Idle forwarders have reserved the service by `ready`, and keep its permits; one that has work
//! gets none (tower#434, zebra#1593).

use std::{convert::Infallible, time::Duration};

use tokio::{
    sync::mpsc::{Receiver, channel},
    time::sleep,
};
use tower::{Service, ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn};

use crate::variant::{Variant, keep, runtime};

const PERMITS: usize = 3;
const FORWARDERS: usize = 5;
const JOBS: u64 = 50;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        let limit = GlobalConcurrencyLimitLayer::new(PERMITS);
        let mut inputs = Vec::new();
        for _ in 0..FORWARDERS {
            let service = ServiceBuilder::new().layer(limit.clone());
            let service = service.service(service_fn(handle));
            let (sender, receiver) = channel(100);
            inputs.push(sender);
            variant.spawn(forward(receiver, service));
            sleep(Duration::from_millis(20)).await;
        }
        let last = inputs.last().expect("there are some");
        for job in 0..JOBS {
            let _sent = last.try_send(job);
        }
        keep().await;
    });
}

async fn handle(job: u64) -> Result<u64, Infallible> {
    sleep(Duration::from_millis(5)).await;
    Ok(job)
}

async fn forward<S>(mut jobs: Receiver<u64>, mut service: S)
where
    S: Service<u64, Response = u64, Error = Infallible>,
{
    loop {
        let Ok(ready) = service.ready().await; // STUCK waiting: those with work
        let Some(job) = jobs.recv().await else { return }; // STUCK reserved: those that are idle
        let _answer = ready.call(job).await;
    }
}
