//! Tasks that are easy to misread, without an agent: containers of futures, types with trait
//! objects, signals, remains of ended tasks, executors in tasks, words next to a waker's functions.

use std::{
    env,
    future::{pending, poll_fn, Future},
    hint::black_box,
    pin::Pin,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        Arc,
    },
    task::{Wake, Waker},
    time::Duration,
};

use futures::{future::join_all, stream::FuturesUnordered, StreamExt};
use tokio::{
    signal::{
        ctrl_c,
        unix::{signal, SignalKind},
    },
    sync::Notify,
    task::{spawn_blocking, JoinSet},
    time::sleep,
};

const LONG: Duration = Duration::from_secs(3600);

/// One of the twelve children of a container.
async fn fetch(number: u32, notify: Arc<Notify>) {
    if number % 3 == 0 {
        notify.notified().await // AWAIT children
    } else {
        sleep(LONG).await // AWAIT children
    }
}

async fn crawl() {
    let notify = Arc::new(Notify::new());
    let fetches = futures::stream::iter(0..12).map(|number| fetch(number, Arc::clone(&notify)));
    fetches.buffer_unordered(12).for_each(|()| async {}).await // AWAIT children
}

/// Containers in a container, with 20 children in all.
async fn nest() {
    let outer: FuturesUnordered<_> = (0..5).map(|_| four()).collect();
    outer.for_each(|()| async {}).await
}

async fn four() {
    let inner: FuturesUnordered<_> = (0..4).map(|_| leaf()).collect();
    inner.for_each(|()| async {}).await
}

async fn leaf() {
    sleep(LONG).await // AWAIT nested
}

/// 40 children without a waker among 2 that have one.
async fn forget() {
    let mut children: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    for number in 0..42 {
        if number % 21 == 0 {
            children.push(Box::pin(remembered()));
        } else {
            children.push(Box::pin(forgotten()));
        }
    }
    join_all(children).await; // AWAIT forgotten
}

async fn remembered() {
    sleep(LONG).await // AWAIT forgotten
}

async fn forgotten() {
    pending().await // AWAIT forgotten
}

trait Database: Send + Sync {
    fn url(&self) -> String {
        env::var("DATABASE").unwrap_or_default()
    }
}

struct Postgres;

impl Database for Postgres {}

/// Its first words look like those of a box.
async fn sync_users(database: Arc<dyn Database>) {
    sleep(LONG).await; // AWAIT shared-object
    println!("{}", database.url());
}

async fn on_tick(callback: Box<dyn Fn(u32) + Send>) {
    sleep(LONG).await; // AWAIT boxed-closure
    callback(1);
}

/// Copies some megabytes on each poll.
async fn copies() {
    let from = vec![1_u8; 3 << 20];
    let mut to = vec![0; from.len()];
    let pause = sleep(LONG);
    tokio::pin!(pause);
    poll_fn(|context| {
        to.copy_from_slice(black_box(&from));
        pause.as_mut().poll(context) // AWAIT copies
    })
    .await;
    black_box(&to);
}

async fn inside_a_box() {
    sleep(LONG).await // AWAIT boxed
}

fn boxed() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(inside_a_box())
}

async fn wait_for_signal() {
    let mut term = signal(SignalKind::terminate()).unwrap();
    tokio::select! { // AWAIT signal
        _ = ctrl_c() => {}
        _ = term.recv() => {}
    }
}

async fn ended<const N: usize>(milliseconds: u64) {
    let bytes = [0_u8; N];
    if milliseconds > 0 {
        sleep(Duration::from_millis(milliseconds)).await;
    }
    black_box(&bytes);
}

async fn alive(number: u64) {
    sleep(LONG + Duration::from_secs(number)).await // AWAIT alive
}

/// Spawns tasks of several sizes that end, so that their remains are all over the heap.
async fn leave_traces() {
    for _ in 0..8 {
        let tasks = [
            tokio::spawn(ended::<64>(0)),
            tokio::spawn(ended::<900>(0)),
            tokio::spawn(ended::<300>(1)),
            tokio::spawn(ended::<900>(5)),
            tokio::spawn(ended::<5000>(5)),
            spawn_blocking(|| ()),
        ];
        for task in tasks {
            task.await.unwrap();
        }
    }
}

async fn request(number: usize) -> Vec<u8> {
    sleep(Duration::from_millis(2)).await;
    vec![number as u8; 16 * 1024]
}

/// Never joins what it spawns.
async fn listen() {
    let mut set = JoinSet::new();
    for number in 0..40 {
        set.spawn(request(number));
    }
    sleep(LONG).await // AWAIT keeper
}

async fn ask(number: u32) -> u32 {
    spawn_blocking(move || number + 1).await.unwrap()
}

/// Polls forever with an exhausted budget: whatever is ready returns `Pending`.
async fn work() {
    for number in 0..1000 {
        futures::executor::block_on(ask(number)); // RUNNING work
    }
}

/// Counts its wake-ups.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// The same, further away from its reference counts.
#[derive(Default)]
#[repr(align(128))]
struct WokenApart(Woken);

impl Wake for WokenApart {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0 .0.fetch_add(1, Relaxed);
    }
}

async fn unharmed() {
    guard(Arc::new(Woken::default()).into()).await // AWAIT unharmed
}

async fn unharmed_apart() {
    guard(Arc::new(WokenApart::default()).into()).await // AWAIT unharmed-apart
}

/// Next to the waker's functions are words that are not its data, but point to zeros, to addresses
/// and to possible counts. Compilers that spill registers, and freed memory, leave such words.
async fn guard(waker: Waker) {
    let vtable = std::ptr::from_ref(waker.vtable()) as usize;
    let kinds = [0, black_box(&waker) as *const Waker as usize, 3];
    let words: Vec<AtomicUsize> = (0..96).map(|n| AtomicUsize::new(kinds[n / 32])).collect();
    let pairs = [16, 48, 80].map(|n| {
        let data = words[n].as_ptr() as usize;
        [data, vtable, data]
    });
    let pause = sleep(LONG);
    tokio::pin!(pause);
    poll_fn(|context| {
        let is_same = |(n, word): (usize, &AtomicUsize)| word.load(Relaxed) == kinds[n / 32];
        assert!(words.iter().enumerate().all(is_same));
        pause.as_mut().poll(context) // AWAIT unharmed
    })
    .await;
    black_box((&waker, &pairs));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for number in 0..3 {
            tokio::spawn(alive(number));
        }
        leave_traces().await;
        tokio::spawn(crawl());
        tokio::spawn(nest());
        tokio::spawn(forget());
        tokio::spawn(sync_users(Arc::new(Postgres)));
        tokio::spawn(on_tick(Box::new(|number| println!("{number}"))));
        tokio::spawn(boxed());
        tokio::spawn(copies());
        tokio::spawn(unharmed());
        tokio::spawn(unharmed_apart());
        tokio::spawn(async {
            ctrl_c().await.unwrap(); // AWAIT ctrl-c
        });
        tokio::spawn(wait_for_signal());
        tokio::spawn(listen());
        tokio::spawn(work());
        // All tasks have been polled by then, except on a hopelessly slow machine.
        sleep(Duration::from_millis(500)).await;
        println!("ready");
        sleep(LONG).await
    })
}
