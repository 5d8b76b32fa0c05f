//! Decides which frames of a stack are of use to somebody who knows the service.

use crate::Name;

/// What a frame means to a reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameClass {
    /// Code that polls tasks and starts threads.
    Executor,
    /// The standard library and the C library.
    Std,
    /// rtops itself.
    Agent,
    /// A library's way to wait: the outermost frame of a run of these is what was awaited.
    Leaf,
    /// Everything else.
    User,
}

/// Prefixes of paths and their classes, longer prefixes first where they overlap. A rule
/// that ends in `::` is for a whole module.
const RULES: &[(&str, FrameClass)] = &[
    ("rtops_agent::", FrameClass::Agent),
    ("rtops_capture::", FrameClass::Agent),
    ("rtops_http::", FrameClass::Agent),
    ("rtops_leaktest::", FrameClass::Agent),
    ("rtops_sync::", FrameClass::Agent),
    ("rtops_tasks::", FrameClass::Agent),
    ("rtops_threads::", FrameClass::Agent),
    // Code that registers wakers, and adaptors that only pass a poll on.
    ("tokio::future::", FrameClass::Executor),
    ("tokio::loom::", FrameClass::Executor),
    ("tokio::macros::", FrameClass::Executor),
    ("tokio::runtime::task::join::", FrameClass::Leaf),
    ("tokio::runtime::", FrameClass::Executor),
    ("tokio::task::coop::", FrameClass::Executor),
    ("tokio::task::local::", FrameClass::Executor),
    ("tokio::task::task_local::", FrameClass::Executor),
    ("tokio::trace::", FrameClass::Executor),
    ("tokio::util::", FrameClass::Executor),
    ("tokio::sync::task::", FrameClass::Executor),
    ("tokio::sync::batch_semaphore::", FrameClass::Executor),
    ("tokio::", FrameClass::Leaf),
    ("async_executor::", FrameClass::Executor),
    ("async_global_executor::", FrameClass::Executor),
    ("async_task::task::", FrameClass::Leaf),
    ("async_task::", FrameClass::Executor),
    ("atomic_waker::", FrameClass::Executor),
    ("event_listener_strategy::", FrameClass::Executor),
    ("futures_core::", FrameClass::Executor),
    ("futures_executor::", FrameClass::Executor),
    ("futures_task::", FrameClass::Executor),
    ("futures_util::future::future::Map", FrameClass::Executor),
    ("futures_util::future::future::map::", FrameClass::Executor),
    (
        "futures_util::future::try_future::MapErr",
        FrameClass::Executor,
    ),
    // Between a request and its handler.
    ("actix_codec::", FrameClass::Executor),
    ("actix_rt::", FrameClass::Executor),
    ("actix_service::", FrameClass::Executor),
    ("actix_utils::", FrameClass::Executor),
    ("actix_web::types::", FrameClass::Leaf),
    ("actix_web::", FrameClass::Executor),
    ("axum::handler::", FrameClass::Executor),
    ("axum::middleware::", FrameClass::Executor),
    ("axum::routing::", FrameClass::Executor),
    ("axum::util::", FrameClass::Executor),
    ("axum_core::body::", FrameClass::Executor),
    ("http_body::", FrameClass::Executor),
    (
        "http_body_util::combinators::box_body::",
        FrameClass::Executor,
    ),
    (
        "http_body_util::combinators::map_err::",
        FrameClass::Executor,
    ),
    ("tower::limit::", FrameClass::Leaf),
    ("tower::util::ready::", FrameClass::Leaf),
    ("scoped_tls::", FrameClass::Executor),
    ("tower::buffer::", FrameClass::Leaf),
    ("tower::", FrameClass::Executor),
    ("tower_http::", FrameClass::Executor),
    ("tower_service::", FrameClass::Executor),
    ("axum::extract::ws::", FrameClass::Executor),
    ("tonic::server::", FrameClass::Executor),
    ("tonic::service::", FrameClass::Executor),
    ("tonic::transport::server::", FrameClass::Executor),
    ("tonic::", FrameClass::Leaf),
    // Between a protocol and its connection.
    ("hyper::common::", FrameClass::Executor),
    ("hyper::rt::", FrameClass::Executor),
    ("hyper::service::", FrameClass::Executor),
    ("hyper::upgrade::", FrameClass::Executor),
    ("hyper_util::common::", FrameClass::Executor),
    ("hyper_util::rt::", FrameClass::Executor),
    ("hyper_util::service::", FrameClass::Executor),
    ("native_tls::", FrameClass::Executor),
    ("openssl::", FrameClass::Executor),
    ("rustls::", FrameClass::Executor),
    ("tokio_native_tls::", FrameClass::Executor),
    ("tokio_openssl::", FrameClass::Executor),
    ("tokio_rustls::", FrameClass::Executor),
    ("want::", FrameClass::Executor),
    ("actix_http::", FrameClass::Leaf),
    ("actix_server::", FrameClass::Leaf),
    ("axum::", FrameClass::Leaf),
    ("axum_core::", FrameClass::Leaf),
    ("h2::", FrameClass::Leaf),
    ("http_body_util::", FrameClass::Leaf),
    ("hyper::", FrameClass::Leaf),
    ("hyper_util::", FrameClass::Leaf),
    ("warp::filters::body::", FrameClass::Leaf),
    ("warp::server::", FrameClass::Leaf),
    ("warp::", FrameClass::Executor),
    ("reqwest::", FrameClass::Leaf),
    ("async_tungstenite::", FrameClass::Leaf),
    ("tokio_tungstenite::", FrameClass::Leaf),
    ("tungstenite::", FrameClass::Leaf),
    ("bb8::", FrameClass::Leaf),
    ("deadpool::", FrameClass::Leaf),
    ("sqlx_core::pool::", FrameClass::Leaf),
    ("tokio_stream::", FrameClass::Leaf),
    ("tokio_util::", FrameClass::Leaf),
    ("futures_lite::future::block_on", FrameClass::Executor),
    ("smol::spawn::", FrameClass::Executor),
    ("pin_project_lite::", FrameClass::Executor),
    ("async_channel::", FrameClass::Leaf),
    ("async_fs::", FrameClass::Leaf),
    ("async_io::", FrameClass::Leaf),
    ("async_lock::", FrameClass::Leaf),
    ("async_net::", FrameClass::Leaf),
    ("async_process::", FrameClass::Leaf),
    ("async_signal::", FrameClass::Leaf),
    ("blocking::", FrameClass::Leaf),
    ("event_listener::", FrameClass::Leaf),
    ("futures_channel::", FrameClass::Leaf),
    ("futures_io::", FrameClass::Leaf),
    ("futures_lite::", FrameClass::Leaf),
    ("futures_util::", FrameClass::Leaf),
    ("mio::", FrameClass::Leaf),
    ("parking::", FrameClass::Leaf),
    ("parking_lot::", FrameClass::Leaf),
    ("parking_lot_core::", FrameClass::Leaf),
    ("lock_api::", FrameClass::Leaf),
    ("polling::", FrameClass::Leaf),
    ("crossbeam_channel::", FrameClass::Leaf),
    ("crossbeam_utils::sync::", FrameClass::Leaf),
    ("dashmap::", FrameClass::Leaf),
    ("flume::", FrameClass::Leaf),
    ("once_cell::", FrameClass::Leaf),
    ("pollster::", FrameClass::Executor),
    ("spin::", FrameClass::Leaf),
    // Code that ends a process or a task: the outermost of these says how.
    ("alloc::alloc::handle_alloc_error", FrameClass::Leaf),
    ("core::panicking::assert_failed", FrameClass::Leaf),
    ("core::panicking::panic", FrameClass::Leaf),
    ("std::panicking::begin_panic", FrameClass::Leaf),
    ("std::sys::pal::unix::stack_overflow::", FrameClass::Leaf),
    ("__rustc::", FrameClass::Std),
    ("alloc::", FrameClass::Std),
    ("core::", FrameClass::Std),
    ("std::", FrameClass::Std),
];

