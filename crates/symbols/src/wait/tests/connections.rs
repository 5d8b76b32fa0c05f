//! Stacks of connections (hyper 1.12, h2 0.4, axum 0.8, actix-http 3.20, tonic 0.14), and
//! what they do for a request.

use super::*;

const READ: [&str; 3] = [
    "tokio::runtime::io::registration::Registration::poll_read_ready",
    "tokio::net::tcp::stream::TcpStream::poll_read_priv",
    "<hyper_util::rt::tokio::TokioIo<T> as hyper::rt::io::Read>::poll_read",
];
const FROM_IO: &str = "hyper::proto::h1::io::Buffered<T,B>::poll_read_from_io";
const RECV: [&str; 2] = [
    "tokio::sync::mpsc::bounded::Receiver<T>::poll_recv",
    "<tokio_stream::wrappers::mpsc_bounded::ReceiverStream<T> as futures_core::stream::Stream>::poll_next",
];
const DISPATCH_READ: &str = "hyper::proto::h1::dispatch::Dispatcher<D,Bs,I,T>::poll_read";
const DISPATCH_WRITE: &str = "hyper::proto::h1::dispatch::Dispatcher<D,Bs,I,T>::poll_write";
const HANDLER: &str = "<hyper::proto::h1::dispatch::Server<S,hyper::body::incoming::Incoming> as hyper::proto::h1::dispatch::Dispatch>::poll_msg";
const SERVER: [&str; 2] = [
    "<hyper::server::conn::http1::UpgradeableConnection<I,S> as core::future::future::Future>::poll",
    "axum::serve::handle_connection::{async_fn#0}::{async_block#3}",
];
const CLIENT: [&str; 1] =
    ["<hyper::client::conn::http1::Connection<T,B> as core::future::future::Future>::poll"];
const STREAM: [&str; 1] =
    ["<hyper::proto::h2::server::H2Stream<F,B,E> as core::future::future::Future>::poll"];
const ACTIX: [&str; 2] = [
    "<actix_http::h1::dispatcher::Dispatcher<T,S,B,X,U> as core::future::future::Future>::poll",
    "<actix_server::service::StreamService<S,I> as actix_service::Service<C>>::call::{async_block#0}",
];

/// Returns what a stack of these parts waits for and does, innermost first.
fn judged(parts: &[&[&str]]) -> (WaitReason, Option<Serving>) {
    let frames = parts.concat();
    let frames = names(&frames);
    let frames: Vec<&Name> = frames.iter().collect();
    (task_wait(&frames), serving(&frames))
}

