//! Pages of memory, and the access that a process has to them.

use std::ops::Range;

use crate::FileOffset;

/// The size of a page in bytes.
pub const PAGE: u64 = 4096;

/// Returns the start of the page that contains `place`.
#[must_use]
pub const fn page_of(place: u64) -> u64 {
    place & !(PAGE - 1)
}

/// The access that a process has to some memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// Whether it may be read.
    pub read: bool,
    /// Whether it may be written.
    pub write: bool,
    /// Whether it may be executed.
    pub execute: bool,
}

impl Access {
    /// Constants, as a linker lays them out.
    pub const READ: Self = Self {
        read: true,
        write: false,
        execute: false,
    };
    /// A heap or a stack.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
        execute: false,
    };
    /// Code.
    pub const READ_EXECUTE: Self = Self {
        read: true,
        write: false,
        execute: true,
    };
}

/// A line of `/proc/PID/maps`: `START-END rwxp OFFSET MAJOR:MINOR INODE NAME`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MapsLine<'a> {
    /// The addresses of the mapping.
    pub addresses: Range<u64>,
    /// What the process may do with it.
    pub access: Access,
    /// Whether others see writes.
    pub is_shared: bool,
    /// The offset of its start in its file.
    pub offset: FileOffset,
    /// The major and minor number of its file's file system.
    pub device: (u32, u32),
    /// The inode of its file; 0 if it has none.
    pub inode: u64,
    /// A path, or the kernel's name for it in brackets; empty if it has
    /// no name. A newline in it appears as `\012`.
    pub name: &'a [u8],
}

impl<'a> MapsLine<'a> {
    /// Parses all valid lines, in the order of the text.
    pub fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        let lines = text.split(|byte| *byte == b'\n');
        lines.filter_map(Self::parse)
    }

    /// Parses a line without its newline; `None` if it is invalid.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let mut word = || std::str::from_utf8(words.next()?).ok();
        let (start, end) = word()?.split_once('-')?;
        let addresses = hex(start)?..hex(end)?;
        let &[read, write, execute, sharing] = word()?.as_bytes() else {
            return None;
        };
        let offset = FileOffset(hex(word()?)?);
        let (major, minor) = word()?.split_once(':')?;
        let device = (hex(major)?.try_into().ok()?, hex(minor)?.try_into().ok()?);
        let inode = word()?.parse().ok()?;
        let name = words.next().unwrap_or_default();
        let padding = name.iter().take_while(|byte| **byte == b' ').count();
        (!addresses.is_empty()).then_some(Self {
            addresses,
            access: Access {
                read: read == b'r',
                write: write == b'w',
                execute: execute == b'x',
            },
            is_shared: sharing == b's',
            offset,
            device,
            inode,
            name: name.get(padding..).unwrap_or_default(),
        })
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_make_no_sense_are_left_out() {
        let text = b"\
7000-9000 rw-p 00000000 00:00 0                          [stack]\n\
garbage\n\
9000-9000 rw-p 00000000 00:00 0 \n\
a000-b000 r-xs 00002000 fd:01 77    /srv/a b\n\
b000-c000 r-x 00002000 fd:01 77 /srv/a\n";
        let lines: Vec<MapsLine<'_>> = MapsLine::all(text).collect();
        let stack = MapsLine {
            addresses: 0x7000..0x9000,
            access: Access::READ_WRITE,
            is_shared: false,
            offset: FileOffset(0),
            device: (0, 0),
            inode: 0,
            name: b"[stack]",
        };
        let file = MapsLine {
            addresses: 0xa000..0xb000,
            access: Access::READ_EXECUTE,
            is_shared: true,
            offset: FileOffset(0x2000),
            device: (0xfd, 1),
            inode: 77,
            name: b"/srv/a b",
        };
        assert_eq!(lines, [stack, file]);
    }
}
