//! What must not be reported as lost or leaked: ended tasks whose wakers or weak
//! senders are kept, live children of parents that have ended, and a busy
//! `FuturesUnordered` (tokio-console#345, #380, tokio#8434).

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use rtops_testbed::FOREVER;
use tokio::{
    sync::{
        mpsc::{WeakSender, channel},
        oneshot,
    },
    time::sleep,
};

use crate::variant::{Variant, runtime};

type Kept = Arc<Mutex<Vec<WeakSender<()>>>>;

const HANDLERS: usize = 16;
const CRAWLERS: usize = 6;
const PAGES: u64 = 40;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async {
        let kept = Kept::default();
        for _ in 0..HANDLERS {
            let _ended = tokio::spawn(handler(kept.clone())).await;
        }
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(parent(sender));
        for number in 0..CRAWLERS {
            // Both kinds at once, in every variant.
            if number.is_multiple_of(2) {
                variant.spawn(crawl());
            } else {
                tokio::spawn(crawl());
            }
        }
        let _dropped = receiver.await;
    });
}

async fn handler(kept: Kept) {
    let (sender, _receiver) = channel(1);
    if let Ok(mut kept) = kept.lock() {
        kept.push(sender.downgrade());
    }
}

async fn parent(done: oneshot::Sender<()>) {
    tokio::spawn(async move {
        sleep(FOREVER).await;
        drop(done);
    });
}

async fn crawl() {
    let page = |number: u64| sleep(Duration::from_millis(number));
    let mut pages: FuturesUnordered<_> = (0..PAGES).map(|number| page(number * 7)).collect();
    for number in 0.. {
        pages.next().await;
        pages.push(page(100 + number % 150));
    }
}
