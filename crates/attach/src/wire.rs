//! The messages of fixed length between [`freeze`](crate::freeze()) and its helper.

use std::{
    io::IoSlice,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use nix::{
    sys::socket::{ControlMessage, MsgFlags, sendmsg},
    time::{ClockId, clock_gettime},
};
use rtops_image::{Pid, Tid};

use crate::{EndedEarly, How, Injection, NoCopy, Options, Refusal, Step, Threads, sys};

/// The number of words in every message; unused ones are zero.
const WORDS: usize = 10;
const LENGTH: usize = WORDS * size_of::<u64>();
/// The first word: a sender with another one is of another version, or is something else.
const MAGIC: u64 = u64::from_le_bytes(*b"rtopsat1");

type Words = [u64; WORDS];

/// What the helper has to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) pid: Pid,
    pub(crate) max_pause: Duration,
    pub(crate) injection: Injection,
    pub(crate) threads: Threads,
}

impl Request {
    pub(crate) const fn new(pid: Pid, options: &Options) -> Self {
        Self {
            pid,
            max_pause: options.max_pause,
            injection: options.injection,
            threads: options.threads,
        }
    }

    pub(crate) fn send(&self, socket: impl AsFd) -> nix::Result<()> {
        let mut words = [0; WORDS];
        words[0] = MAGIC;
        words[1] = from_i32(self.pid.as_raw());
        words[2] = from_duration(self.max_pause);
        words[3] = u64::from(self.injection == Injection::Always);
        words[4] = u64::from(self.threads == Threads::One);
        send(socket, &words, &[])
    }

    /// Receives a request; `None` if the message is not one.
    pub(crate) fn receive(socket: impl AsFd) -> nix::Result<Option<Self>> {
        let Some((words, _)) = receive(socket)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            pid: Pid::new(to_i32(words[1])),
            max_pause: Duration::from_nanos(words[2]),
            injection: if words[3] == 0 {
                Injection::Auto
            } else {
                Injection::Always
            },
            threads: if words[4] == 0 {
                Threads::All
            } else {
                Threads::One
            },
        }))
    }
}

/// The helper's answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Refused(Refusal),
    Frozen(Frozen),
    /// Sent after [`Frozen`](Self::Frozen) if the copy ends before the socket is closed.
    Ended(EndedEarly),
}

/// What was frozen, and the files that describe it.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) how: How,
    pub(crate) pause: Duration,
    /// When the pause ended, by [`monotonic`].
    pub(crate) went_on: Duration,
    pub(crate) copied_bytes: u64,
    pub(crate) threads_not_stopped: u64,
    /// The [`Account`](crate::account::Account).
    pub(crate) account: OwnedFd,
    pub(crate) memory: OwnedFd,
    /// Says which pages of a copy are present, if available.
    pub(crate) pagemap: Option<OwnedFd>,
    /// Whether the memory is that of a copy that the helper keeps.
    pub(crate) is_held: bool,
}

impl Reply {
    pub(crate) fn send(&self, socket: impl AsFd) -> nix::Result<()> {
        let mut words = [0; WORDS];
        words[0] = MAGIC;
        match self {
            Self::Refused(refusal) => {
                words[1] = 1;
                let [kind, rest @ ..] = encode(refusal);
                words[2] = kind;
                words[3..7].copy_from_slice(&rest);
                send(socket, &words, &[])
            }
            Self::Frozen(frozen) => {
                words[1] = 2;
                if let How::ReadStanding(why) = frozen.how {
                    [words[2], words[3]] = encode_no_copy(why);
                }
                words[4] = from_duration(frozen.pause);
                words[5] = frozen.copied_bytes;
                words[6] = frozen.threads_not_stopped;
                words[7] = u64::from(frozen.is_held);
                words[8] = from_duration(frozen.went_on);
                let files: Vec<BorrowedFd<'_>> = [&frozen.account, &frozen.memory]
                    .into_iter()
                    .chain(&frozen.pagemap)
                    .map(AsFd::as_fd)
                    .collect();
                send(socket, &words, &files)
            }
            Self::Ended(why) => {
                words[1] = 3;
                words[2] = u64::from(*why == EndedEarly::Memory);
                send(socket, &words, &[])
            }
        }
    }

