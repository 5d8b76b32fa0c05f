//! Ways to wait, alone and nested.

use std::{
    future::{Future, pending},
    io,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt as _, StreamExt as _,
    future::{self, BoxFuture, join_all, select_all},
    stream::{self, FuturesOrdered, FuturesUnordered},
};
use rtops_testbed::FOREVER;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, duplex},
    net::{TcpListener, TcpStream, UdpSocket, UnixStream},
    sync::{Barrier, Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch},
    task::{JoinSet, unconstrained},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{Spawner, counted};

pub(crate) fn spawn(tasks: &Spawner) {
    tasks.spawn(sleep(FOREVER));
    tasks.spawn(ticks());
    tasks.spawn(channels());
    tasks.spawn(locks());
    tasks.spawn(several());
    tasks.spawn(many());
    tasks.spawn(boxed(6));
    tasks.spawn(streams());
    tasks.spawn(caught());
    tasks.spawn(unconstrained(unread()));
    tasks.spawn(failing(sockets()));
    tasks.spawn(failing(datagrams()));
    tasks.spawn(failing(pipes()));
    tasks.spawn(failing(files()));
}

/// Aborts if the task fails. The test notices if a task has ended.
async fn failing(task: impl Future<Output = io::Result<()>>) {
    if task.await.is_err() {
        std::process::abort();
    }
}

async fn ticks() {
    let mut ticks = interval(FOREVER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let both = timeout(FOREVER, ticks.tick());
    drop(timeout(FOREVER * 2, both).await);
}

async fn channels() {
    let (sender, mut receiver) = mpsc::channel::<u32>(2);
    let (_unbounded, mut more) = mpsc::unbounded_channel::<String>();
    let (_one, one) = oneshot::channel::<[u64; 5]>();
    let (_all, mut all) = broadcast::channel::<u8>(4);
    let (_newest, mut newest) = watch::channel(0_u8);
    for number in 0..2 {
        sender.send(number).await.ok();
    }
    tokio::select! {
        _sent = sender.send(3) => {}
        text = more.recv() => drop(text),
        _numbers = one => {}
        _byte = all.recv() => {}
        _changed = newest.changed() => {}
        () = sender.closed() => {}
    }
    receiver.close();
}

async fn locks() {
    let (mutex, lock) = (Mutex::new(1), RwLock::new(2));
    let (semaphore, notify) = (Semaphore::new(3), Notify::new());
    let barrier = Barrier::new(2);
    let (_held, _read) = (mutex.lock().await, lock.read().await);
    let _permits = semaphore.acquire_many(2).await;
    tokio::select! {
        _guard = mutex.lock() => {}
        _guard = lock.write() => {}
        _permits = semaphore.acquire_many(3) => {}
        () = notify.notified() => {}
        _leader = barrier.wait() => {}
    }
}

async fn several() {
    let quick = async { 1_u64 };
    let never = pending::<String>();
    let nested = async { tokio::join!(sleep(FOREVER), async { sleep(FOREVER * 2).await }) };
    let failing = async {
        let late = async {
            sleep(FOREVER).await;
            Err::<u8, ()>(())
        };
        tokio::try_join!(pending::<Result<(), ()>>(), late).ok();
    };
    let all = future::join4(quick, never, nested, failing);
    let all = future::select(Box::pin(all), Box::pin(join_all((0..9).map(after))));
    drop(all.await);
}

async fn after(number: u32) -> u32 {
    sleep(FOREVER + Duration::from_millis(u64::from(number))).await;
    number
}

async fn many() {
    let mut set = JoinSet::new();
    for number in 0..4 {
        set.spawn(counted(after(number)));
    }
    let mut unordered: FuturesUnordered<_> = (0..40).map(after).collect();
    let mut ordered: FuturesOrdered<_> = (0..5).map(after).collect();
    let some = select_all((0..3).map(|number| after(number).boxed()));
    tokio::select! {
        _joined = set.join_next() => {}
        _next = unordered.next() => {}
        _next = ordered.next() => {}
        _first = some => {}
    }
}

/// A future that contains itself, boxed each time.
fn boxed(depth: u32) -> BoxFuture<'static, ()> {
    async move {
        let name = format!("depth {depth}");
        match depth {
            0 => sleep(FOREVER).await,
            _ => boxed(depth - 1).await,
        }
        drop(name);
    }
    .boxed()
}

async fn streams() {
    let (_sender, receiver) = futures::channel::mpsc::channel::<u32>(1);
    let numbers = stream::iter(0..20).map(after).buffer_unordered(5);
    let merged = stream::select(receiver, numbers.filter(|n| future::ready(n % 2 == 0)));
    let mut chunks = Box::pin(merged.chunks(3).fuse());
    while let Some(chunk) = chunks.next().await {
        drop(chunk);
    }
}

tokio::task_local!(static DEPTH: u32);

async fn caught() {
    let inner = DEPTH.scope(3, async {
        let depth = DEPTH.with(|depth| *depth);
        after(depth).await
    });
    drop(AssertUnwindSafe(inner).catch_unwind().await);
}

/// A task that another one waits for.
async fn unread() {
    let shared = Arc::new([0_u8; 3000]);
    let task = {
        let shared = Arc::clone(&shared);
        async move {
            let copy = *shared;
            sleep(FOREVER).await;
            copy
        }
    };
    let task = tokio::spawn(counted(task));
    drop(task.await);
}

async fn sockets() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut near = TcpStream::connect(listener.local_addr()?).await?;
    let (mut far, _) = listener.accept().await?;
    far.write_all(b"GET / HTTP/1.1\r\n").await?;
    let mut lines = BufReader::with_capacity(32, &mut near).lines();
    lines.next_line().await?;
    tokio::select! {
        line = lines.next_line() => drop(line?),
        accepted = listener.accept() => drop(accepted?),
        byte = far.read_u8() => drop(byte?),
    }
    Ok(())
}

async fn datagrams() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let mut buffer = [0; 1500];
    socket.recv_from(&mut buffer).await?;
    Ok(())
}

async fn pipes() -> io::Result<()> {
    let (mut near, mut far) = duplex(64);
    near.write_all(&[7; 64]).await?;
    let (mut one, _other) = UnixStream::pair()?;
    let mut all = Vec::new();
    tokio::select! {
        written = near.write_all(&[8; 100]) => written?,
        read = one.read_to_end(&mut all) => drop(read?),
    }
    far.read_exact(&mut [0; 10]).await?;
    Ok(())
}

/// Waits for a closure on the blocking pool, which reads from a pipe that nobody writes to.
async fn files() -> io::Result<()> {
    let (mut reader, _writer) = io::pipe()?;
    let read: Pin<Box<dyn Future<Output = _> + Send>> =
        Box::pin(tokio::task::spawn_blocking(move || {
            io::Read::read(&mut reader, &mut [0])
        }));
    drop(read.await);
    Ok(())
}
