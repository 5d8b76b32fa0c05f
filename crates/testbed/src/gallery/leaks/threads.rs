//! The same forms of leaks, in threads.

use std::{
    io::{self, Read, Write},
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc},
    thread,
    time::Duration,
};

use crate::{
    threads::thread,
    traffic::{NO_END, THREADS, goes_wrong, requests_to_threads},
};

/// The other work of a request.
const WORK: Duration = Duration::from_millis(200);

/// Each request starts a thread that refreshes something forever.
pub(crate) fn endless_loop() {
    requests_to_threads(THREADS, |number| {
        thread("refresh", move || {
            let mut refreshed = number;
            loop {
                refreshed = refreshed.wrapping_add(1);
                thread::sleep(Duration::from_secs(1)); // LEAK thread-loop
            }
        });
    });
}

/// A read without a timeout, from a peer that forgets a few requests.
pub(crate) fn read() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    thread("backend", move || answer_most(&listener));
    requests_to_threads(NO_END, move |number| {
        thread("query", move || query(address, number));
    });
}

fn query(address: SocketAddr, number: usize) -> io::Result<[u8; 8]> {
    thread::sleep(WORK);
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&number.to_be_bytes())?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?; // LEAK thread-read
    Ok(answer)
}

fn answer_most(listener: &TcpListener) -> io::Result<()> {
    let mut forgotten = Vec::new();
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut number = [0; 8];
        stream.read_exact(&mut number)?;
        if goes_wrong(usize::from_be_bytes(number)) {
            forgotten.push(stream);
        } else {
            stream.write_all(&number)?;
        }
    }
}

/// A rendezvous channel, and a receiver that is kept but never read.
pub(crate) fn send() {
    let (metrics, unread) = mpsc::sync_channel(0);
    requests_to_threads(THREADS, move |number| {
        let _kept = &unread;
        let metrics = metrics.clone();
        thread("measure", move || {
            metrics.send(("requests", number)).ok(); // LEAK thread-send
        });
    });
}

/// A reply that never comes, from a thread that keeps its sender.
pub(crate) fn receive() {
    let mut replies = Vec::new();
    requests_to_threads(THREADS, move |_| {
        let (reply, replied) = mpsc::channel::<u64>();
        replies.push(reply);
        thread("call", move || {
            replied.recv().ok(); // LEAK thread-receive
        });
    });
}

/// The flag is set, but the thread that waits for it is not unparked.
pub(crate) fn park() {
    requests_to_threads(THREADS, |_| {
        thread("parked", || {
            loop {
                thread::park(); // LEAK thread-park
            }
        });
    });
}

/// A forgotten guard, and all threads that come later.
pub(crate) fn lock_forgotten() {
    let journal = Arc::new(Mutex::new(Vec::new()));
    mem::forget(journal.lock().expect("nobody panics"));
    requests_to_threads(THREADS, move |number| {
        let journal = Arc::clone(&journal);
        thread("journal", move || {
            journal.lock().expect("nobody panics").push(number); // LEAK thread-lock-forgotten
        });
    });
}

/// A callback takes the lock that is held while it is called.
pub(crate) fn lock_twice() {
    let listeners = Arc::new(Mutex::new(vec!["audit"]));
    thread("emit", move || {
        for listener in listeners.lock().expect("nobody panics").iter() {
            unsubscribe(&listeners, listener);
        }
    });
}

fn unsubscribe(listeners: &Mutex<Vec<&str>>, name: &str) {
    let mut listeners = listeners.lock().expect("nobody panics"); // LEAK thread-lock-twice
    listeners.retain(|listener| *listener != name);
}

/// Two threads that take two locks in opposite order.
pub(crate) fn lock_order() {
    let [users, groups] = [(), ()].map(|()| Arc::new(Mutex::new(0_u64)));
    let both = Arc::new(Barrier::new(2));
    for (name, first, second) in [("add", &users, &groups), ("remove", &groups, &users)] {
        let (first, second) = (Arc::clone(first), Arc::clone(second));
        let both = Arc::clone(&both);
        thread(name, move || {
            let first = first.lock().expect("nobody panics");
            // In a service, they meet by chance.
            both.wait();
            let second = second.lock().expect("nobody panics"); // LEAK thread-lock-order
            *first + *second
        });
    }
}

/// A reader that wants to write before it has released its lock.
pub(crate) fn upgrade() {
    let table = Arc::new(RwLock::new(Vec::new()));
    thread("intern", move || {
        let known = table.read().expect("nobody panics");
        if known.is_empty() {
            table.write().expect("nobody panics").push(1); // LEAK thread-rwlock-upgrade
        }
    });
}

/// A barrier that counts one more thread than ever arrives.
pub(crate) fn barrier() {
    let start = Arc::new(Barrier::new(2 + 1));
    for _ in 0..2 {
        let start = Arc::clone(&start);
        thread("shard", move || {
            start.wait(); // LEAK thread-barrier
        });
    }
}

/// A condition that came true without a notification.
pub(crate) fn condvar() {
    let ready = Arc::new((Mutex::new(false), Condvar::new()));
    requests_to_threads(THREADS, move |_| {
        let ready = Arc::clone(&ready);
        thread("wait ready", move || {
            let (ready, changed) = &*ready;
            let is_ready = ready.lock().expect("nobody panics");
            let is_ready = changed.wait_while(is_ready, |ready| !*ready); // LEAK thread-condvar
            drop(is_ready);
        });
    });
}

/// A consumer ends when all senders are gone, and is joined by a thread that
/// still has one. Most jobs drop it in time.
pub(crate) fn join_consumer() {
    requests_to_threads(NO_END, |number| {
        thread("job", move || run_job(number));
    });
}

fn run_job(number: usize) {
    thread::sleep(WORK);
    let (rows, to_write) = mpsc::channel();
    let writer = thread("writer", move || {
        to_write.into_iter().sum::<usize>() // LEAK thread-join-consumer
    });
    rows.send(number).ok();
    let unsent = goes_wrong(number).then_some(rows);
    writer.join().ok(); // LEAK thread-join-consumer
    drop(unsent);
}

/// A lock is held while a thread that wants it is joined.
pub(crate) fn join_under_lock() {
    let state = Arc::new(Mutex::new(0_u64));
    thread("shutdown", move || {
        let held = state.lock().expect("nobody panics");
        let flushed = Arc::clone(&state);
        let flush = thread("flush", move || {
            *flushed.lock().expect("nobody panics") += 1; // LEAK thread-join-under-lock
        });
        flush.join().ok(); // LEAK thread-join-under-lock
        drop(held);
    });
}