    /// Receives a reply; `None` at the end of the stream, or if the message is not a reply.
    pub(crate) fn receive(socket: impl AsFd) -> nix::Result<Option<Self>> {
        let Some((words, files)) = receive(socket)? else {
            return Ok(None);
        };
        let refusal = [words[2], words[3], words[4], words[5], words[6]];
        let mut files = files.into_iter();
        let [account, memory, pagemap] = [files.next(), files.next(), files.next()];
        Ok(match (words[1], account, memory) {
            (1, ..) => decode(refusal).map(Self::Refused),
            (2, Some(account), Some(memory)) => Some(Self::Frozen(Frozen {
                how: decode_no_copy([words[2], words[3]]).map_or(How::Copied, How::ReadStanding),
                pause: Duration::from_nanos(words[4]),
                copied_bytes: words[5],
                threads_not_stopped: words[6],
                is_held: words[7] != 0,
                went_on: Duration::from_nanos(words[8]),
                account,
                memory,
                pagemap,
            })),
            (3, ..) if words[2] == 0 => Some(Self::Ended(EndedEarly::Killed)),
            (3, ..) => Some(Self::Ended(EndedEarly::Memory)),
            _ => None,
        })
    }
}

/// Reads a clock that both ends share.
pub(crate) fn monotonic() -> Duration {
    // Every kernel has this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

fn send(socket: impl AsFd, words: &Words, files: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let files: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&files)];
    let controls = if files.is_empty() { &[][..] } else { &rights };
    let socket = socket.as_fd().as_raw_fd();
    // A peer that no longer listens is no reason for SIGPIPE.
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket, &[IoSlice::new(&bytes)], controls, flags, None).map(drop)
}

fn receive(socket: impl AsFd) -> nix::Result<Option<(Words, Vec<OwnedFd>)>> {
    // One more byte reveals a longer message.
    let mut bytes = [0; LENGTH + 1];
    let (length, files) = sys::receive(socket, &mut bytes)?;
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(size_of::<u64>())) {
        *word = bytes.try_into().map_or(0, u64::from_le_bytes);
    }
    Ok((length == LENGTH && words[0] == MAGIC).then_some((words, files)))
}

fn from_i32(number: i32) -> u64 {
    u64::from(number.cast_unsigned())
}

fn to_i32(word: u64) -> i32 {
    u32::try_from(word).unwrap_or(0).cast_signed()
}

