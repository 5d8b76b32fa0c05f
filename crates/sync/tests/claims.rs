//! Holders and waiters are known, with real tasks and threads of tokio's.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used)]

use std::{
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rtops_sync::{
    Claim, Contended, Kind, Members, Mode, Mutex, MutexGuard, RwLock, RwLockWriteGuard, Semaphore,
    contended,
};
use rtops_tasks::{Track, Tracked, current_thread};
use tokio::{sync::oneshot, task::JoinHandle};

const DEADLINE: Duration = Duration::from_secs(60);

/// Returns what is known about the lock made at this line.
fn at(line: u32) -> Option<Contended> {
    contended()
        .into_iter()
        .find(|lock| (lock.site.file(), lock.site.line()) == (file!(), line))
}

/// Waits until the lock has this many holders and waiters, and returns what is known about it.
#[track_caller]
fn settled(line: u32, holders: usize, waiters: usize) -> Contended {
    let end = Instant::now() + DEADLINE;
    loop {
        let lock = at(line);
        if let Some(lock) = &lock
            && (lock.holders.len(), lock.waiters.len()) == (holders, waiters)
        {
            return lock.clone();
        }
        assert!(Instant::now() < end, "{holders} and {waiters}: {lock:#?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until nobody waits for the lock.
#[track_caller]
fn quiet(line: u32) {
    let end = Instant::now() + DEADLINE;
    while let Some(lock) = at(line) {
        assert!(Instant::now() < end, "{lock:#?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Spawns a tracked task. Returns its number and its handle.
fn spawn<F>(future: F) -> (u64, JoinHandle<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let future: Tracked<F> = future.tracked("test");
    let id = future.entry().id().get();
    (id, tokio::spawn(future))
}

fn tasks(claims: &[Claim]) -> Vec<u64> {
    claims.iter().map(|claim| claim.task).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutex_knows_its_holder_and_who_waits() {
    let (mutex, line) = (Arc::new(Mutex::new(7_u8)), line!());
    let (release, released) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let other = mutex.clone();
    let taken = line!() + 2;
    let (holder, ended) = spawn(async move {
        let guard = other.lock().await;
        tell.send(()).unwrap();
        released.await.unwrap();
        drop(guard);
    });
    told.await.unwrap();
    assert!(at(line).is_none(), "nobody waits yet");
    let waiters: Vec<_> = (0..12)
        .map(|_| {
            let mutex = mutex.clone();
            spawn(async move { *mutex.lock_owned().await })
        })
        .collect();
    let wanted = line!() - 3;
    let lock = settled(line, 1, 12);
    assert_eq!((lock.kind, lock.value_type), (Kind::Mutex, "u8"));
    assert_eq!(lock.left_out, 0);
    let [claim] = lock.holders[..] else {
        panic!("{lock:?}")
    };
    assert_eq!(
        (claim.task, claim.mode, claim.permits),
        (holder, Mode::Exclusive, 1)
    );
    assert_eq!((claim.site.line(), claim.site.column()), (taken, 27));
    assert!(claim.tid > 0);
    assert!(lock.waiters.iter().all(|claim| claim.site.line() == wanted));
    let mut ids: Vec<u64> = waiters.iter().map(|(id, _)| *id).collect();
    let mut found = tasks(&lock.waiters);
    ids.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, ids);
    release.send(()).unwrap();
    for (_, waiter) in waiters {
        assert_eq!(waiter.await.unwrap(), 7);
    }
    ended.await.unwrap();
    assert!(at(line).is_none());
}

#[tokio::test]
async fn a_lock_that_passes_from_task_to_task_shows_the_latest_holder() {
    let (mutex, line) = (Arc::new(Mutex::new(())), line!());
    let guard = mutex.clone().lock_owned().await;
    let mut steps = Vec::new();
    for _ in 0..3 {
        let mutex = mutex.clone();
        let (release, released) = oneshot::channel::<()>();
        let (id, _) = spawn(async move {
            let guard = mutex.lock().await;
            released.await.unwrap();
            drop(guard);
        });
        tokio::task::yield_now().await;
        steps.push((id, release));
    }
    assert_eq!(tasks(&settled(line, 1, 3).holders), [0]);
    drop(guard);
    for (done, (id, release)) in steps.into_iter().enumerate() {
        tokio::task::yield_now().await;
        match at(line) {
            Some(lock) => assert_eq!(
                (tasks(&lock.holders), lock.waiters.len()),
                (vec![id], 2 - done)
            ),
            None => assert_eq!(done, 2),
        }
        release.send(()).unwrap();
    }
}

#[tokio::test]
async fn a_wait_begins_with_the_first_pending_poll_and_ends_when_cancelled() {
    let (mutex, line) = (Mutex::new(()), line!());
    let guard = mutex.lock().await;
    let waiting = mutex.lock();
    assert!(at(line).is_none(), "not polled");
    let mut waiting = Box::pin(waiting);
    assert!(waits(waiting.as_mut()));
    let first = settled(line, 1, 1).waiters[0];
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(waits(waiting.as_mut()));
    let second = settled(line, 1, 1).waiters[0];
    assert_eq!(first.since, second.since);
    drop(waiting);
    assert!(at(line).is_none());
    drop(guard);
    assert!(mutex.try_lock().is_ok());
}

/// Polls once, and returns whether it is pending.
fn waits<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    future.poll(&mut context).is_pending()
}

#[tokio::test]
async fn a_forgotten_guard_holds_for_ever_though_its_task_has_ended() {
    let (mutex, line) = (Arc::new(Mutex::new(())), line!());
    let other = mutex.clone();
    let (id, ended) = spawn(async move { mem::forget(other.lock().await) });
    ended.await.unwrap();
    let mut waiting = Box::pin(mutex.lock());
    assert!(waits(waiting.as_mut()));
    assert_eq!(tasks(&settled(line, 1, 1).holders), [id]);
}

#[tokio::test]
async fn a_guard_that_was_handed_on_is_the_claim_of_who_took_it() {
    let (mutex, line) = (Arc::new(Mutex::new(())), line!());
    let other = mutex.clone();
    let (id, handed_on) = spawn(other.lock_owned());
    let guard = handed_on.await.unwrap();
    let (_, keeper) = spawn(async move {
        tokio::task::yield_now().await;
        guard
    });
    let mut waiting = Box::pin(mutex.lock());
    assert!(waits(waiting.as_mut()));
    assert_eq!(tasks(&settled(line, 1, 1).holders), [id]);
    drop(keeper.await.unwrap());
    assert!(!waits(waiting.as_mut()));
}

#[test]
fn a_leaked_wait_outlives_its_lock_harmlessly() {
    let (mutex, line) = (Mutex::new(5), line!());
    let guard = mutex.try_lock().unwrap();
    let mut waiting = Box::pin(mutex.lock());
    assert!(waits(waiting.as_mut()));
    mem::forget(waiting);
    drop(guard);
    let moved = Box::new(mutex);
    assert_eq!(settled(line, 0, 1).waiters.len(), 1);
    // tokio has handed the lock to the leaked wait, which nobody polls.
    assert!(moved.try_lock().is_err());
    assert_eq!(moved.into_inner(), 5);
    assert!(at(line).is_none());
}

#[test]
fn a_blocked_thread_is_a_waiter() {
    let (mutex, line) = (Arc::new(Mutex::new(())), line!());
    let guard = mutex.blocking_lock();
    let other = mutex.clone();
    let waiter = thread::spawn(move || {
        let tid = current_thread();
        drop(other.blocking_lock());
        tid
    });
    let lock = settled(line, 1, 1);
    assert_eq!(
        (lock.holders[0].task, lock.holders[0].tid),
        (0, current_thread())
    );
    assert_eq!(lock.waiters[0].task, 0);
    drop(guard);
    assert_eq!(waiter.join().unwrap(), lock.waiters[0].tid);
    assert!(at(line).is_none());
}

/// Takes the lock and waits for it, both in the line that invokes this.
macro_rules! expect_taken_here {
    ($line:expr, $lock:ident.$wait:ident($($n:expr)?), $($guard:tt)*) => {
        let guard = $($guard)*;
        let mut waiting = Box::pin($lock.$wait($($n)?));
        assert!(waits(waiting.as_mut()));
        let known = at($line).unwrap();
        let here = (file!(), line!());
        for claim in known.holders.iter().chain(&known.waiters) {
            assert_eq!((claim.site.file(), claim.site.line()), here, "{}", stringify!($($guard)*));
        }
        assert_eq!(known.holders.len(), 1);
        drop(waiting);
        drop(guard);
    };
}

/// Returns the output of a future that does not have to wait.
fn now<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[rustfmt::skip]
#[test]
fn every_way_to_take_a_lock_knows_its_line() {
    let (a, line) = (Arc::new(Mutex::new(())), line!());
    expect_taken_here!(line, a.lock(), now(a.lock()));
    expect_taken_here!(line, a.lock(), a.try_lock().unwrap());
    expect_taken_here!(line, a.lock(), a.blocking_lock());
    expect_taken_here!(line, a.lock(), now(a.clone().lock_owned()));
    expect_taken_here!(line, a.lock(), a.clone().try_lock_owned().unwrap());
    expect_taken_here!(line, a.lock(), a.clone().blocking_lock_owned());
    let (a, line) = (Arc::new(RwLock::new(())), line!());
    expect_taken_here!(line, a.write(), now(a.read()));
    expect_taken_here!(line, a.write(), a.try_read().unwrap());
    expect_taken_here!(line, a.write(), a.blocking_read());
    expect_taken_here!(line, a.write(), now(a.clone().read_owned()));
    expect_taken_here!(line, a.write(), a.clone().try_read_owned().unwrap());
    expect_taken_here!(line, a.read(), now(a.write()));
    expect_taken_here!(line, a.read(), a.try_write().unwrap());
    expect_taken_here!(line, a.read(), a.blocking_write());
    expect_taken_here!(line, a.read(), now(a.clone().write_owned()));
    expect_taken_here!(line, a.read(), a.clone().try_write_owned().unwrap());
    let (a, line) = (Arc::new(Semaphore::new(1)), line!());
    expect_taken_here!(line, a.acquire(), now(a.acquire()).unwrap());
    expect_taken_here!(line, a.acquire(), now(a.acquire_many(1)).unwrap());
    expect_taken_here!(line, a.acquire_many(1), a.try_acquire().unwrap());
    expect_taken_here!(line, a.acquire(), a.try_acquire_many(1).unwrap());
    expect_taken_here!(line, a.acquire(), a.blocking_acquire().unwrap());
    expect_taken_here!(line, a.acquire(), a.blocking_acquire_many(1).unwrap());
    expect_taken_here!(line, a.acquire(), now(a.clone().acquire_owned()).unwrap());
    expect_taken_here!(line, a.acquire(), now(a.clone().acquire_many_owned(1)).unwrap());
    expect_taken_here!(line, a.acquire(), a.clone().try_acquire_owned().unwrap());
    expect_taken_here!(line, a.acquire(), a.clone().try_acquire_many_owned(1).unwrap());
    expect_taken_here!(line, a.acquire(), a.clone().blocking_acquire_owned().unwrap());
    expect_taken_here!(line, a.acquire(), a.clone().blocking_acquire_many_owned(1).unwrap());
}

static IN_A_STATIC: (Mutex<u8>, u32) = (Mutex::const_new(0), line!());

#[test]
fn a_lock_in_a_static_is_known_too() {
    let (mutex, line) = &IN_A_STATIC;
    let guard = mutex.try_lock().unwrap();
    let mut waiting = Box::pin(mutex.lock());
    assert!(waits(waiting.as_mut()));
    assert_eq!(settled(*line, 1, 1).value_type, "u8");
    drop((waiting, guard));
    assert!(at(*line).is_none());
}

#[test]
fn mapping_keeps_the_claim_and_a_panic_in_it_ends_it() {
    let (mutex, line) = (Mutex::new((1, 2)), line!());
    let taken = line!() + 1;
    let guard = mutex.try_lock().unwrap();
    let guard = MutexGuard::map(guard, |pair| &mut pair.0);
    let mut waiting = Box::pin(mutex.lock());
    assert!(waits(waiting.as_mut()));
    assert_eq!(settled(line, 1, 1).holders[0].site.line(), taken);
    drop(guard);
    assert_eq!(at(line).unwrap().holders.len(), 0);
    drop(waiting);
    let guard = mutex.try_lock().unwrap();
    let mut waiting = Box::pin(mutex.lock());
    assert!(waits(waiting.as_mut()));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _never: rtops_sync::MappedMutexGuard<'_, u8> =
            MutexGuard::map(guard, |_| panic!("as some do"));
    }));
    assert!(panicked.is_err());
    assert_eq!(at(line).unwrap().holders.len(), 0);
    assert!(!waits(waiting.as_mut()), "the lock is free");
}

#[tokio::test]
async fn readers_and_the_writer_who_waits_are_told_apart() {
    let (lock, line) = (Arc::new(RwLock::new(0)), line!());
    // More than have room in the lock.
    let mut readers = Vec::new();
    for _ in 0..9 {
        readers.push(lock.read().await);
    }
    let mut writer = Box::pin(lock.write());
    assert!(waits(writer.as_mut()));
    let mut late_reader = Box::pin(lock.read());
    assert!(waits(late_reader.as_mut()));
    let known = settled(line, 9, 2);
    assert_eq!((known.kind, known.value_type), (Kind::RwLock, "i32"));
    assert!(known.holders.iter().all(|claim| claim.mode == Mode::Shared));
    let modes: Vec<Mode> = known.waiters.iter().map(|claim| claim.mode).collect();
    assert_eq!(modes, [Mode::Exclusive, Mode::Shared]);
    for left in (1..9).rev() {
        drop(readers.swap_remove(left / 2));
        assert_eq!(at(line).unwrap().holders.len(), left);
    }
    readers.clear();
    assert!(!waits(writer.as_mut()));
    assert!(at(line).is_some(), "the reader waits");
    drop(writer);
    assert!(!waits(late_reader.as_mut()));
    assert!(at(line).is_none());
}

#[tokio::test]
async fn a_writer_that_becomes_a_reader_stays_the_same_holder() {
    for how in 0..3 {
        let (lock, line) = (Arc::new(RwLock::new((0, 1))), line!());
        let guard = lock.write().await;
        let mut waiting = Box::pin(lock.write());
        assert!(waits(waiting.as_mut()));
        let before = settled(line, 1, 1).holders[0];
        assert_eq!(before.mode, Mode::Exclusive);
        let whole;
        let part;
        match how {
            0 => {
                whole = Some(guard.downgrade());
                part = None;
            }
            1 => {
                whole = None;
                part = Some(RwLockWriteGuard::downgrade_map(guard, |pair| &pair.1));
            }
            _ => {
                whole = None;
                part = RwLockWriteGuard::try_downgrade_map(guard, |pair| Some(&pair.1)).ok();
            }
        }
        let after = settled(line, 1, 1).holders[0];
        assert_eq!(after.mode, Mode::Shared);
        assert_eq!((after.since, after.site), (before.since, before.site));
        drop((whole, part));
        assert!(!waits(waiting.as_mut()));
    }
}

#[tokio::test]
async fn permits_are_counted_through_merge_split_and_forget() {
    let (semaphore, line) = (Arc::new(Semaphore::new(8)), line!());
    let held = || {
        let mut held: Vec<u32> = at(line)
            .unwrap()
            .holders
            .iter()
            .map(|claim| claim.permits)
            .collect();
        held.sort_unstable();
        held
    };
    let mut one = semaphore.clone().acquire_many_owned(5).await.unwrap();
    let two = semaphore.clone().acquire_many_owned(3).await.unwrap();
    let mut waiting = Box::pin(semaphore.acquire_many(4));
    assert!(waits(waiting.as_mut()));
    let known = settled(line, 2, 1);
    assert_eq!((known.kind, known.waiters[0].permits), (Kind::Semaphore, 4));
    assert_eq!(held(), [3, 5]);
    one.merge(two);
    assert_eq!(held(), [8]);
    let mut parts: Vec<_> = (0..6).map(|_| one.split(1).unwrap()).collect();
    assert_eq!(held(), [1, 1, 1, 1, 1, 1, 2]);
    let site = at(line).unwrap().holders[0].site;
    assert!(
        at(line)
            .unwrap()
            .holders
            .iter()
            .all(|claim| claim.site == site)
    );
    let mut last = parts.pop().unwrap();
    last.merge(parts.pop().unwrap());
    assert_eq!(held(), [1, 1, 1, 1, 2, 2]);
    one.forget();
    assert_eq!(held(), [1, 1, 1, 1, 2], "what is forgotten is nobody's");
    drop(parts);
    assert!(!waits(waiting.as_mut()));
    drop(waiting);
    semaphore.close();
    assert!(at(line).is_none());
}

#[tokio::test]
async fn who_waits_for_a_closed_semaphore_is_sent_away() {
    let (semaphore, line) = (Semaphore::new(0), line!());
    let mut waiting = Box::pin(semaphore.acquire());
    assert!(waits(waiting.as_mut()));
    settled(line, 0, 1);
    semaphore.close();
    assert!(waiting.as_mut().await.is_err());
    assert!(at(line).is_none());
}

#[tokio::test]
async fn a_set_is_held_by_its_tasks_that_have_not_ended() {
    let (members, line) = (Members::new::<u8>(), line!());
    let mut releases = Vec::new();
    let mut handles = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..100 {
        let (release, released) = oneshot::channel::<()>();
        let future = async move { drop(released.await) }.tracked("member");
        members.add(future.entry());
        ids.push(future.entry().id().get());
        handles.push(tokio::spawn(future));
        releases.push(release);
    }
    assert!(at(line).is_none(), "nobody waits");
    let site = std::panic::Location::caller();
    let mut waiting = Box::pin(members.waiting(handles.pop().unwrap(), site));
    assert!(waits(waiting.as_mut()));
    assert_eq!(tasks(&settled(line, 100, 1).holders), ids);
    for release in releases.drain(..99) {
        drop(release);
    }
    for handle in handles {
        handle.await.unwrap();
    }
    let known = settled(line, 1, 1);
    assert_eq!((known.kind, known.value_type), (Kind::JoinSet, "u8"));
    assert_eq!(tasks(&known.holders), ids[99..]);
    drop(releases);
    waiting.await.unwrap();
    assert!(at(line).is_none());
}

#[test]
fn a_lock_is_not_much_larger_than_one_of_tokio() {
    let more = size_of::<Mutex<u8>>() - size_of::<tokio::sync::Mutex<u8>>();
    assert!(more <= 88, "{more}");
    let more = size_of::<RwLock<u8>>() - size_of::<tokio::sync::RwLock<u8>>();
    assert!(more <= 208, "{more}");
    let more = size_of::<Semaphore>() - size_of::<tokio::sync::Semaphore>();
    assert!(more <= 208, "{more}");
}

#[test]
fn after_a_storm_no_claim_is_left() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let (mutex, mutex_line) = (Arc::new(Mutex::new(0_u64)), line!());
    let (lock, lock_line) = (Arc::new(RwLock::new(0_u64)), line!());
    let (semaphore, semaphore_line) = (Arc::new(Semaphore::new(3)), line!());
    let lines = [mutex_line, lock_line, semaphore_line];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // One thread reads all the time, and never sees more than there can be.
        scope.spawn(|| {
            while !done.load(Relaxed) {
                for known in contended() {
                    if known.site.file() != file!() || !lines.contains(&known.site.line()) {
                        continue;
                    }
                    let exclusive = |claim: &Claim| claim.mode == Mode::Exclusive;
                    match known.kind {
                        Kind::Mutex => assert!(known.holders.len() <= 1, "{known:?}"),
                        // A writer that was downgraded may be listed together with the next one.
                        Kind::RwLock => {
                            let writers = known.holders.iter().filter(|claim| exclusive(claim));
                            assert!(writers.count() <= 1, "{known:?}");
                        }
                        _ => {}
                    }
                }
            }
        });
        scope.spawn(|| {
            for _ in 0..2_000 {
                *mutex.blocking_lock() += 1;
                let _read = lock.blocking_read();
            }
        });
        runtime.block_on(async {
            let tasks: Vec<_> = (0..64)
                .map(|number| {
                    let (mutex, lock) = (mutex.clone(), lock.clone());
                    let semaphore = semaphore.clone();
                    spawn(storm(number, mutex, lock, semaphore)).1
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        done.store(true, Relaxed);
    });
    lines.into_iter().for_each(quiet);
    // A new wait sees no holder that is gone.
    let mut waiting = Box::pin(semaphore.acquire_many(4));
    assert!(waits(waiting.as_mut()));
    assert_eq!(at(semaphore_line).unwrap().holders.len(), 0);
    assert!(mutex.try_lock().is_ok() && lock.try_write().is_ok());
}

async fn storm(
    number: usize,
    mutex: Arc<Mutex<u64>>,
    lock: Arc<RwLock<u64>>,
    semaphore: Arc<Semaphore>,
) {
    for round in 0..100 {
        match (number + round) % 6 {
            0 => *mutex.lock().await += 1,
            1 => drop(tokio::time::timeout(Duration::ZERO, mutex.lock()).await),
            2 => {
                let guard = lock.write().await;
                tokio::task::yield_now().await;
                drop(guard.downgrade());
            }
            3 => {
                let _read = lock.clone().read_owned().await;
                tokio::task::yield_now().await;
            }
            4 => {
                let mut permit = semaphore.acquire_many(2).await.unwrap();
                let part = permit.split(1);
                tokio::task::yield_now().await;
                drop((part, permit));
            }
            _ => {
                let _mutex = mutex.lock().await;
                let _permit = semaphore.clone().acquire_owned().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    }
}
