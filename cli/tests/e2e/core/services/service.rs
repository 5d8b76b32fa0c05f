//! A service without an agent, for any version of tokio: ten ways to wait, and ways to die.
//!
//! `service MODE`: once all its tasks wait, one of them does what the mode says, or nothing for
//! `ten`, `lost` and `endless`. Then the service prints `ready`.

use std::{
    future::{Future, pending},
    hint::black_box,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, duplex},
    net::TcpListener,
    sync::{Mutex, Notify, Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

const LONG: Duration = Duration::from_secs(3600);

async fn sleeping() {
    sleep(LONG).await // AWAIT sleep
}

async fn receiving(mut queue: mpsc::Receiver<u8>) {
    queue.recv().await; // AWAIT mpsc
}

async fn answered(answer: oneshot::Receiver<u8>) {
    drop(answer.await) // AWAIT oneshot
}

async fn notified(notify: Arc<Notify>) {
    notify.notified().await // AWAIT notify
}

async fn locking(lock: Arc<Mutex<u8>>) {
    drop(lock.lock().await) // AWAIT mutex
}

async fn permitted(permits: Arc<Semaphore>) {
    drop(permits.acquire().await) // AWAIT semaphore
}

async fn accepting(listener: TcpListener) {
    drop(listener.accept().await) // AWAIT accept
}

async fn reading() {
    let (mut near, far) = duplex(16);
    let mut buffer = [0; 4];
    drop(near.read(&mut buffer).await); // AWAIT read
    drop(far);
}

async fn outer() {
    inner(1).await // AWAIT nested
}

async fn inner(seconds: u64) {
    sleep(LONG + Duration::from_secs(seconds)).await // AWAIT nested
}

async fn limited() {
    drop(timeout(LONG, pending::<()>()).await) // AWAIT timeout
}

/// Waits once, and then is ready forever: nobody wakes it.
struct LostWakeup(bool);

impl Future for LostWakeup {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        // Now something could wake it.
        Box::leak(Box::new(context.waker().clone()));
        Poll::Pending
    }
}

async fn lost() {
    LostWakeup(false).await; // READY lost
    black_box(());
}

/// Waits once, and then its poll never ends.
struct Endless(bool);

impl Future for Endless {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        while self.0 {
            black_box(());
        }
        self.0 = true;
        Box::leak(Box::new(context.waker().clone()));
        Poll::Pending
    }
}

async fn endless() {
    Endless(false).await
}

async fn guilty(mode: String, go: Arc<Notify>) {
    go.notified().await;
    die(&mode); // RUNNING guilty
}

#[inline(never)]
fn die(mode: &str) {
    println!("ready");
    match mode {
        "null" => null(), // RUNNING guilty
        "panic" => panic!("on purpose"),
        "overflow" => drop(black_box(deeper(black_box(1)))),
        "spin" => loop {
            black_box(());
        },
        "block" => std::thread::sleep(LONG),
        "hoard" => hoard(), // RUNNING guilty
        _ => {}
    }
}

#[inline(never)]
fn null() {
    unsafe { black_box(std::ptr::null_mut::<u8>()).write_volatile(1) }
}

/// Takes all memory, once it gets a line on its standard input.
#[inline(never)]
fn hoard() {
    let mut hoard = vec![vec![1_u8; 1 << 20]];
    std::io::stdin().read_line(&mut String::new()).unwrap();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let words = black_box([depth; 32]);
    deeper(depth + words[0]) + words[1]
}

/// Spawns tasks of several sizes that end, so that freed cells are all over the heap.
async fn ended() {
    for _ in 0..8 {
        let small = tokio::spawn(async { black_box([0_u8; 64])[0] });
        let large = tokio::spawn(async {
            let large = [0_u8; 5000];
            sleep(Duration::from_millis(1)).await;
            black_box(&large)[1]
        });
        let blocking = tokio::task::spawn_blocking(|| black_box(1));
        drop((small.await, large.await, blocking.await));
    }
}

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let workers = if mode == "one" { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(serve(mode))
}

async fn serve(mode: String) {
    ended().await;
    let notify = Arc::new(Notify::new());
    let (queue, receiver) = mpsc::channel(1);
    let (answer, answered_with) = oneshot::channel();
    let lock = Arc::new(Mutex::new(0));
    let guard = Arc::clone(&lock).lock_owned().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut handles = vec![
        tokio::spawn(sleeping()),
        tokio::spawn(receiving(receiver)),
        tokio::spawn(answered(answered_with)),
        tokio::spawn(notified(Arc::clone(&notify))),
        tokio::spawn(locking(lock)),
        tokio::spawn(permitted(Arc::new(Semaphore::new(0)))),
        tokio::spawn(accepting(listener)),
        tokio::spawn(reading()),
        tokio::spawn(outer()),
        tokio::spawn(limited()),
    ];
    let go = Arc::new(Notify::new());
    match mode.as_str() {
        "lost" => handles.push(tokio::spawn(lost())),
        "endless" => handles.push(tokio::spawn(endless())),
        _ => {}
    }
    let waits = matches!(mode.as_str(), "ten" | "lost" | "endless");
    if !waits {
        handles.push(tokio::spawn(guilty(mode, Arc::clone(&go))));
    }
    let kept: Vec<_> = (0..3).map(|n| tokio::spawn(async move { n })).collect();
    // All tasks have been polled by then, except on a hopelessly slow machine.
    sleep(Duration::from_millis(500)).await;
    if waits {
        println!("ready");
    }
    go.notify_one();
    sleep(LONG).await; // BLOCK_ON main
    drop((queue, answer, guard, handles, kept));
}
