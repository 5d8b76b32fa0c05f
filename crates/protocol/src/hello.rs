//! The agent's first frame. Its layout never changes.
//!
//! It is encoded by hand, not by the codec, so that any client of any age can read it and tell the
//! user which side to upgrade. New fields may only be added at the end; readers ignore what follows
//! the fields that they know.

use std::io::Read;

use crate::{FrameKind, MAX_REPLY, OLDEST_VERSION, ProtocolError, VERSION, read_frame};

/// What an agent can be asked for, one bit each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Counts of tasks, polls and runtimes.
    pub const STATS: Self = Self(1);
    /// Tracked tasks and where each waits.
    pub const TASKS: Self = Self(1 << 1);
    /// The stacks of the OS threads.
    pub const THREADS: Self = Self(1 << 2);
    /// [`Request::Memory`](crate::Request::Memory).
    pub const MEMORY: Self = Self(1 << 3);
    /// [`Request::Trim`](crate::Request::Trim).
    pub const TRIM: Self = Self(1 << 4);
    /// [`Request::Build`](crate::Request::Build).
    pub const BUILD: Self = Self(1 << 5);

    const NAMED: [(Self, &str); 6] = [
        (Self::STATS, "stats"),
        (Self::TASKS, "tasks"),
        (Self::THREADS, "threads"),
        (Self::MEMORY, "memory"),
        (Self::TRIM, "trim"),
        (Self::BUILD, "build"),
    ];

    /// Returns the names of the capabilities that this build knows, as in the documentation.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let set = Self::NAMED
            .into_iter()
            .filter(move |(one, _)| self.has(*one));
        set.map(|(_, name)| name)
    }

    /// Returns the number of capabilities that this build does not know.
    #[must_use]
    pub fn unnamed(self) -> u32 {
        let named = Self::NAMED.into_iter();
        let named = named.fold(Self::default(), |all, (one, _)| all.with(one));
        (self.0 & !named.0).count_ones()
    }

    /// Returns whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the union of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Who answers on a socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// The oldest protocol version that the agent speaks.
    pub oldest_version: u16,
    /// The newest protocol version that the agent speaks.
    pub newest_version: u16,
    /// The process id as the agent sees it; in a container it differs from the client's view.
    pub pid: u32,
    /// The start of the process, in clock ticks after boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
    /// What the agent can be asked for.
    pub capabilities: Capabilities,
    /// The version of the `rtops-agent` package.
    pub agent_version: String,
    /// The name that the process goes by.
    pub name: String,
}

impl Hello {
    /// Encodes the body of the frame. The two texts are cut to 255 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        body.extend(self.oldest_version.to_le_bytes());
        body.extend(self.newest_version.to_le_bytes());
        body.extend(self.pid.to_le_bytes());
        body.extend(self.start_time.to_le_bytes());
        body.extend(self.capabilities.0.to_le_bytes());
        for text in [&self.agent_version, &self.name] {
            let text = cut(text, usize::from(u8::MAX));
            body.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            body.extend(text.as_bytes());
        }
        body
    }

    /// Reads the body of the frame; bytes after the known fields are ignored.
    ///
    /// # Errors
    /// If the body ends too early.
    pub fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        let mut rest = body;
        Self::fields(&mut rest).ok_or_else(|| ProtocolError::Malformed {
            kind: FrameKind::HELLO.0,
            reason: "it ends too early".to_owned(),
        })
    }

    fn fields(rest: &mut &[u8]) -> Option<Self> {
        Some(Self {
            oldest_version: u16::from_le_bytes(take(rest)?),
            newest_version: u16::from_le_bytes(take(rest)?),
            pid: u32::from_le_bytes(take(rest)?),
            start_time: u64::from_le_bytes(take(rest)?),
            capabilities: Capabilities(u64::from_le_bytes(take(rest)?)),
            agent_version: text(rest)?,
            name: text(rest)?,
        })
    }

    /// Receives the agent's hello and checks that the two sides share a version.
    ///
    /// # Errors
    /// If the stream fails, the peer is not an agent, or no version is shared.
    pub fn receive(stream: &mut impl Read) -> Result<Self, ProtocolError> {
        let frame = read_frame(stream, MAX_REPLY)?;
        if frame.kind != FrameKind::HELLO {
            return Err(ProtocolError::Unexpected(frame.kind.0));
        }
        let hello = Self::decode(&frame.body)?;
        if hello.oldest_version > VERSION || hello.newest_version < OLDEST_VERSION {
            return Err(ProtocolError::Version {
                oldest: hello.oldest_version,
                newest: hello.newest_version,
            });
        }
        Ok(hello)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let [length] = take::<1>(rest)?;
    let (head, tail) = rest.split_at_checked(usize::from(length))?;
    *rest = tail;
    Some(String::from_utf8_lossy(head).into_owned())
}

/// Returns the start of a text: as many whole characters as fit in `limit` bytes.
#[must_use]
pub fn cut(text: &str, limit: usize) -> &str {
    let mut ends = (0..=limit.min(text.len())).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Capabilities;

    #[test]
    fn capabilities_have_names() {
        let some = Capabilities::STATS.with(Capabilities::BUILD);
        assert_eq!(some.names().collect::<Vec<_>>(), ["stats", "build"]);
        assert_eq!(some.unnamed(), 0);
        assert_eq!(some.with(Capabilities(3 << 60)).unnamed(), 2);
        assert_eq!(Capabilities(0x3f).names().count(), 6);
    }
}