/// Functions of the C library and the compiler around `main` and the start of a thread.
const STARTS: &[&str] = &[
    "_start",
    "__libc_start_call_main",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__clone",
    "__clone3",
    "__rust_try",
    "clone",
    "clone3",
    "main",
    "start_thread",
    "thread_start",
];

/// Returns what a function means to a reader, by the path of its name.
pub fn classify_path(path: &str) -> FrameClass {
    // The C library prefixes its functions with this internally.
    let bare = path.strip_prefix("__GI_").unwrap_or(path);
    if STARTS.contains(&bare) || path.contains("__rust_begin_short_backtrace") {
        return FrameClass::Executor;
    }
    let rule = RULES.iter().find(|(prefix, _)| {
        // The path of a nameless function is that of its module, without the last `::`.
        path.starts_with(prefix) || prefix.strip_suffix("::") == Some(path)
    });
    rule.map_or(FrameClass::User, |(_, class)| *class)
}

/// Returns the positions of the frames of a stack to show, innermost first as given. Of a
/// run of leaf frames only the outermost stays, which is what the code awaited. A stack
/// without leaf and user frames shows its innermost frame.
#[must_use]
pub fn visible(frames: &[&Name]) -> Vec<usize> {
    let mut shown = Vec::new();
    let mut run = None;
    for (index, frame) in frames.iter().enumerate() {
        match frame.class() {
            FrameClass::Leaf => run = Some(index),
            FrameClass::User => {
                shown.extend(run.take());
                shown.push(index);
            }
            // These do not end a run: a library goes through std and its executor.
            FrameClass::Executor | FrameClass::Std | FrameClass::Agent => {}
        }
    }
    shown.extend(run);
    if shown.is_empty() && !frames.is_empty() {
        shown.push(0);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[&'static str]) -> Vec<&'static str> {
        let known: Vec<Name> = names.iter().map(|name| Name::of(name)).collect();
        let positions = visible(&known.iter().collect::<Vec<_>>());
        positions
            .iter()
            .filter_map(|index| names.get(*index).copied())
            .collect()
    }

    #[test]
    fn the_awaited_method_and_the_users_frames_stay() {
        assert_eq!(
            shown(&[
                "rtops_tasks::probe::clone",
                "<core::task::wake::Waker as core::clone::Clone>::clone",
                "tokio::sync::batch_semaphore::Semaphore::poll_acquire::{{closure}}",
                "<tokio::sync::batch_semaphore::Acquire as core::future::future::Future>::poll",
                "tokio::sync::mutex::Mutex<T>::acquire::{async_fn#0}",
                "tokio::sync::mutex::Mutex<T>::lock::{async_block#0}",
                "tokio::sync::mutex::Mutex<T>::lock::{async_fn#0}",
                "gateway::conn::serve::{async_fn#0}",
                "<core::pin::Pin<P> as core::future::future::Future>::poll",
                "gateway::main::{async_block#0}",
                "<rtops_tasks::tracked::Tracked<F> as core::future::future::Future>::poll",
            ]),
            [
                "tokio::sync::mutex::Mutex<T>::lock::{async_fn#0}",
                "gateway::conn::serve::{async_fn#0}",
                "gateway::main::{async_block#0}",
            ]
        );
    }

    #[test]
    fn between_a_request_and_its_handler_nothing_is_shown() {
        assert_eq!(
            shown(&[
                "tokio::sync::mutex::Mutex<T>::lock::{async_fn#0}",
                "shop::users::show::{async_fn#0}",
                "<F as axum::handler::Handler<(), S>>::call::{async_block#0}",
                "<futures_util::future::future::Map<Fut, F> as core::future::future::Future>::poll",
                "<axum::handler::future::IntoServiceFuture<F> as core::future::future::Future>::poll",
                "<axum::util::MapIntoResponseFuture<F> as core::future::future::Future>::poll",
                "<tower::util::oneshot::Oneshot<S, R> as core::future::future::Future>::poll",
                "<axum::routing::route::RouteFuture<E> as core::future::future::Future>::poll",
                "<rtops_http::future::ResponseFuture<F> as core::future::future::Future>::poll",
            ]),
            [
                "tokio::sync::mutex::Mutex<T>::lock::{async_fn#0}",
                "shop::users::show::{async_fn#0}",
            ]
        );
    }

    #[test]
    fn what_ended_a_process_is_shown() {
        assert_eq!(
            shown(&[
                "abort",
                "std::process::abort",
                "std::sys::pal::unix::stack_overflow::thread_info::with_current_info",
                "std::sys::pal::unix::stack_overflow::imp::signal_handler",
                "shop::overflow",
            ]),
            [
                "abort",
                "std::sys::pal::unix::stack_overflow::imp::signal_handler",
                "shop::overflow",
            ]
        );
        assert_eq!(
            shown(&[
                "__rustc::rust_begin_unwind",
                "core::panicking::panic_nounwind_fmt",
                "core::panicking::panic_in_cleanup",
                "shop::drop_bomb",
            ]),
            ["core::panicking::panic_in_cleanup", "shop::drop_bomb"]
        );
    }

    #[test]
    fn the_start_of_a_thread_is_folded_under_any_of_its_names() {
        for start in ["__GI___clone3", "__libc_start_main", "start_thread"] {
            assert_eq!(Name::of(start).class(), FrameClass::Executor, "{start}");
        }
    }

    #[test]
    fn a_worker_that_is_idle_shows_something() {
        assert_eq!(
            shown(&["syscall", "std::thread::park", "main"]),
            ["syscall"]
        );
        assert_eq!(shown(&["std::thread::park", "main"]), ["std::thread::park"]);
        assert_eq!(shown(&[]), [""; 0]);
    }
}
