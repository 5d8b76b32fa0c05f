//! A conversation with one client, within a deadline.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use interprocess::local_socket::traits::Stream as _;
use rtops_capture::{Disabled, Evidence, Host, OwnThread, Wanted};
use rtops_protocol::{
    Build, Capabilities, DumpRequest, FrameKind, HeapWalk, Hello, OLDEST_VERSION, ProtocolError,
    Refusal, Refused, Reply, Request, VERSION, write_frame,
};
use rtops_tasks::RuntimeTag;

use crate::{
    config::{Capability, Options},
    descriptor::Kept,
    listener::Stream,
    memory, runtimes, serve, stats,
    tracer::Admitted,
};

/// How long a client may take to say what it wants.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long a client may take to read an answer that is ready.
const REPLY_TIME: Duration = Duration::from_secs(20);
/// How long a client that may trace the process may take to do so.
const ATTACH_TIME: Duration = Duration::from_secs(30);
/// The longest time that a client can request for a dump.
pub(crate) const MAX_DUMP_TIME: Duration = Duration::from_secs(300);

/// What an agent is. Does not change after its start.
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    pub(crate) options: Options,
    /// `None` if thread stacks are switched off or not supported.
    pub(crate) capturer: Option<rtops_threads::Capturer>,
}

impl Identity {
    fn capabilities(&self) -> Capabilities {
        let mut all = Capabilities::BUILD;
        if self.options.has(Capability::Stats) {
            all = all.with(Capabilities::STATS);
        }
        if self.options.has(Capability::Memory) {
            all = all.with(Capabilities::MEMORY);
        }
        if self.options.has(Capability::Trim) {
            all = all.with(Capabilities::TRIM);
        }
        if self.options.has(Capability::Tasks) {
            all = all.with(Capabilities::TASKS);
        }
        if self.capturer.is_some() {
            all = all.with(Capabilities::THREADS);
        }
        all
    }

    fn build(&self) -> Build {
        let features = [
            ("profile", cfg!(feature = "profile")),
            ("jemalloc", cfg!(feature = "jemalloc")),
            ("mimalloc", cfg!(feature = "mimalloc")),
            ("tokio", cfg!(feature = "tokio")),
            ("tokio_unstable", cfg!(tokio_unstable)),
        ];
        let on = features.into_iter().filter(|(_, is_on)| *is_on);
        Build {
            package: self.options.package.clone(),
            facts: self.options.facts.clone(),
            agent_features: on.map(|(feature, _)| feature.to_owned()).collect(),
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            oldest_version: OLDEST_VERSION,
            newest_version: VERSION,
            pid: self.pid,
            start_time: self.start_time,
            capabilities: self.capabilities(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.name.clone(),
        }
    }
}

impl Host for Identity {
    fn name(&self) -> &str {
        &self.name
    }

    fn has_tasks(&self) -> bool {
        self.options.has(Capability::Tasks)
    }

    fn capturer(&self) -> Option<&rtops_threads::Capturer> {
        self.capturer.as_ref()
    }

    fn own_thread(&self, tid: i32) -> Option<OwnThread> {
        serve::own_thread(tid)
    }

    fn runtime_name(&self, tag: RuntimeTag) -> Option<String> {
        runtimes::name(tag)
    }