#[test]
fn of_servers_of_http_1() {
    let head = [
        FROM_IO,
        "hyper::proto::h1::conn::Conn<I,B,T>::poll_read_head",
    ];
    let version =
        ["<hyper_util::server::conn::auto::ReadVersion<I> as core::future::future::Future>::poll"];
    let end = [
        FROM_IO,
        "hyper::proto::h1::conn::Conn<I,B,T>::mid_message_detect_eof",
        "hyper::proto::h1::conn::Conn<I,B,T>::poll_read_keep_alive",
    ];
    let body = [
        FROM_IO,
        "hyper::proto::h1::conn::Conn<I,B,T>::poll_read_body",
    ];
    let demand = ["hyper::body::chan::Sender::poll_ready"];
    let timer = ["<tokio::time::sleep::Sleep as core::future::future::Future>::poll"];
    let stream =
        ["<axum::response::sse::KeepAliveStream<S> as futures_core::stream::Stream>::poll_next"];
    let shutdown = [
        "<tokio::sync::notify::Notified as core::future::future::Future>::poll",
        "tokio::sync::watch::Sender<T>::closed::{async_fn#0}",
    ];
    let flush = [
        "tokio::net::tcp::stream::TcpStream::poll_write_priv",
        "hyper::proto::h1::io::Buffered<T,B>::poll_flush",
        "hyper::proto::h1::dispatch::Dispatcher<D,Bs,I,T>::poll_flush",
    ];
    for (inner, wait, serving) in [
        (
            &[&READ[..], &head, &[DISPATCH_READ]][..],
            WaitReason::Request,
            None,
        ),
        (&[&READ, &version], WaitReason::Request, None),
        (
            &[&timer, &head[1..], &[DISPATCH_READ]],
            WaitReason::Request,
            None,
        ),
        (&[&READ, &end, &[DISPATCH_READ]], WaitReason::HangUp, None),
        (
            &[&READ, &body, &[DISPATCH_READ]],
            WaitReason::HttpBody,
            None,
        ),
        (&[&demand, &[DISPATCH_READ]], WaitReason::BodyReader, None),
        (&[&shutdown], WaitReason::Shutdown, None),
        (
            &[&RECV, &[DISPATCH_WRITE]],
            WaitReason::ResponseBody,
            Some(Serving::Response),
        ),
        (&[&flush], WaitReason::Write, Some(Serving::Response)),
        (
            &[&timer, &stream, &[DISPATCH_WRITE]],
            WaitReason::ResponseBody,
            Some(Serving::Response),
        ),
        // What a library's handler waits for is neither the body of the response nor a shutdown.
        (
            &[&RECV, &[HANDLER, DISPATCH_WRITE]],
            WaitReason::ChannelReceive,
            Some(Serving::Handler),
        ),
        (
            &[&shutdown, &[HANDLER, DISPATCH_WRITE]],
            WaitReason::ChannelClosed,
            Some(Serving::Handler),
        ),
        // If it asked for nothing.
        (
            &[&[DISPATCH_WRITE]],
            WaitReason::Unknown,
            Some(Serving::Response),
        ),
    ] {
        assert_eq!(
            judged(&[inner, &[&SERVER]].concat()),
            (wait, serving),
            "{inner:?}"
        );
    }
}

#[test]
fn of_clients() {
    let head = [
        FROM_IO,
        "hyper::proto::h1::conn::Conn<I,B,T>::poll_read_head",
        DISPATCH_READ,
    ];
    let empty = [
        FROM_IO,
        "hyper::proto::h1::conn::Conn<I,B,T>::require_empty_read",
        "hyper::proto::h1::conn::Conn<I,B,T>::poll_read_keep_alive",
        DISPATCH_READ,
    ];
    let next = [
        "hyper::client::dispatch::Receiver<T,U>::poll_recv",
        "<hyper::proto::h1::dispatch::Client<B> as hyper::proto::h1::dispatch::Dispatch>::poll_msg",
        DISPATCH_WRITE,
    ];
    let canceled = [
        "tokio::sync::oneshot::Sender<T>::poll_closed",
        "hyper::client::dispatch::Callback<T,U>::poll_canceled",
    ];
    let frame = ["<h2::client::Connection<T,B> as core::future::future::Future>::poll"];
    let gone = [
        "<futures_channel::mpsc::Receiver<T> as futures_core::stream::Stream>::poll_next",
        "<hyper::proto::h2::client::ConnTask<T,B> as core::future::future::Future>::poll",
    ];
    for (stack, wait) in [
        (&[&READ[..], &head, &CLIENT][..], WaitReason::HttpResponse),
        (&[&READ, &empty, &CLIENT], WaitReason::Request),
        (&[&RECV[..1], &next, &CLIENT], WaitReason::Request),
        (&[&RECV, &[DISPATCH_WRITE], &CLIENT], WaitReason::BodyToSend),
        (&[&canceled, &CLIENT], WaitReason::HangUp),
        (&[&READ, &frame], WaitReason::Http2Frame),
        (&[&gone], WaitReason::HangUp),
    ] {
        assert_eq!(judged(stack), (wait, None), "{stack:?}");
    }
}

