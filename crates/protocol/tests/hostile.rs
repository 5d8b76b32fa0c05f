//! Hostile bytes: the result is always an error or a message, never a panic.
#![allow(clippy::unwrap_used)]

mod samples;

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use rtops_protocol::{
    FrameKind, Hello, MAX_REPLY, MAX_REQUEST, ProtocolError, Reply, Request, SocketFile,
    read_frame, write_frame,
};

const KINDS: [FrameKind; 4] = [
    FrameKind::HELLO,
    FrameKind::REQUEST,
    FrameKind::REPLY,
    FrameKind::TRACE_PART,
];

fn frames() -> Vec<Vec<u8>> {
    let requests = samples::requests().into_iter().map(|request| {
        let mut frame = Vec::new();
        request.send(&mut frame).unwrap();
        frame
    });
    let hello = framed(FrameKind::HELLO, &samples::hello().encode());
    let replies = samples::replies();
    let replies = replies.iter().map(samples::frame);
    requests.chain(replies).chain([hello]).collect()
}

fn read_as_anything(bytes: &[u8]) {
    // Each may fail; none may panic.
    drop(Hello::receive(&mut { bytes }));
    drop(Request::receive(&mut { bytes }));
    drop(Reply::receive(&mut { bytes }));
    drop(Hello::decode(bytes));
}

fn framed(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, kind, body).unwrap();
    frame
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_as_anything(&bytes);
    }

    #[test]
    fn arbitrary_bodies(
        kind in prop::sample::select(KINDS.to_vec()),
        body in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        read_as_anything(&framed(kind, &body));
    }

    #[test]
    fn mutated_messages(
        frame in prop::sample::select(frames()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = frame;
        for (position, value) in changes {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        read_as_anything(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        read_as_anything(&bytes);
    }

    #[test]
    fn a_message_cut_short_is_an_error(
        frame in prop::sample::select(frames()),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = &frame[..cut.index(frame.len())];
        prop_assert!(read_frame(&mut bytes, MAX_REPLY).is_err());
    }

    #[test]
    fn a_message_with_bytes_behind_it_is_an_error(
        frame in prop::sample::select(frames()),
        extra in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let mut frame = read_frame(&mut frame.as_slice(), MAX_REPLY).unwrap();
        frame.body.extend(extra);
        let bytes = framed(frame.kind, &frame.body);
        if frame.kind == FrameKind::HELLO {
            // Only the hello may grow.
            prop_assert!(Hello::receive(&mut bytes.as_slice()).is_ok());
        } else {
            prop_assert!(Request::receive(&mut bytes.as_slice()).is_err());
            prop_assert!(Reply::receive(&mut bytes.as_slice()).is_err());
        }
    }

    #[test]
    fn socket_names_are_read_back(pid in any::<u32>(), start_time in any::<u64>()) {
        let file = SocketFile { pid, start_time };
        prop_assert_eq!(SocketFile::parse(&file.name()), Some(file));
    }

    #[test]
    fn other_names_are_no_sockets(name in ".{0,30}") {
        let parsed = SocketFile::parse(&name);
        prop_assert!(parsed.is_none_or(|file| file.name() == name));
    }
}

#[test]
fn names_with_signs_or_zeros_are_no_sockets() {
    for name in [
        "+1-2.sock",
        "01-2.sock",
        "1-+2.sock",
        "1-2",
        "-1-2.sock",
        "1-2-3.sock",
        ".sock",
    ] {
        assert_eq!(SocketFile::parse(name), None, "{name}");
    }
}

#[test]
fn a_frame_longer_than_allowed_is_refused_by_its_header() {
    let mut frame = framed(FrameKind::REQUEST, &[]);
    for (limit, length) in [(MAX_REQUEST, MAX_REQUEST + 1), (MAX_REPLY, u32::MAX)] {
        frame.truncate(8);
        frame.extend(length.to_le_bytes());
        let error = read_frame(&mut frame.as_slice(), limit).unwrap_err();
        assert!(matches!(error, ProtocolError::TooLong { .. }), "{error}");
    }
}

#[test]
fn a_body_longer_than_allowed_is_not_sent() {
    let body = vec![0; MAX_REPLY as usize + 1];
    let mut sent = Vec::new();
    let error = write_frame(&mut sent, FrameKind::REPLY, &body).unwrap_err();
    assert!(matches!(error, ProtocolError::TooLong { .. }), "{error}");
    assert!(sent.is_empty());
}

#[test]
fn another_protocol_is_told_apart() {
    let bytes = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let error = Hello::receive(&mut bytes.as_slice()).unwrap_err();
    assert!(matches!(error, ProtocolError::NotRtops), "{error}");
}

#[test]
fn a_frame_of_the_wrong_direction_is_out_of_place() {
    let request = framed(FrameKind::REQUEST, &[0]);
    let error = Reply::receive(&mut request.as_slice()).unwrap_err();
    assert!(matches!(error, ProtocolError::Unexpected(2)), "{error}");
    let reply = framed(FrameKind::REPLY, &[0]);
    let error = Request::receive(&mut reply.as_slice()).unwrap_err();
    assert!(matches!(error, ProtocolError::Unexpected(3)), "{error}");
}
