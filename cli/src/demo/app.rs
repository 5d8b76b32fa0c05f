//! What the sample service does, and what is wrong with it.
//!
//! Each kind of task is started by one function below, and shows up in `rtops stack`.

use std::{
    future::Future,
    hint,
    io::{self, PipeReader, PipeWriter, Read},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use rtops_agent::{JoinSet, Track, spawn, spawn_blocking, sync::Mutex};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{broadcast, mpsc, oneshot, watch},
    time::{interval, sleep, timeout},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Wrong: `restock` holds the lock of the cart while it waits for stock that never comes.
async fn cart(readers: usize) {
    let cart = Arc::new(Mutex::new(0));
    let (locked, is_locked) = oneshot::channel();
    tokio::spawn(restock(Arc::clone(&cart), locked).tracked("restock"));
    // Ready once `restock` holds the lock.
    is_locked.await.ok();
    for _ in 0..readers {
        tokio::spawn(look_up(Arc::clone(&cart)).tracked("cart reader"));
    }
}

async fn restock(cart: Arc<Mutex<u32>>, locked: oneshot::Sender<()>) {
    let mut items = cart.lock().await;
    locked.send(()).ok();
    *items = Stock::default().await;
}

async fn look_up(cart: Arc<Mutex<u32>>) -> u32 {
    *cart.lock().await
}

/// Wrong: it is pending but keeps no waker, so nothing can ever wake the task that waits for it.
#[derive(Default)]
struct Stock(AtomicBool);

impl Future for Stock {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
        if self.0.load(Relaxed) {
            Poll::Ready(7)
        } else {
            Poll::Pending
        }
    }
}

/// Wrong: a loop without an await, which keeps a worker to itself.
async fn recount() {
    let (started, is_started) = oneshot::channel();
    let counting = async {
        started.send(()).ok();
        // Every instruction has a line, so this shows wherever it is caught: not so in most loops.
        loop {
            hint::spin_loop();
        }
    };
    tokio::spawn(counting.tracked("recount"));
    is_started.await.ok();
}

/// The other ends of what the tasks wait for.
#[expect(
    dead_code,
    reason = "held, so that nothing that the tasks wait for comes"
)]
pub(super) struct Held {
    clients: Vec<TcpStream>,
    mails: mpsc::Sender<String>,
    config: watch::Sender<u32>,
    shutdown: broadcast::Sender<()>,
    upstream: Vec<oneshot::Sender<u32>>,
    camera: PipeWriter,
    exports: oneshot::Sender<()>,
}

/// Starts all tasks and returns once each has reached its wait.
pub(super) async fn start() -> io::Result<Held> {
    let (shutdown, _) = broadcast::channel(1);
    cart(24).await;
    let clients = connections(120).await?;
    let config = config_watchers(12);
    let mails = mailer();
    let upstream = checkout();
    let camera = thumbnail()?;
    let exports = exporter();
    sessions(40);
    scheduler(shutdown.subscribe());
    heartbeat();
    reports(6);
    recount().await;
    Ok(Held {
        clients,
        mails,
        config,
        shutdown,
        upstream,
        camera,
        exports,
    })
}

/// Opens connections whose clients ask nothing, and spawns the task that accepts them.
async fn connections(count: usize) -> io::Result<Vec<TcpStream>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener).tracked("accept"));
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"hello\n").await?;
        let mut reply = String::new();
        BufReader::new(&mut client).read_line(&mut reply).await?;
        clients.push(client);
    }
    Ok(clients)
}

async fn accept(listener: TcpListener) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(serve(client).tracked("connection"));
    }
}

async fn serve(client: TcpStream) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    while next_request(&mut client, &mut request).await? {
        client.write_all(b"yes\n").await?;
    }
    Ok(())
}

async fn next_request(client: &mut BufReader<TcpStream>, request: &mut String) -> io::Result<bool> {
    request.clear();
    Ok(client.read_line(request).await? > 0)
}

/// Spawns a loop over several sources.
fn scheduler(mut shutdown: broadcast::Receiver<()>) {
    spawn(async move {
        let mut tick = interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = shutdown.recv() => break,
            }
        }
    });
}

/// Spawns a request that waits for three others.
fn checkout() -> Vec<oneshot::Sender<u32>> {
    let (price, price_reply) = oneshot::channel();
    let (stock, stock_reply) = oneshot::channel();
    let (user, user_reply) = oneshot::channel();
    let total = async move {
        tokio::join!(
            call(price_reply).tracked("price"),
            call(stock_reply).tracked("stock"),
            call(user_reply).tracked("user"),
        )
    };
    tokio::spawn(total.tracked("checkout"));
    vec![price, stock, user]
}

async fn call(reply: oneshot::Receiver<u32>) -> Option<u32> {
    timeout(HOUR, reply).await.ok()?.ok()
}

/// Spawns tasks that wait for timers.
fn sessions(count: u64) {
    for number in 0..count {
        let expiry = async move { sleep(HOUR + Duration::from_secs(number)).await };
        tokio::spawn(expiry.tracked("session expiry"));
    }
}

/// Spawns a worker that waits for work.
fn mailer() -> mpsc::Sender<String> {
    let (mails, mut inbox) = mpsc::channel::<String>(16);
    spawn(async move { while inbox.recv().await.is_some() {} });
    mails
}

/// Spawns tasks that wait for a change.
fn config_watchers(count: usize) -> watch::Sender<u32> {
    let (config, _) = watch::channel(0);
    for _ in 0..count {
        let mut changes = config.subscribe();
        let watching = async move { while changes.changed().await.is_ok() {} };
        tokio::spawn(watching.tracked("config watcher"));
    }
    config
}

/// Starts a call on the blocking pool that takes its time.
fn thumbnail() -> io::Result<PipeWriter> {
    let (camera, picture) = io::pipe()?;
    spawn_blocking(move || read_picture(camera));
    Ok(picture)
}

fn read_picture(mut camera: PipeReader) -> io::Result<Vec<u8>> {
    let mut picture = Vec::new();
    camera.read_to_end(&mut picture)?;
    Ok(picture)
}

/// Spawns a supervisor and the parts of its job.
fn exporter() -> oneshot::Sender<()> {
    let (start, started) = oneshot::channel::<()>();
    let export = async move {
        let mut parts = JoinSet::new();
        for _ in 0..6 {
            parts.spawn(sleep(HOUR));
        }
        parts.spawn(async move {
            // An error, too, is a reason to go on.
            started.await.ok();
        });
        while parts.join_next().await.is_some() {}
    };
    tokio::spawn(export.tracked("export"));
    start
}

/// Spawns tasks the usual way, without a name: these are found in a copy of the process.
fn reports(count: usize) {
    for _ in 0..count {
        tokio::spawn(nightly_report());
    }
}

async fn nightly_report() {
    loop {
        sleep(8 * HOUR).await;
    }
}

/// Spawns a task that does a little work now and then.
fn heartbeat() {
    let beat = async {
        let mut tick = interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
        }
    };
    tokio::spawn(beat.tracked("heartbeat"));
}
