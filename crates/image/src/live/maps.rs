//! Parses `/proc/PID/maps`.

use std::{
    collections::HashMap,
    ffi::OsString,
    ops::Range,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
    sync::Arc,
};

use rtops_types::{MapsLine, PAGE};

use crate::{Access, FileOffset, Gap, Sharing, gap::Gaps, mapped::MAX_MAPPINGS};

/// The major and minor number of a file's file system.
pub(super) type Device = (u32, u32);

/// A mapping, as described by one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mapping {
    /// Its addresses, in whole pages; never empty.
    pub range: Range<u64>,
    /// What the process may do with it.
    pub access: Access,
    /// Whether others may see writes.
    pub sharing: Sharing,
    pub(super) offset: FileOffset,
    pub(super) device: Device,
    /// 0 if it has no file.
    pub(super) inode: u64,
    pub(super) name: Name,
}

/// The kernel's name for a mapping.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Name {
    None,
    /// A name in brackets, such as `[heap]`. Each belongs to one mapping, except for `[anon:…]`.
    Special(Box<str>),
    /// The path of a file, or the kernel's substitute for one.
    Path(Arc<Path>),
}

impl Mapping {
    /// Parses all valid lines of a text, sorted and without overlaps.
    #[must_use]
    pub fn parse_all(text: &[u8]) -> Vec<Self> {
        parse(text, &mut Gaps::default())
    }

    /// Returns the name, with brackets if it has them; empty if there is none.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match &self.name {
            Name::None => b"",
            Name::Special(name) => name.as_bytes(),
            Name::Path(path) => path.as_os_str().as_bytes(),
        }
    }

    /// Returns whether others see writes.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.sharing, Sharing::Shared)
    }

    /// Returns whether reading it may have an effect or fail: it belongs
    /// to a device or to the kernel.
    #[must_use]
    pub fn is_special(&self) -> bool {
        let name = self.name();
        let is_memory = name.starts_with(b"/dev/zero") || name.starts_with(b"/dev/shm/");
        name.starts_with(b"/dev/") && !is_memory
            || name.starts_with(b"[vvar")
            || name.starts_with(b"[vsyscall")
    }

    /// Returns whether it maps a file.
    #[must_use]
    pub fn is_of_file(&self) -> bool {
        self.name().starts_with(b"/")
    }

    /// Returns whether its file has no name any more, so nobody else can open it.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.name().ends_with(b" (deleted)")
    }

    /// Returns its size in bytes.
    pub(super) const fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Returns whether the name is this one, given with its brackets.
    #[must_use]
    pub fn is_named(&self, special: &str) -> bool {
        matches!(&self.name, Name::Special(name) if **name == *special)
    }
}

/// Parses all valid lines, sorted and without overlaps.
pub(super) fn parse(text: &[u8], gaps: &mut Gaps) -> Vec<Mapping> {
    let mut all: Vec<Mapping> = Vec::new();
    let mut paths = HashMap::new();
    let lines = text.split(|byte| *byte == b'\n');
    for line in lines.filter(|line| !line.is_empty()) {
        if all.len() == MAX_MAPPINGS {
            gaps.add(Gap::TooMany("mappings", MAX_MAPPINGS as u64));
            break;
        }
        let end = all.last().map_or(0, |last| last.range.end);
        match parse_line(line, &mut paths) {
            Some(mapping) if mapping.range.start >= end => all.push(mapping),
            _ => gaps.contradiction(),
        }
    }
    all
}

fn parse_line<'a>(line: &'a [u8], paths: &mut HashMap<&'a [u8], Arc<Path>>) -> Option<Mapping> {
    let line = MapsLine::parse(line)?;
    let range = line.addresses;
    let is_page = range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE);
    is_page.then(|| Mapping {
        range,
        access: line.access,
        sharing: match line.is_shared {
            true => Sharing::Shared,
            false => Sharing::Private,
        },
        offset: line.offset,
        device: line.device,
        inode: line.inode,
        name: parse_name(line.name, paths),
    })
}

fn parse_name<'a>(name: &'a [u8], paths: &mut HashMap<&'a [u8], Arc<Path>>) -> Name {
    match name {
        [] => Name::None,
        [b'[', .., b']'] => Name::Special(String::from_utf8_lossy(name).into()),
        path => {
            let known = paths.entry(path);
            let known = known.or_insert_with(|| Arc::from(Path::new(&unescaped(path))));
            Name::Path(Arc::clone(known))
        }
    }
}

/// Undoes the kernel's escapes: it escapes newlines and nothing else.
fn unescaped(path: &[u8]) -> OsString {
    const ESCAPED: &[u8] = b"\\012";
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        match rest.strip_prefix(ESCAPED) {
            Some(behind) => {
                bytes.push(b'\n');
                rest = behind;
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::Mapping;

    #[test]
    fn mappings_say_what_they_are() {
        let text = b"\
55d0c0000000-55d0c0001000 r-xp 00000000 08:01 7   /srv/a\xffb c
7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n\
7f0000001000-7f0000002000 rw-s 00000000 00:01 5   /dev/shm/x
7f0000002000-7f0000003000 rw-s 00000000 00:05 9   /dev/dri/card0
7f0000003000-7f0000004000 r--p 00000000 00:00 0   [vvar]
7f0000005000-7f0000004000 r--p 00000000 00:00 0
broken\n";
        let all = Mapping::parse_all(text);
        assert_eq!(all.len(), 5);
        assert!(all[0].access.execute && all[0].is_of_file() && !all[0].access.write);
        assert_eq!(all[0].name(), b"/srv/a\xffb c");
        assert!(all[1].access.write && !all[1].is_shared() && !all[1].is_of_file());
        assert!(all[2].is_shared() && !all[2].is_special());
        assert!(all[3].is_special() && all[4].is_special());
    }
}
