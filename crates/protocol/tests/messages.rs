//! Messages that go over the wire come out unchanged. The hello is frozen byte for byte; the rest
//! is frozen when a version is released.
#![allow(clippy::unwrap_used)]

mod samples;

use rtops_protocol::{
    Call, End, FrameKind, Hello, MAX_REPLY, ProtocolError, Reply, Request, Trace, TraceEnd, Visit,
    read_frame, write_frame,
};
use samples::{frame, hello, replies, requests, trace};

/// Never changes: a build that can't read it, or writes other bytes, is not compatible with the
/// agents that are in use.
const HELLO: &[u8] = include_bytes!("samples/hello");

const END: Reply = Reply::End(End { gaps: Vec::new() });

#[test]
fn the_hello_is_what_it_always_was() {
    assert_eq!(Hello::receive(&mut { HELLO }).unwrap(), hello());
    let mut written = Vec::new();
    write_frame(&mut written, FrameKind::HELLO, &hello().encode()).unwrap();
    assert_eq!(written, HELLO);
}

#[test]
fn what_is_sent_is_received() {
    for request in requests() {
        let mut sent = Vec::new();
        request.send(&mut sent).unwrap();
        assert_eq!(Request::receive(&mut sent.as_slice()).unwrap(), request);
    }
    for reply in replies() {
        let sent = frame(&reply);
        assert_eq!(Reply::receive(&mut sent.as_slice()).unwrap(), reply);
    }
}

#[test]
fn a_longer_hello_of_a_newer_agent_is_read() {
    let mut body = Hello {
        newest_version: 9,
        ..hello()
    }
    .encode();
    body.extend(b"fields of the future");
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameKind::HELLO, &body).unwrap();
    let read = Hello::receive(&mut frame.as_slice()).unwrap();
    assert_eq!((read.newest_version, read.name.as_str()), (9, "gateway"));
}

#[test]
fn a_hello_without_a_common_version_says_so() {
    for (oldest_version, newest_version) in [(0, 0), (2, 9)] {
        let body = Hello {
            oldest_version,
            newest_version,
            ..hello()
        };
        let mut frame = Vec::new();
        write_frame(&mut frame, FrameKind::HELLO, &body.encode()).unwrap();
        let error = Hello::receive(&mut frame.as_slice()).unwrap_err();
        assert!(matches!(error, ProtocolError::Version { .. }), "{error}");
    }
}

#[test]
fn a_reply_that_this_build_does_not_know_is_an_error() {
    for (kind, body) in [(FrameKind(200), [0]), (FrameKind::REPLY, [200])] {
        let mut frame = Vec::new();
        write_frame(&mut frame, kind, &body).unwrap();
        Reply::receive(&mut frame.as_slice()).unwrap_err();
    }
}

#[test]
fn a_trace_that_no_frame_holds_is_sent_in_several() {
    let ip = |index: u32| 0x5555_5555_0000 + u64::from(index);
    let long = Trace {
        calls: (0..70_000)
            .map(|caller| Call {
                caller,
                site: ip(caller),
            })
            .collect(),
        visits: (0..87_000)
            .map(|call| Visit { call, ip: ip(call) })
            .collect(),
        ..trace(TraceEnd::Whole)
    };
    let mut stream = Vec::new();
    Reply::Trace(long.clone()).send(&mut stream).unwrap();
    assert!(stream.len() > MAX_REPLY as usize);
    stream.extend(frame(&END));
    let mut rest = stream.as_slice();
    assert_eq!(Reply::receive(&mut rest).unwrap(), Reply::Trace(long));
    assert!(matches!(Reply::receive(&mut rest).unwrap(), Reply::End(_)));
}

#[test]
fn a_trace_in_parts_ends_or_is_refused() {
    // Returns the body as a whole reply, and without the byte that says that
    // it is a trace, as a part.
    let framed = |trace: Trace| {
        let mut stream = Vec::new();
        Reply::Trace(trace).send(&mut stream).unwrap();
        let mut whole = read_frame(&mut stream.as_slice(), MAX_REPLY).unwrap().body;
        let part = whole.split_off(1);
        ([whole, part.clone()].concat(), part)
    };
    let (last, part) = framed(trace(TraceEnd::Whole));
    let (empty_last, empty_part) = framed(Trace {
        calls: Vec::new(),
        visits: Vec::new(),
        ..trace(TraceEnd::Whole)
    });
    let end = frame(&END).split_off(12);
    for (kind, body, is_fine) in [
        (FrameKind::REPLY, &last, true),
        (FrameKind::REPLY, &end, false),
        (FrameKind::REPLY, &empty_last, false),
        (FrameKind::TRACE_PART, &empty_part, false),
        (FrameKind::REQUEST, &last, false),
    ] {
        let mut stream = Vec::new();
        write_frame(&mut stream, FrameKind::TRACE_PART, &part).unwrap();
        write_frame(&mut stream, kind, body).unwrap();
        let read = Reply::receive(&mut stream.as_slice());
        assert_eq!(read.is_ok(), is_fine, "{read:?}");
    }
    let mut endless = Vec::new();
    for _ in 0..Trace::MAX {
        write_frame(&mut endless, FrameKind::TRACE_PART, &part).unwrap();
    }
    let mut rest = endless.as_slice();
    assert!(Reply::receive(&mut rest).is_err() && !rest.is_empty());
}

#[test]
fn an_unknown_request_is_an_error_and_no_more() {
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameKind::REQUEST, &[250, 1, 2, 3]).unwrap();
    let error = Request::receive(&mut frame.as_slice()).unwrap_err();
    assert!(matches!(error, ProtocolError::Malformed { .. }), "{error}");
}

#[test]
fn long_names_are_cut_between_characters() {
    let long = Hello {
        name: "ä".repeat(200),
        ..hello()
    };
    let read = Hello::decode(&long.encode()).unwrap();
    assert_eq!(read.name, "ä".repeat(127));
}
