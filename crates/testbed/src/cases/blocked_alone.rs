//! A worker waits inside a poll for another system, with nothing else to do meanwhile: the next
//! request that it gets waits as long.

use std::{
    io::Read,
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback works");
    let client = listener.local_addr().and_then(TcpStream::connect);
    let (server, client) = (listener.accept(), client.expect("it listens"));
    runtime(2).block_on(async {
        variant.spawn(handler(client));
        keep().await;
        drop(server);
    });
}

async fn handler(mut backend: TcpStream) {
    let mut answer = Vec::new();
    let _read = backend.read_to_end(&mut answer); // STUCK handler: it blocks its worker
}
