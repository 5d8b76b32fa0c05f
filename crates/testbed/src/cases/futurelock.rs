//! A future that is queued for a lock is kept by `select!` but no longer polled, while its task
//! asks for the lock again (omicron#9259).

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::variant::{Variant, keep, runtime};

macro_rules! service {
    ($name:ident, $Mutex:ty) => {
        mod $name {
            use super::*;

            type Store = Arc<$Mutex>;

            pub(super) fn start(variant: Variant) {
                let store = Store::new(<$Mutex>::new(0));
                variant.spawn(flush(store.clone()));
                variant.spawn(session(store.clone()));
                variant.spawn(other(store));
            }

            async fn flush(store: Store) {
                let mut number = store.lock().await;
                sleep(Duration::from_millis(300)).await;
                *number += 1;
            }

            async fn session(store: Store) {
                sleep(Duration::from_millis(50)).await;
                let mut pending = Box::pin(write(store.clone()));
                tokio::select! {
                    () = &mut pending => {}
                    () = sleep(Duration::from_millis(50)) => {
                        write(store.clone()).await; // STUCK session: its own `pending` has the lock
                    }
                }
            }

            async fn other(store: Store) {
                sleep(Duration::from_millis(200)).await;
                write(store).await; // STUCK other: a victim
            }

            async fn write(store: Store) {
                let mut number = store.lock().await;
                *number += 1;
            }
        }
    };
}

service!(plain, tokio::sync::Mutex<u64>);
service!(wrapped, rtops_agent::sync::Mutex<u64>);

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        match variant {
            Variant::Bare | Variant::Plain => plain::start(variant),
            Variant::Wrapped => wrapped::start(variant),
        }
        keep().await;
    });
}