    fn alive_tasks(&self) -> Option<u64> {
        runtimes::alive_tasks()
    }
}

/// Greets the client, reads a request and answers it.
///
/// # Errors
/// If the client hangs up, is too slow, or does not speak the protocol.
pub(crate) fn serve(stream: &Kept<Stream>, identity: &Identity) -> Result<(), ProtocolError> {
    let mut client = Deadlined::new(stream, REQUEST_TIME);
    write_frame(&mut client, FrameKind::HELLO, &identity.hello().encode())?;
    let mut request = Request::receive(&mut client);
    let mut admitted = None;
    if matches!(request, Ok(Request::Attach)) {
        if identity.options.has(Capability::Attach) {
            admitted = Some(Admitted::admit(stream)?);
        }
        end(&mut client)?;
        client.extend(ATTACH_TIME);
        request = Request::receive(&mut client);
    }
    client.extend(REPLY_TIME);
    match request {
        Ok(request) => answer(&mut client, identity, request)?,
        Err(ProtocolError::Malformed { .. }) => refuse(
            &mut client,
            Refusal::Unsupported,
            "this agent does not know the request; is it older than this rtops?",
        )?,
        Err(error) => return Err(error),
    }
    if admitted.is_some() {
        client.extend(ATTACH_TIME);
        client.wait_for_end();
    }
    Ok(())
}

fn answer(
    client: &mut Deadlined<'_>,
    identity: &Identity,
    request: Request,
) -> Result<(), ProtocolError> {
    match request {
        Request::Summary => Reply::Summary(stats::summary(identity)).send(client)?,
        Request::Stats if !identity.options.has(Capability::Stats) => {
            return refuse_disabled(client, "stats");
        }
        Request::Stats => Reply::Stats(stats::stats(identity)).send(client)?,
        Request::Build => Reply::Build(identity.build()).send(client)?,
        Request::Memory(walk) => return memory(client, identity, walk),
        Request::Trim => return trim(client, identity),
        Request::Dump(request) => return dump(client, identity, request),
        _ => {
            return refuse(
                client,
                Refusal::Unsupported,
                "this agent does not take that request here",
            );
        }
    }
    end(client)
}

fn end(client: &mut Deadlined<'_>) -> Result<(), ProtocolError> {
    Reply::End(rtops_protocol::End { gaps: Vec::new() }).send(client)
}

fn memory(
    client: &mut Deadlined<'_>,
    identity: &Identity,
    walk: HeapWalk,
) -> Result<(), ProtocolError> {
    if !identity.options.has(Capability::Memory) {
        return refuse_disabled(client, "memory figures");
    }
    let memory = memory::memory(walk);
    client.extend(REPLY_TIME);
    Reply::Memory(memory).send(client)?;
    end(client)
}

fn trim(client: &mut Deadlined<'_>, identity: &Identity) -> Result<(), ProtocolError> {
    if !identity.options.has(Capability::Trim) {
        return refuse_disabled(client, "trimming");
    }
    let Some(trimmed) = memory::trim() else {
        return refuse(client, Refusal::Busy, "another trim is under way");
    };
    client.extend(REPLY_TIME);
    Reply::Trimmed(trimmed).send(client)?;
    end(client)
}

fn dump(
    client: &mut Deadlined<'_>,
    identity: &Identity,
    request: DumpRequest,
) -> Result<(), ProtocolError> {
    let DumpRequest {
        parts,
        deadline_ms,
        ask,
    } = request;
    let wanted = Wanted {
        parts,
        evidence: Evidence::Full,
        ask,
        only: None,
    };
    let time = Duration::from_millis(u64::from(deadline_ms)).min(MAX_DUMP_TIME);
    let dump = match rtops_capture::take(identity, wanted, Instant::now() + time) {
        Ok(dump) => dump,
        Err(Disabled(what)) => return refuse_disabled(client, what),
    };
    client.extend(REPLY_TIME);
    dump.send(client)
}

/// Turns a client away without a conversation. This does not block, as the message fits an empty
/// buffer. The timeout is for a machine so busy that this thread has to wait between two writes.
pub(crate) fn turn_away(stream: &Kept<Stream>, identity: &Identity, why: Refusal, message: &str) {
    let mut client = Deadlined::new(stream, Duration::from_secs(1));
    let hello = write_frame(&mut client, FrameKind::HELLO, &identity.hello().encode());
    if let Err(error) = hello.and_then(|()| refuse(&mut client, why, message)) {
        tracing::debug!(%error, "an rtops client was turned away without a word");
    }
}

fn refuse_disabled(client: &mut impl Write, what: &str) -> Result<(), ProtocolError> {
    let message = format!("this service's agent has {what} switched off");
    refuse(client, Refusal::Disabled, &message)
}

fn refuse(client: &mut impl Write, why: Refusal, message: &str) -> Result<(), ProtocolError> {
    let message = message.to_owned();
    Reply::Refused(Refused { why, message }).send(client)
}

/// A stream on which all reads and writes end by one deadline, however slowly the peer
/// sends or reads.
struct Deadlined<'a> {
    stream: &'a Kept<Stream>,
    deadline: Instant,
}

impl<'a> Deadlined<'a> {
    fn new(stream: &'a Kept<Stream>, time: Duration) -> Self {
        let mut new = Self {
            stream,
            deadline: Instant::now(),
        };
        new.extend(time);
        new
    }

    fn extend(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
    }

    /// Waits until the client hangs up or the deadline is reached.
    fn wait_for_end(&mut self) {
        while self.read(&mut [0]).is_ok_and(|read| read > 0) {}
    }

    fn remaining(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // A timeout of less than a microsecond would be rounded to no timeout at all.
        Ok(Some(left.max(Duration::from_micros(1))))
    }
}

impl Read for Deadlined<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream.get()?;
        stream.set_recv_timeout(self.remaining()?)?;
        stream.read(buffer)
    }
}

impl Write for Deadlined<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut stream = self.stream.get()?;
        stream.set_send_timeout(self.remaining()?)?;
        stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