fn from_duration(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn encode(refusal: &Refusal) -> [u64; 5] {
    match *refusal {
        Refusal::NoProcess(pid) => [1, from_i32(pid.as_raw()), 0, 0, 0],
        Refusal::IsThread { tid, pid } => [2, from_i32(tid.as_raw()), from_i32(pid.as_raw()), 0, 0],
        Refusal::Ended => [3, 0, 0, 0, 0],
        Refusal::Kernel => [4, 0, 0, 0, 0],
        Refusal::Stopped => [5, 0, 0, 0, 0],
        Refusal::Traced(by) => [6, from_i32(by.as_raw()), 0, 0, 0],
        Refusal::NoRights { yama } => [7, from_i32(yama), 0, 0, 0],
        Refusal::OtherArchitecture => [8, 0, 0, 0, 0],
        Refusal::TooManyThreads(most) => [9, most as u64, 0, 0, 0],
        Refusal::TooLong { estimate, allowed } => {
            [10, from_duration(estimate), from_duration(allowed), 0, 0]
        }
        Refusal::CantCopy {
            why,
            estimate,
            allowed,
        } => {
            let [kind, detail] = encode_no_copy(why);
            let [estimate, allowed] = [estimate, allowed].map(from_duration);
            [11, kind, detail, estimate, allowed]
        }
        Refusal::NotInTime { allowed } => [12, from_duration(allowed), 0, 0, 0],
        Refusal::BrokenOff { limit } => [13, from_duration(limit), 0, 0, 0],
        Refusal::HelperKilled => [14, 0, 0, 0, 0],
        Refusal::OtherProgram => [15, 0, 0, 0, 0],
        Refusal::System { step, errno } => [16, step as u64, from_i32(errno), 0, 0],
    }
}

fn decode([kind, a, b, c, d]: [u64; 5]) -> Option<Refusal> {
    let duration = Duration::from_nanos;
    Some(match kind {
        1 => Refusal::NoProcess(Pid::new(to_i32(a))),
        2 => Refusal::IsThread {
            tid: Tid::new(to_i32(a)),
            pid: Pid::new(to_i32(b)),
        },
        3 => Refusal::Ended,
        4 => Refusal::Kernel,
        5 => Refusal::Stopped,
        6 => Refusal::Traced(Pid::new(to_i32(a))),
        7 => Refusal::NoRights { yama: to_i32(a) },
        8 => Refusal::OtherArchitecture,
        9 => Refusal::TooManyThreads(usize::try_from(a).ok()?),
        10 => Refusal::TooLong {
            estimate: duration(a),
            allowed: duration(b),
        },
        11 => Refusal::CantCopy {
            why: decode_no_copy([a, b])?,
            estimate: duration(c),
            allowed: duration(d),
        },
        12 => Refusal::NotInTime {
            allowed: duration(a),
        },
        13 => Refusal::BrokenOff { limit: duration(a) },
        14 => Refusal::HelperKilled,
        15 => Refusal::OtherProgram,
        16 => Refusal::System {
            step: *STEPS.get(usize::try_from(a).ok()?)?,
            errno: to_i32(b),
        },
        _ => return None,
    })
}

/// The steps, indexed by their numbers.
const STEPS: [Step; 7] = [
    Step::Helper,
    Step::Exchange,
    Step::Prepare,
    Step::Proc,
    Step::Stop,
    Step::Copy,
    Step::Memory,
];

fn encode_no_copy(why: NoCopy) -> [u64; 2] {
    match why {
        NoCopy::SeccompUnread => [1, 0],
        NoCopy::SeccompDenies(call) => [2, call.into()],
        NoCopy::MemoryLocked => [3, 0],
        NoCopy::ShadowStack => [4, 0],
        NoCopy::OomGroup => [5, 0],
        NoCopy::LittleMemory(mib) => [6, mib.into()],
        NoCopy::NoCode => [7, 0],
        NoCopy::NoThread => [8, 0],
        NoCopy::Clone(errno) => [9, from_i32(errno)],
    }
}

fn decode_no_copy([kind, detail]: [u64; 2]) -> Option<NoCopy> {
    let number = u32::try_from(detail).unwrap_or(u32::MAX);
    Some(match kind {
        1 => NoCopy::SeccompUnread,
        2 => NoCopy::SeccompDenies(number),
        3 => NoCopy::MemoryLocked,
        4 => NoCopy::ShadowStack,
        5 => NoCopy::OomGroup,
        6 => NoCopy::LittleMemory(number),
        7 => NoCopy::NoCode,
        8 => NoCopy::NoThread,
        9 => NoCopy::Clone(to_i32(detail)),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    #[test]
    fn refusals_arrive_as_they_are() {
        let why = [
            NoCopy::SeccompUnread,
            NoCopy::SeccompDenies(56),
            NoCopy::MemoryLocked,
            NoCopy::ShadowStack,
            NoCopy::OomGroup,
            NoCopy::LittleMemory(7),
            NoCopy::NoCode,
            NoCopy::NoThread,
            NoCopy::Clone(11),
        ];
        let (estimate, allowed) = (Duration::from_millis(300), Duration::from_millis(100));
        let cant_copy = why.map(|why| Refusal::CantCopy {
            why,
            estimate,
            allowed,
        });
        let steps = STEPS.map(|step| Refusal::System { step, errno: 1 });
        let others = [
            Refusal::NoProcess(Pid::new(-1)),
            Refusal::IsThread {
                tid: Tid::new(8),
                pid: Pid::new(7),
            },
            Refusal::Ended,
            Refusal::Kernel,
            Refusal::Stopped,
            Refusal::Traced(Pid::new(7)),
            Refusal::NoRights { yama: 1 },
            Refusal::OtherArchitecture,
            Refusal::TooManyThreads(1 << 16),
            Refusal::TooLong { estimate, allowed },
            Refusal::NotInTime { allowed },
            Refusal::BrokenOff { limit: estimate },
            Refusal::HelperKilled,
            Refusal::OtherProgram,
        ];
        let (here, there) = pair();
        for refusal in cant_copy.into_iter().chain(steps).chain(others) {
            Reply::Refused(refusal).send(&here).unwrap();
            let Some(Reply::Refused(arrived)) = Reply::receive(&there).unwrap() else {
                panic!("{refusal}");
            };
            assert_eq!(arrived, refusal);
        }
    }

    #[test]
    fn what_is_too_short_or_too_long_or_something_else_is_no_message() {
        let (here, there) = pair();
        let mut whole = MAGIC.to_le_bytes().to_vec();
        whole.resize(LENGTH, 0);
        for bytes in [&whole[..8], &[0; LENGTH][..], &[&whole[..], &[0]].concat()] {
            nix::unistd::write(&here, bytes).unwrap();
            assert!(Request::receive(&there).unwrap().is_none());
        }
        nix::unistd::write(&here, &whole).unwrap();
        assert!(Request::receive(&there).unwrap().is_some());
        nix::unistd::write(&here, &whole).unwrap();
        assert!(Reply::receive(&there).unwrap().is_none());
        drop(here);
        assert!(Reply::receive(&there).unwrap().is_none());
    }
}
