//! A service that serves the profile of its tasks where Go services do, under `/debug/pprof/`.
//!
//! ```text
//! cargo run -p rtops-agent --features profile --example debug_pprof
//! go tool pprof -top http://127.0.0.1:PORT/debug/pprof/goroutine
//! curl 'http://127.0.0.1:PORT/debug/pprof/goroutine?debug=1'
//! ```
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::{collections::HashMap, error::Error, future::pending, net::Ipv4Addr, time::Duration};

use axum::{
    Router,
    extract::Query,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use rtops_agent::{
    Track,
    profile::{self, ProfileError, Text},
};
use tokio::{net::TcpListener, sync::mpsc, task::spawn_blocking, time::sleep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    rtops_agent::start()?;
    work();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("http://{}/debug/pprof/", listener.local_addr()?);
    axum::serve(listener, debug_pprof()).await?;
    Ok(())
}

/// Anyone who can reach these pages sees the names of the service's functions and can have its
/// tasks polled, so serve them only to operators.
fn debug_pprof() -> Router {
    Router::new()
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/goroutine", get(goroutine))
}

async fn index() -> Html<String> {
    Html(format!(
        "<!doctype html><title>/debug/pprof/</title><h1>/debug/pprof/</h1>\
         <table><tr><th>Count<th>Profile\
         <tr><td>{}<td><a href='goroutine?debug=1'>goroutine</a></table>\
         <p><a href='goroutine?debug=2'>full task stack dump</a>",
        rtops_agent::task_count()
    ))
}

async fn goroutine(Query(query): Query<HashMap<String, String>>) -> Response {
    let text = match query.get("debug").map(String::as_str) {
        None | Some("0") => None,
        Some("1") => Some(Text::Grouped),
        Some(_) => Some(Text::Each),
    };
    let taken = spawn_blocking(move || {
        let mut body = Vec::new();
        match text {
            None => profile::tasks().write_pprof(&mut body)?,
            Some(text) => profile::tasks().write_text(text, &mut body)?,
        }
        Ok::<_, ProfileError>(body)
    });
    let content = match text {
        None => "application/octet-stream",
        Some(_) => "text/plain; charset=utf-8",
    };
    let failed = |error: &dyn Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    match taken.await {
        Ok(Ok(body)) => ([(CONTENT_TYPE, content)], body).into_response(),
        Ok(Err(error)) => failed(&error).into_response(),
        Err(error) => failed(&error).into_response(),
    }
}

/// Spawns something to look at: clients of a backend that takes one question and never answers.
fn work() {
    let (questions, mut taken) = mpsc::channel(1);
    let backend = async move {
        taken.recv().await;
        pending::<()>().await;
    };
    tokio::spawn(backend.tracked("backend"));
    for client in 0..10 {
        tokio::spawn(ask(questions.clone(), client).tracked("client"));
    }
    rtops_agent::spawn(tick());
}

async fn ask(questions: mpsc::Sender<u32>, client: u32) {
    while questions.send(client).await.is_ok() {}
}

async fn tick() {
    loop {
        sleep(Duration::from_secs(3600)).await;
    }
}
