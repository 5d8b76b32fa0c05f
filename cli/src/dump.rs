//! What an agent is asked for when tasks and threads are to be shown.

use rtops_protocol::{Capabilities, DumpRequest, Request, StackParts, StackRequest, Steps};

use crate::client::Session;

/// The most that this agent can tell: all evidence and stepped polls, or what an older one knows.
pub fn request(session: &Session, parts: StackParts, steps: Steps, deadline_ms: u32) -> Request {
    let has = |capability| session.hello.capabilities.has(capability);
    if !has(Capabilities::EVIDENCE) {
        return Request::Stack(StackRequest { parts, deadline_ms });
    }
    let steps = if has(Capabilities::STEPS) {
        steps
    } else {
        Steps::No
    };
    Request::Dump(DumpRequest {
        parts,
        deadline_ms,
        steps,
    })
}
