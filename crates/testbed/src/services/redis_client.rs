//! A Redis client whose server greets it and then stays silent.

use std::{io, time::Duration};

use redis::{AsyncCommands, AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use rtops_testbed::{
    Never,
    control::Control,
    runtime::workers,
    settle::{Pending, settlement},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);
/// How many commands wait for their answers on one connection.
const COMMANDS: usize = 3;

pub(crate) fn run(control: Control) -> Result<Never, String> {
    let runtime = workers(2)?;
    let (pending, settlement) = settlement();
    let connected = runtime.block_on(connect(pending));
    let connection = connected.map_err(|error| error.to_string())?;
    for number in 0..COMMANDS {
        drop(runtime.spawn(look_up(connection.clone(), number)));
    }
    settlement.wait();
    control.serve(|| 0)
}

async fn connect(pending: Pending) -> Result<MultiplexedConnection, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    drop(tokio::spawn(async move {
        serve(listener, pending).await.ok(); // AWAIT redis-server
    }));
    let client = Client::open(format!("redis://{address}"))?;
    // With the default timeout, the commands would give up after half a second.
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(FOREVER));
    let connected = client.get_multiplexed_async_connection_with_config(&patient);
    Ok(connected.await?)
}

async fn serve(listener: TcpListener, pending: Pending) -> io::Result<()> {
    let (stream, _) = listener.accept().await?;
    answer(stream, pending).await // AWAIT redis-server
}

/// Answers the client's greeting; `pending` is dropped once all commands have arrived.
async fn answer(stream: TcpStream, pending: Pending) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut pending = Some(pending);
    let mut come = 0;
    loop {
        let mut line = String::new();
        let length = stream.read_line(&mut line).await?; // AWAIT redis-server
        if length == 0 {
            return Ok(());
        }
        match line.trim_end() {
            "SETINFO" => stream.write_all(b"+OK\r\n").await?,
            "GET" => come += 1,
            _ => {}
        }
        if come == COMMANDS {
            pending.take();
        }
    }
}

async fn look_up(connection: MultiplexedConnection, number: usize) {
    value_of(connection, number).await.ok(); // AWAIT redis-command
}

async fn value_of(mut connection: MultiplexedConnection, number: usize) -> redis::RedisResult<u64> {
    connection.get(number).await // AWAIT redis-command
}
