//! Polls that do not reach the place where their task waits.

use std::{
    hint::black_box,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    task::Poll,
    thread,
};

use crate::Spawner;

pub(crate) fn spawn(tasks: &Spawner) {
    tasks.then(|| Poll::Ready(()));
    tasks.then(|| panic!("{}", black_box("it is polled again")));
    tasks.then(|| process::exit(black_box(1)));
    tasks.work(|| drop(black_box(vec![1_u8; 600_000])));
    tasks.work(|| drop(black_box(vec![1_u8; 64 << 20])));
    let lock = Arc::new(Mutex::new(0_u64));
    hold(Arc::clone(&lock));
    tasks.then(move || {
        *lock.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Poll::Ready(())
    });
}

/// Holds a lock forever.
fn hold(lock: Arc<Mutex<u64>>) {
    let (locked, is_locked) = channel::<()>();
    thread::spawn(move || {
        let _guard = lock.lock();
        drop(locked);
        loop {
            thread::park();
        }
    });
    wait(&is_locked);
}

/// Waits until the other end is dropped.
fn wait(end: &Receiver<()>) {
    // Nothing is ever sent.
    end.recv().ok();
}
