//! Stacks as they are found in real programs, and what they wait for.

use super::*;

fn views<'a>(names: &[&'a str]) -> Vec<FrameView<'a>> {
    names
        .iter()
        .map(|function| FrameView { function })
        .collect()
}

/// The telling frames of real stacks, tokio 1.54, rustc 1.95: with whole names (debug = 1) and
/// with those that line tables leave.
#[test]
fn tasks() {
    const CLONE: &str = "<core::task::wake::Waker as core::clone::Clone>::clone";
    const ACQUIRE: &str =
        "<tokio::sync::batch_semaphore::Acquire as core::future::future::Future>::poll";
    const ELAPSED: &str = "tokio::runtime::time::entry::TimerEntry::poll_elapsed";
    const SLEEP: &str = "<tokio::time::sleep::Sleep as core::future::future::Future>::poll";
    const READINESS: &str = "tokio::runtime::io::scheduled_io::Readiness::poll";
    const READY: &str = "tokio::runtime::io::registration::Registration::poll_read_ready";
    const NOTIFIED: &str = "tokio::sync::notify::Notified::poll_notified";
    const LISTEN: &str = "event_listener::Inner::register";
    const CONTAINER: &str =
        "futures_util::stream::futures_unordered::FuturesUnordered<F>::poll_next";
    const CHILD: &str = "futures_util::stream::futures_unordered::task::waker_ref::clone_arc_raw";
    const TIMEOUT: &str =
        "<tokio::time::timeout::Timeout<T> as core::future::future::Future>::poll";
    let cases: &[(WaitReason, &[&str])] = &[
        (WaitReason::Sleep, &[ELAPSED, SLEEP]),
        (
            WaitReason::Timeout,
            &[
                ELAPSED,
                SLEEP,
                "<tokio::time::timeout::Timeout<T> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::Timeout,
            &[
                "tokio::runtime::time::entry::poll_elapsed",
                "tokio::time::timeout::poll<gateway::f::{async_fn_env#0}>",
            ],
        ),
        (
            WaitReason::Interval,
            &[
                ELAPSED,
                SLEEP,
                "tokio::time::interval::Interval::tick::{async_fn#0}",
            ],
        ),
        (
            WaitReason::ChannelReceive,
            &[
                "tokio::sync::mpsc::chan::Rx<T,S>::recv::{{closure}}",
                "tokio::sync::mpsc::bounded::Receiver<T>::recv::{async_fn#0}",
                "<tokio::time::timeout::Timeout<T> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::ChannelReceive,
            &[
                "tokio::sync::mpsc::chan::recv<u8>",
                "tokio::sync::mpsc::bounded::{async_fn}<u8>",
            ],
        ),
        (
            WaitReason::ChannelSend,
            &[
                ACQUIRE,
                "tokio::sync::mpsc::bounded::Sender<T>::send::{async_fn#0}",
            ],
        ),
        (
            WaitReason::ChannelSend,
            &[ACQUIRE, "tokio::sync::mpsc::bounded::{async_fn}"],
        ),
        (
            WaitReason::ChannelClosed,
            &[
                NOTIFIED,
                "tokio::sync::mpsc::bounded::Sender<T>::closed::{async_fn#0}",
            ],
        ),
        (
            WaitReason::Notify,
            &[NOTIFIED, "tokio::sync::mpsc::bounded::{async_fn}"],
        ),
        (
            WaitReason::OneshotReceive,
            &["<tokio::sync::oneshot::Receiver<T> as core::future::future::Future>::poll"],
        ),
        (
            WaitReason::BroadcastReceive,
            &["tokio::sync::broadcast::Receiver<T>::recv_ref"],
        ),
        (
            WaitReason::WatchChanged,
            &[
                NOTIFIED,
                "tokio::sync::watch::Receiver<T>::changed::{async_fn#0}",
            ],
        ),
        (
            WaitReason::MutexLock,
            &[ACQUIRE, "tokio::sync::mutex::Mutex<T>::lock::{async_fn#0}"],
        ),
        (
            WaitReason::RwLockRead,
            &[
                ACQUIRE,
                "tokio::sync::rwlock::RwLock<T>::read::{async_fn#0}",
            ],
        ),
        (
            WaitReason::RwLockWrite,
            &[
                ACQUIRE,
                "tokio::sync::rwlock::RwLock<T>::write::{async_fn#0}",
            ],
        ),
        (
            WaitReason::RwLock,
            &[ACQUIRE, "tokio::sync::rwlock::{async_fn}<u8>"],
        ),
        (
            WaitReason::SemaphoreAcquire,
            &[
                ACQUIRE,
                "tokio::sync::semaphore::Semaphore::acquire::{async_fn#0}",
            ],
        ),
        (
            WaitReason::Notify,
            &[
                NOTIFIED,
                "<tokio::sync::notify::Notified as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::Barrier,
            &[
                NOTIFIED,
                "tokio::sync::watch::Receiver<T>::changed::{async_fn#0}",
                "tokio::sync::barrier::Barrier::wait::{async_fn#0}",
            ],
        ),
        (
            WaitReason::OnceCell,
            &[
                ACQUIRE,
                "tokio::sync::once_cell::OnceCell<T>::get_or_init::{async_fn#0}",
            ],
        ),
        (
            WaitReason::Join,
            &["<tokio::runtime::task::join::JoinHandle<T> as core::future::future::Future>::poll"],
        ),
        (
            WaitReason::Accept,
            &[
                READINESS,
                "tokio::net::tcp::listener::TcpListener::accept::{async_fn#0}",
            ],
        ),
        (
            WaitReason::Accept,
            &[READINESS, "tokio::net::tcp::listener::{async_fn}"],
        ),
        (
            WaitReason::Read,
            &[
                READY,
                "<tokio::io::util::read::Read<R> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::Write,
            &[
                "tokio::runtime::io::registration::Registration::poll_write_ready",
                "tokio::io::util::write_all::WriteAll<W>::poll",
            ],
        ),
        (
            WaitReason::Write,
            &[
                READINESS,
                "tokio::net::tcp::stream::TcpStream::ready::{async_fn#0}",
                "tokio::net::tcp::stream::TcpStream::writable::{async_fn#0}",
            ],
        ),
        (
            WaitReason::IoReadiness,
            &[READINESS, "tokio::net::tcp::stream::{async_fn}"],
        ),
        (
            WaitReason::ProcessExit,
            &[READY, "tokio::process::Child::wait::{async_fn#0}"],
        ),
        (
            WaitReason::Signal,
            &[
                NOTIFIED,
                "tokio::sync::watch::Receiver<T>::changed::{async_fn#0}",
                "tokio::signal::unix::Signal::recv::{async_fn#0}",
            ],
        ),
        (
            WaitReason::BlockingTask,
            &[
                "tokio::runtime::task::join::JoinHandle<T>::poll",
                "tokio::fs::read::{async_fn}",
            ],
        ),
        (
            WaitReason::Yield,
            &["tokio::task::yield_now::yield_now::{async_fn#0}"],
        ),
        (
            WaitReason::CoopBudget,
            &[
                "tokio::task::coop::poll_proceed",
                "tokio::sync::mpsc::unbounded::UnboundedReceiver<T>::recv::{async_fn#0}",
            ],
        ),
        (WaitReason::FuturesContainer, &[CONTAINER]),
        (WaitReason::Sleep, &[ELAPSED, SLEEP, CONTAINER, TIMEOUT]),
        (WaitReason::Sleep, &[CHILD, CLONE, ELAPSED, SLEEP]),
        (WaitReason::Notify, &[CHILD, CLONE, NOTIFIED, CONTAINER]),
        (WaitReason::FuturesContainer, &[CHILD, CLONE, CONTAINER]),
        (
            WaitReason::ChannelSend,
            &[
                "futures_channel::mpsc::BoundedSenderInner<T>::poll_unparked",
                "futures_util::sink::send::Send<S>::poll",
            ],
        ),
        (
            WaitReason::ChannelReceive,
            &[
                LISTEN,
                "<async_channel::Recv<T> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::MutexLock,
            &[
                LISTEN,
                "<async_lock::mutex::Lock<T> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::Event,
            &[LISTEN, "event_listener::EventListener<T>::poll"],
        ),
        (
            WaitReason::Sleep,
            &[
                "async_io::reactor::Reactor::insert_timer",
                "async_io::Timer::poll",
            ],
        ),
        (WaitReason::Unknown, &["gateway::own::Future::poll"]),
    ];
    for (reason, frames) in cases {
        let mut names = vec!["rtops_tasks::probe::clone", CLONE];
        names.extend_from_slice(frames);
        // What the caller waits for in other places is of no account.
        names.extend([
            "gateway::serve::{async_fn#0}",
            "tokio::sync::mutex::Mutex<T>::lock",
        ]);
        assert_eq!(task_wait(&views(&names)), *reason, "{frames:?}");
    }
}

#[test]
fn threads() {
    const FUTEX: Option<i64> = Some(202);
    const OPENER: [&str; 4] = [
        "open",
        "std::sys::fs::unix::File::open_c::{closure#0}",
        "std::fs::File::open",
        "gateway::f",
    ];
    let cases: &[(WaitReason, char, Option<i64>, &[&str])] = &[
        (WaitReason::Running, 'R', None, &["gateway::hash"]),
        (
            WaitReason::EpollWait,
            'S',
            Some(232),
            &["epoll_wait", "mio::poll::Poll::poll"],
        ),
        (
            WaitReason::Parked,
            'S',
            FUTEX,
            &[
                "syscall",
                "parking_lot::condvar::Condvar::wait",
                "tokio::runtime::park::Inner::park",
            ],
        ),
        (
            WaitReason::MutexLock,
            'S',
            FUTEX,
            &[
                "std::sys::sync::mutex::futex::Mutex::lock_contended",
                "gateway::f",
            ],
        ),
        (
            WaitReason::Condvar,
            'S',
            FUTEX,
            &[
                "std::sys::sync::condvar::futex::Condvar::wait",
                "gateway::f",
            ],
        ),
        (
            WaitReason::Running,
            'S',
            FUTEX,
            &[
                "syscall",
                "std::sys::pal::unix::futex::futex_wake",
                "std::sys::sync::condvar::futex::Condvar::notify_one",
                "std::sync::poison::condvar::Condvar::notify_one",
                "gateway::f",
            ],
        ),
        (
            WaitReason::Running,
            'S',
            FUTEX,
            &[
                "syscall",
                "parking_lot_core::thread_parker::imp::UnparkHandle::unpark",
                "parking_lot::condvar::Condvar::notify_one_slow",
                "tokio::runtime::blocking::pool::Spawner::spawn_task",
            ],
        ),
        (
            WaitReason::Running,
            'S',
            FUTEX,
            &[
                "std::sys::sync::mutex::futex::Mutex::wake",
                "std::sync::poison::mutex::MutexGuard<T>::drop",
            ],
        ),
        (
            WaitReason::Running,
            'S',
            FUTEX,
            &[
                "std::sys::sync::thread_parking::futex::Parker::unpark",
                "std::thread::thread::Thread::unpark",
                "std::sync::mpmc::waker::SyncWaker::notify",
                "std::sync::mpsc::Sender<T>::send",
            ],
        ),
        (
            WaitReason::Running,
            'S',
            FUTEX,
            &["tokio::runtime::scheduler::multi_thread::park::Inner::unpark_condvar"],
        ),
        (
            WaitReason::ChannelReceive,
            'S',
            FUTEX,
            &[
                "std::thread::park",
                "std::sync::mpsc::Receiver<T>::recv",
                "gateway::f",
            ],
        ),
        (
            WaitReason::RwLockRead,
            'S',
            FUTEX,
            &[
                "std::thread::park",
                "rtops_sync::locks::blocking::block_on<rtops_sync::waiting::Waiting<F,W,D>>",
                "rtops_sync::locks::rwlock::RwLock<T>::blocking_read",
                "gateway::f",
            ],
        ),
        (
            WaitReason::SemaphoreAcquire,
            'S',
            FUTEX,
            &[
                "std::thread::park",
                "rtops_sync::locks::blocking::block_on",
                "rtops_sync::locks::semaphore::blocking_acquire_many",
                "gateway::f",
            ],
        ),
        (
            WaitReason::Sleep,
            'S',
            Some(230),
            &["clock_nanosleep", "std::thread::sleep"],
        ),
        (
            WaitReason::Read,
            'S',
            Some(0),
            &["read", "std::io::Read::read"],
        ),
        (
            WaitReason::RwLockRead,
            'S',
            FUTEX,
            &[
                "syscall",
                "parking_lot_core::parking_lot::park",
                "dashmap::lock::RawRwLock::lock_shared_slow",
                "<dashmap::lock::RawRwLock as lock_api::rwlock::RawRwLock>::lock_shared",
                "lock_api::rwlock::RwLock<R,T>::read",
                "dashmap::DashMap<K,V,S>::get",
                "gateway::f",
            ],
        ),
        (
            WaitReason::RwLockWrite,
            'S',
            FUTEX,
            &[
                "syscall",
                "parking_lot_core::parking_lot::park",
                "parking_lot::raw_rwlock::RawRwLock::lock_exclusive_slow",
                "gateway::f",
            ],
        ),
        (
            WaitReason::MutexLock,
            'S',
            FUTEX,
            &[
                "parking_lot::raw_mutex::RawMutex::lock_slow",
                "lock_api::remutex::ReentrantMutex<R,G,T>::lock",
                "gateway::f",
            ],
        ),
        (
            WaitReason::RwLockRead,
            'S',
            FUTEX,
            &[
                "std::sys::pal::unix::futex::futex_wait",
                "std::sys::sync::rwlock::futex::RwLock::read_contended",
                "std::sync::poison::rwlock::RwLock<T>::read",
                "gateway::f",
            ],
        ),
        (
            WaitReason::OnceCell,
            'S',
            FUTEX,
            &[
                "std::sys::sync::once::futex::Once::call",
                "std::sync::lazy_lock::LazyLock<T,F>::force",
                "gateway::f",
            ],
        ),
        // The one who makes the value is in the user's function.
        (
            WaitReason::Sleep,
            'S',
            Some(230),
            &[
                "clock_nanosleep",
                "std::thread::sleep",
                "gateway::f::{closure#0}",
                "std::sync::lazy_lock::LazyLock<T,F>::force",
            ],
        ),
        (
            WaitReason::Barrier,
            'S',
            FUTEX,
            &[
                "std::sys::sync::condvar::futex::Condvar::wait",
                "std::sync::barrier::Barrier::wait",
            ],
        ),
        (
            WaitReason::ChannelReceive,
            'S',
            FUTEX,
            &[
                "std::thread::park",
                "std::sync::mpmc::context::Context::wait_until",
                "std::sync::mpmc::list::Channel<T>::recv",
                "std::sync::mpsc::Receiver<T>::recv",
            ],
        ),
        (
            WaitReason::Join,
            'S',
            FUTEX,
            &[
                "__pthread_clockjoin_ex",
                "___pthread_join",
                "std::sys::thread::unix::Thread::join",
            ],
        ),
        (
            WaitReason::SpinLock,
            'R',
            None,
            &["spin::mutex::spin::SpinMutex<T,R>::lock", "gateway::f"],
        ),
        (
            WaitReason::BlockOn,
            'S',
            FUTEX,
            &[
                "parking_lot::condvar::Condvar::wait",
                "tokio::runtime::park::Inner::park",
                "tokio::runtime::park::CachedParkThread::block_on",
                "tokio::runtime::handle::Handle::block_on",
                "gateway::f",
            ],
        ),
        (
            WaitReason::BlockOn,
            'S',
            FUTEX,
            &[
                "std::thread::park",
                "futures_executor::local_pool::run_executor",
                "futures_executor::local_pool::block_on",
                "gateway::f",
            ],
        ),
        (
            WaitReason::ChannelReceive,
            'S',
            FUTEX,
            &[
                "tokio::runtime::park::CachedParkThread::block_on",
                "tokio::future::block_on::block_on",
                "tokio::sync::mpsc::bounded::Receiver<T>::blocking_recv",
            ],
        ),
        (
            WaitReason::EpollWait,
            'S',
            Some(232),
            &[
                "epoll_wait",
                "tokio::runtime::io::driver::Driver::turn",
                "tokio::runtime::scheduler::current_thread::CurrentThread::block_on",
            ],
        ),
        (WaitReason::FileOpen, 'S', None, &OPENER),
        (WaitReason::FileOpen, 'S', Some(257), &OPENER),
        (
            WaitReason::FileOpen,
            'S',
            None,
            &[
                "__open64_nocancel",
                "std::sys::fs::unix::File::open_c",
                "tokio::fs::open_options::OpenOptions::std_open::{closure#0}",
                "tokio::runtime::blocking::pool::Inner::run",
            ],
        ),
        (
            WaitReason::FileLock,
            'S',
            None,
            &[
                "flock",
                "std::sys::fs::unix::File::lock",
                "std::fs::File::lock",
                "gateway::f",
            ],
        ),
        (
            WaitReason::FileLock,
            'S',
            Some(72),
            &["__GI___libc_fcntl64", "sqlite3_step"],
        ),
        (
            WaitReason::FileSync,
            'D',
            Some(74),
            &["fsync", "std::fs::File::sync_all", "gateway::f"],
        ),
        (
            WaitReason::FileSync,
            'D',
            None,
            &["__GI_fdatasync", "gateway::f"],
        ),
        (
            WaitReason::FileRead,
            'D',
            Some(0),
            &[
                "__read",
                "std::sys::fd::unix::FileDesc::read",
                "std::fs::File::read",
            ],
        ),
        (
            WaitReason::FileCall,
            'D',
            Some(332),
            &["statx", "std::sys::fs::unix::try_statx"],
        ),
        (
            WaitReason::PipeRead,
            'S',
            Some(0),
            &[
                "__GI___libc_read",
                "__read",
                "std::sys::fd::unix::FileDesc::read",
                "std::io::pipe::PipeReader::read",
                "gateway::f",
            ],
        ),
        (
            WaitReason::PipeWrite,
            'S',
            None,
            &[
                "write@@GLIBC_2.2.5",
                "std::sys::fd::unix::FileDesc::write",
                "<std::process::ChildStdin as std::io::Write>::write",
                "gateway::f",
            ],
        ),
        (
            WaitReason::ProcessExit,
            'S',
            None,
            &[
                "wait4",
                "std::sys::process::unix::unix::Process::wait::{closure#0}",
                "std::process::Child::wait",
                "std::process::Command::status",
                "gateway::f",
            ],
        ),
        (
            WaitReason::ProcessExit,
            'S',
            None,
            &["waitid", "gateway::f"],
        ),
        (
            WaitReason::Resolve,
            'S',
            Some(7),
            &[
                "__GI___poll",
                "__res_context_send",
                "__GI_getaddrinfo",
                "std::sys::net::connection::socket::lookup_host",
            ],
        ),
        // What the user's own function does after it has called C is not known.
        (WaitReason::Unknown, 'S', None, &["gateway::f", "read"]),
        (WaitReason::Futex, 'S', FUTEX, &[]),
        (WaitReason::Unknown, 'S', None, &["gateway::f"]),
    ];
    for (reason, state, syscall, frames) in cases {
        assert_eq!(
            thread_wait(&views(frames), Some(*state), *syscall),
            *reason,
            "{frames:?}"
        );
    }
}
