//! Threads that have nothing to do at the moment, or take turns.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
    time::Duration,
};

use crate::{
    threads::thread,
    traffic::{NO_END, requests_to_threads},
};

const WORKERS: usize = 4;

/// Workers with a channel each; all channels are empty.
pub(crate) fn pool() {
    let mut queues = Vec::new();
    for _ in 0..WORKERS {
        let (queue, jobs) = mpsc::channel::<u64>();
        queues.push(queue);
        thread("worker", move || jobs.into_iter().sum::<u64>());
    }
    keep(queues);
}

/// Workers that share one channel behind a mutex. One waits for a job, the others for the mutex.
pub(crate) fn shared_queue() {
    let (queue, jobs) = mpsc::channel::<u64>();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..WORKERS {
        let jobs = Arc::clone(&jobs);
        thread("worker", move || {
            loop {
                let job = jobs.lock().expect("nobody panics").recv();
                let Ok(job) = job else { return };
                thread::sleep(Duration::from_millis(job));
            }
        });
    }
    keep(queue);
}

/// Workers that wait on a condition variable until there is a job.
pub(crate) fn condvar_pool() {
    let queue = Arc::new((Mutex::new(Vec::<u64>::new()), Condvar::new()));
    for _ in 0..WORKERS {
        let queue = Arc::clone(&queue);
        thread("worker", move || {
            let (jobs, added) = &*queue;
            loop {
                let jobs = jobs.lock().expect("nobody panics");
                let jobs = added.wait_while(jobs, |jobs| jobs.is_empty());
                jobs.expect("nobody panics").clear();
            }
        });
    }
}

/// The main thread of a threaded service: it joins the worker, which runs as long as it does.
pub(crate) fn joined() {
    let (queue, jobs) = mpsc::channel::<u64>();
    let worker = thread("worker", move || jobs.into_iter().sum::<u64>());
    thread("service", move || worker.join().unwrap_or_default());
    keep(queue);
}

/// Threads that sleep between two rounds.
pub(crate) fn periodic() {
    for _ in 0..WORKERS {
        thread("refresh", || {
            loop {
                thread::sleep(Duration::from_millis(300));
            }
        });
    }
}

/// A threaded server in accept, with a connection that sends nothing.
pub(crate) fn server() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    thread("server", move || {
        for stream in listener.incoming() {
            let stream = stream?;
            thread("connection", || echo(stream));
        }
        io::Result::Ok(())
    });
    keep(TcpStream::connect(address));
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Short threads that come and go.
pub(crate) fn churn() {
    requests_to_threads(NO_END, |_| {
        thread("job", || thread::sleep(Duration::from_millis(20)));
    });
}

/// A mutex that four threads want all the time. Each gets it again and again.
pub(crate) fn contended_mutex() {
    let counter = Arc::new(Mutex::new(0_u64));
    for _ in 0..WORKERS {
        let counter = Arc::clone(&counter);
        thread("writer", move || {
            loop {
                *counter.lock().expect("nobody panics") += 1;
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
}

/// Keeps a value without which the threads would end.
fn keep<T: Send + 'static>(kept: T) {
    thread("keeper", move || {
        thread::sleep(Duration::from_secs(60 * 60));
        drop(kept);
    });
}
