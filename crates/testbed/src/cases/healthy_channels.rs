//! A service at rest: its senders wait for connections, and all other tasks for the senders.

use std::sync::Arc;

use tokio::{
    net::TcpListener,
    sync::{Notify, broadcast, mpsc, oneshot, watch},
};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    let served = runtime(2).block_on(serve(variant));
    served.expect("the loopback works");
}

async fn serve(variant: Variant) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (jobs, mut queue) = mpsc::channel::<u64>(4);
    let (news, mut told) = broadcast::channel::<u64>(4);
    let (setting, mut current) = watch::channel(0_u64);
    let (stop, stopped) = oneshot::channel::<()>();
    let progress = Arc::new(Notify::new());
    let notified = progress.clone();
    variant.spawn(async move { while queue.recv().await.is_some() {} });
    variant.spawn(async move { while told.recv().await.is_ok() {} });
    variant.spawn(async move { while current.changed().await.is_ok() {} });
    variant.spawn(async move { notified.notified().await });
    variant.spawn(async move { drop(stopped.await) });
    variant.spawn(async move {
        while listener.accept().await.is_ok() {
            let _queued = jobs.send(1).await;
            let _told = news.send(1);
            let _set = setting.send(1);
            progress.notify_one();
        }
        let _sent = stop.send(());
    });
    keep().await;
    Ok(())
}
