//! A set keeps ended tasks and their values because nobody joins them, so
//! memory grows (irpc#40, underway#106).

use std::time::Duration;

use tokio::time::sleep;

use crate::variant::{Variant, keep, runtime};

macro_rules! listen {
    ($name:ident, $JoinSet:ty) => {
        async fn $name() {
            let mut set = <$JoinSet>::new();
            for number in 0_u64.. {
                set.spawn(request(number)); // STUCK listen: 200 ended tasks a second are kept
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
}

listen!(listen, tokio::task::JoinSet<Vec<u8>>);
listen!(listen_wrapped, rtops_agent::JoinSet<Vec<u8>>);

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        match variant {
            Variant::Bare | Variant::Plain => drop(variant.spawn(listen())),
            Variant::Wrapped => drop(variant.spawn(listen_wrapped())),
        }
        keep().await;
    });
}

async fn request(number: u64) -> Vec<u8> {
    sleep(Duration::from_millis(2)).await;
    vec![number.to_le_bytes()[0]; 16 * 1024]
}
