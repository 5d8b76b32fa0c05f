//! The futures inside `buffer_unordered` hold connections, and are not polled while the body of the
//! loop waits for one (futures-rs#2387).

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::sleep;

use crate::variant::{Variant, keep, runtime};

const CONNECTIONS: usize = 4;
const REQUESTS: usize = 3;

macro_rules! service {
    ($name:ident, $Semaphore:ty) => {
        mod $name {
            use super::*;

            type Pool = Arc<$Semaphore>;

            pub(super) fn start(variant: Variant) {
                let pool = Pool::new(<$Semaphore>::new(CONNECTIONS));
                variant.spawn(job(pool.clone()));
                for _ in 0..REQUESTS {
                    variant.spawn(request(pool.clone()));
                }
            }

            async fn job(pool: Pool) {
                let mut rows = stream::iter(0..100)
                    .map(|number| select_row(pool.clone(), number))
                    .buffer_unordered(CONNECTIONS + 1);
                while let Some(row) = rows.next().await {
                    update(&pool, row).await;
                }
            }

            async fn select_row(pool: Pool, number: u64) -> u64 {
                let _connection = pool.acquire().await;
                sleep(Duration::from_millis(10 + number)).await; // STUCK select_row: has a connection, not polled
                number
            }

            async fn update(pool: &$Semaphore, _row: u64) {
                let _connection = pool.acquire().await; // STUCK job: for what its own stream has
                sleep(Duration::from_millis(5)).await;
            }

            async fn request(pool: Pool) {
                sleep(Duration::from_millis(500)).await;
                let _connection = pool.acquire().await; // STUCK request: a victim
            }
        }
    };
}

service!(plain, tokio::sync::Semaphore);
service!(wrapped, rtops_agent::sync::Semaphore);

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        match variant {
            Variant::Bare | Variant::Plain => plain::start(variant),
            Variant::Wrapped => wrapped::start(variant),
        }
        keep().await;
    });
}
