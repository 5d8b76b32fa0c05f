//! Stacks found in real programs, and what they wait for.

use super::*;

mod connections;
mod threads;

fn names(functions: &[&str]) -> Vec<Name> {
    functions
        .iter()
        .map(|function| Name::of(function))
        .collect()
}

fn waits_for(functions: &[&str]) -> WaitReason {
    task_wait(&names(functions).iter().collect::<Vec<_>>())
}

/// The decisive frames of real stacks, tokio 1.54, rustc 1.95: with full names (debug = 1)
/// and with those that line tables leave.
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
    const JOIN: &str =
        "<tokio::runtime::task::join::JoinHandle<T> as core::future::future::Future>::poll";
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
            WaitReason::FileOpen,
            &[
                JOIN,
                "tokio::fs::asyncify::{async_fn#0}",
                "tokio::fs::file::File::open::{async_fn#0}",
            ],
        ),
        (
            WaitReason::FileRead,
            &[
                JOIN,
                "<tokio::fs::file::File as tokio::io::async_read::AsyncRead>::poll_read",
                "<tokio::io::util::read::Read<R> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::FileSync,
            &[JOIN, "tokio::fs::file::File::sync_all::{async_fn#0}"],
        ),
        (
            WaitReason::FileCall,
            &[JOIN, "tokio::fs::metadata::metadata::{async_fn#0}"],
        ),
        (
            WaitReason::Resolve,
            &[
                JOIN,
                "<tokio::net::addr::sealed::MaybeReady as core::future::future::Future>::poll",
                "tokio::net::tcp::stream::TcpStream::connect::{async_fn#0}",
            ],
        ),
        (
            WaitReason::Resolve,
            &[
                JOIN,
                "<hyper_util::client::legacy::connect::dns::GaiFuture as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::PipeRead,
            &[
                READY,
                "<tokio::process::ChildStdout as tokio::io::async_read::AsyncRead>::poll_read",
                "tokio::io::util::read_to_end::{async_fn#0}",
            ],
        ),
        (
            WaitReason::PipeWrite,
            &[
                "tokio::runtime::io::registration::Registration::poll_write_ready",
                "<tokio::process::ChildStdin as tokio::io::async_write::AsyncWrite>::poll_write",
                "<tokio::io::util::write_all::WriteAll<W> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::Cancellation,
            &[
                NOTIFIED,
                "<tokio_util::sync::cancellation_token::WaitForCancellationFuture as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::Join,
            &[
                NOTIFIED,
                "<tokio_util::task::task_tracker::TaskTrackerWaitFuture as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::Read,
            &[
                READY,
                "tokio_util::util::poll_buf::poll_read_buf",
                "<tokio_util::codec::framed_impl::FramedImpl<T,U,R> as futures_core::stream::Stream>::poll_next",
            ],
        ),
        (
            WaitReason::HttpBody,
            &[
                "atomic_waker::AtomicWaker::register",
                "hyper::body::chan::Receiver::poll_next",
                "<hyper::body::incoming::Incoming as http_body::Body>::poll_frame",
                "<http_body_util::combinators::collect::Collect<T> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::HttpBody,
            &[
                "h2::proto::streams::recv::Recv::poll_data",
                "h2::share::RecvStream::poll_data",
                "<hyper::body::incoming::Incoming as http_body::Body>::poll_frame",
            ],
        ),
        (
            WaitReason::GrpcMessage,
            &[
                "h2::share::RecvStream::poll_data",
                "<hyper::body::incoming::Incoming as http_body::Body>::poll_frame",
                "<tonic::codec::decode::Streaming<T> as futures_core::stream::Stream>::poll_next",
                "tonic::codec::decode::Streaming<T>::message::{async_fn#0}",
            ],
        ),
        (
            WaitReason::HttpResponse,
            &[
                "<tokio::sync::oneshot::Receiver<T> as core::future::future::Future>::poll",
                "hyper::client::conn::http1::SendRequest<B>::try_send_request::{async_block#0}",
                "hyper_util::client::legacy::client::Client<C,B>::try_send_request::{async_fn#0}",
            ],
        ),
        (
            WaitReason::HttpResponse,
            &[
                "h2::proto::streams::recv::Recv::poll_response",
                "<h2::client::ResponseFuture as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::PoolConnection,
            &[
                "<futures_channel::oneshot::Receiver<T> as core::future::future::Future>::poll",
                "<hyper_util::client::legacy::pool::Checkout<T,K> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::PoolConnection,
            &[
                ACQUIRE,
                "tokio::sync::semaphore::Semaphore::acquire::{async_fn#0}",
                "deadpool::managed::Pool<M,W>::timeout_get::{async_fn#0}::{async_block#0}",
            ],
        ),
        (
            WaitReason::Http2Window,
            &[
                "h2::proto::streams::send::Send::poll_capacity",
                "h2::share::SendStream<B>::poll_capacity",
                "<hyper::proto::h2::PipeToSendStream<S> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::ServiceReady,
            &[
                ACQUIRE,
                "tokio::sync::semaphore::Semaphore::acquire_many_owned::{async_fn#0}",
                "tokio_util::sync::reusable_box::ReusableBoxFuture<T>::poll",
                "tokio_util::sync::poll_semaphore::PollSemaphore::poll_acquire",
                "<tower::limit::concurrency::service::ConcurrencyLimit<T> as tower_service::Service<R>>::poll_ready",
                "<tower::util::ready::Ready<T,R> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::WebsocketReceive,
            &[
                READY,
                "<tokio::net::tcp::stream::TcpStream as tokio::io::async_read::AsyncRead>::poll_read",
                "<tokio_tungstenite::compat::AllowStd<S> as std::io::Read>::read",
                "tungstenite::protocol::WebSocket<S>::read",
                "<tokio_tungstenite::WebSocketStream<T> as futures_core::stream::Stream>::poll_next",
                "<futures_util::stream::stream::next::Next<S> as core::future::future::Future>::poll",
            ],
        ),
        (
            WaitReason::Unknown,
            &["<tower::util::ready::Ready<T,R> as core::future::future::Future>::poll"],
        ),
        // Where it stores the waker that its proxies wake.
        (
            WaitReason::WebsocketSend,
            &[
                "tokio_tungstenite::compat::AllowStd<S>::set_waker",
                "tokio_tungstenite::WebSocketStream<S>::with_context",
                "<tokio_tungstenite::WebSocketStream<T> as futures_sink::Sink<M>>::poll_flush",
            ],
        ),
        (
            WaitReason::ChannelReceive,
            &["<flume::async::RecvFut<T> as core::future::future::Future>::poll"],
        ),
        (WaitReason::FileRead, &[JOIN, "tokio::fs::read::{async_fn}"]),
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
        // What the caller waits for elsewhere does not matter.
        names.extend([
            "gateway::serve::{async_fn#0}",
            "tokio::sync::mutex::Mutex<T>::lock",
        ]);
        assert_eq!(waits_for(&names), *reason, "{frames:?}");
    }
}