#[test]
fn of_streams_of_http_2() {
    let pipe = ["<hyper::proto::h2::PipeToSendStream<S> as core::future::future::Future>::poll"];
    let window = ["h2::share::SendStream<B>::poll_capacity"];
    let reset = ["h2::share::SendStream<B>::poll_reset"];
    let ping = [
        "<tokio::time::sleep::Sleep as core::future::future::Future>::poll",
        "hyper::proto::h2::ping::Ponger::poll",
    ];
    for (inner, wait, serving) in [
        (
            &[&RECV[..], &pipe][..],
            WaitReason::ResponseBody,
            Serving::Response,
        ),
        (
            &[&window, &pipe],
            WaitReason::Http2Window,
            Serving::Response,
        ),
        (&[&RECV], WaitReason::ChannelReceive, Serving::Handler),
        (&[&reset], WaitReason::HangUp, Serving::Handler),
    ] {
        assert_eq!(
            judged(&[inner, &[&STREAM]].concat()),
            (wait, Some(serving)),
            "{inner:?}"
        );
    }
    assert_eq!(judged(&[&ping]), (WaitReason::HangUp, None));
    let age = [
        "<tokio::time::sleep::Sleep as core::future::future::Future>::poll",
        "tonic::transport::server::sleep_or_pending::{async_fn#0}",
        "tonic::transport::server::serve_connection::{async_block#0}",
    ];
    assert_eq!(judged(&[&age]), (WaitReason::Shutdown, None));
}

#[test]
fn of_actix() {
    let read = ["actix_http::h1::dispatcher::InnerDispatcher<T,S,B,X,U>::read_available"];
    let timer = [
        "<tokio::time::sleep::Sleep as core::future::future::Future>::poll",
        "actix_http::h1::dispatcher::InnerDispatcher<T,S,B,X,U>::poll_head_timer",
    ];
    let shutdown = [
        "tokio::sync::watch::Receiver<T>::changed::{async_fn#0}",
        "actix_server::shutdown::GracefulShutdownSignal::notified::{async_fn#0}",
        "actix_http::h1::dispatcher::InnerDispatcher<T,S,B,X,U>::poll_graceful_shutdown",
    ];
    let response = ["actix_http::h1::dispatcher::InnerDispatcher<T,S,B,X,U>::poll_response"];
    let body = [
        "<actix_http::body::body_stream::BodyStream<S> as actix_http::body::message_body::MessageBody>::poll_next",
    ];
    let payload = ["actix_http::h1::payload::Inner::register"];
    let handler =
        ["<actix_service::map_err::MapErrFuture<A,R,F,E> as core::future::future::Future>::poll"];
    for (inner, wait, serving) in [
        (&[&READ[..2], &read][..], WaitReason::Request, None),
        (&[&timer], WaitReason::Request, None),
        (&[&shutdown], WaitReason::Shutdown, None),
        (
            &[&RECV, &body, &response],
            WaitReason::ResponseBody,
            Some(Serving::Response),
        ),
        (
            &[&RECV, &handler, &response],
            WaitReason::ChannelReceive,
            Some(Serving::Handler),
        ),
        (
            &[&payload, &handler, &response],
            WaitReason::HttpBody,
            Some(Serving::Handler),
        ),
    ] {
        assert_eq!(
            judged(&[inner, &[&ACTIX]].concat()),
            (wait, serving),
            "{inner:?}"
        );
    }
}

#[test]
fn what_a_connection_waits_for_besides() {
    for (wait, of_idle, of_serving) in [
        (WaitReason::HangUp, true, true),
        (WaitReason::Shutdown, true, true),
        (WaitReason::Request, false, true),
        (WaitReason::ResponseBody, false, false),
        (WaitReason::Sleep, false, false),
    ] {
        assert_eq!(
            (wait.is_aside(false), wait.is_aside(true)),
            (of_idle, of_serving),
            "{wait}"
        );
    }
}
