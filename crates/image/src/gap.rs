//! Parts that are missing in an image, and how to get them.

use std::{collections::HashSet, fmt, path::PathBuf};

use crate::{Absence, NoFile};

/// More sentences than anybody reads.
const MAX_GAPS: usize = 1000;

/// Something that is missing or uncertain. Its `Display` is a sentence for the
/// user, without a full stop and with a remedy if there is one. File names are
/// taken from the image: escape them for a terminal.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Gap {
    /// The file is this many bytes shorter than its headers say.
    Truncated(u64),
    /// The list of notes ends in the middle: threads, names, or mapped files may be missing.
    NotesCut,
    /// This many program headers are not in the file.
    HeadersCut(u64),
    /// There is no thread.
    NoThreads,
    /// The image does not say which files were mapped, so there are no modules.
    NoMappedFiles,
    /// This much writable memory was never touched, or was left out by the writer of the core.
    LeftOut {
        /// The number of bytes.
        bytes: u64,
        /// The number of ranges.
        ranges: u64,
    },
    /// Modified parts of files are not in the core.
    WrittenLeftOut,
    /// The core has no ELF headers, so whether files are the right builds is unknown.
    NoHeads,
    /// The core was cut before the ELF headers of some files.
    HeadsLost,
    /// This file has no build-id; it was compared by its headers alone.
    NoBuildId(PathBuf),
    /// The file of a module is missing.
    NoFile {
        /// Why.
        why: NoFile,
        /// Whether it is the program itself.
        is_main: bool,
    },
    /// There was more than this number of something; the rest was left out.
    TooMany(&'static str, u64),
    /// Memory that the process owns or executes was not read.
    Unread {
        /// The number of bytes.
        bytes: u64,
        /// The number of ranges.
        ranges: u64,
        /// Why.
        why: Absence,
    },
    /// The ELF headers of some files were not read, so whether files are
    /// the right builds is unknown.
    HeadsNotRead,
    /// This many statements of the image contradict others, and were left out.
    Contradictions(u64),
    /// A compressed core was unpacked up to the limit, which is this many bytes.
    UnpackLimit(u64),
    /// A compressed core was unpacked to this many bytes; then the
    /// directory's file system was full.
    UnpackSpace(PathBuf, u64),
    /// A compressed core was unpacked to this many bytes; then the file ended.
    PackedCut(u64),
    /// A compressed core was unpacked to this many bytes; then its data was invalid.
    PackedDamaged(u64),
    /// A compressed core was not unpacked, because its window is larger than is allowed.
    PackedWindow,
    /// The directory that stands for `/` can't be opened.
    NoSysroot(PathBuf),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(bytes) => write!(
                f,
                "the core file is cut short: its last {bytes} bytes are missing; look for a full disk, \
                 `ulimit -c`, or ProcessSizeMax= and ExternalSizeMax= in coredump.conf"
            ),
            Self::NotesCut => f.write_str(
                "the notes of the core file are damaged or cut short: threads or names of files may be \
                 missing",
            ),
            Self::HeadersCut(count) => write!(
                f,
                "the core file is cut short within its headers: {count} mappings are unknown"
            ),
            Self::NoThreads => f.write_str("the core file holds no thread"),
            Self::NoMappedFiles => f.write_str(
                "the core file does not say which files were mapped, so the executable and the \
                 libraries are unknown",
            ),
            Self::LeftOut { bytes, ranges } => write!(
                f,
                "{bytes} bytes of memory in {ranges} ranges are not in the core: they were never touched, or \
                 were left out by /proc/PID/coredump_filter or MADV_DONTDUMP"
            ),
            Self::WrittenLeftOut => f.write_str(
                "the core holds no private memory: heap, stacks and written data are unknown; set bit 0 \
                 of /proc/PID/coredump_filter for the next one",
            ),
            Self::NoHeads => f.write_str(
                "the core holds no ELF headers, so nothing tells whether the files here are the builds \
                 that were running; set bit 4 of /proc/PID/coredump_filter for the next one",
            ),
            Self::HeadsLost => f.write_str(
                "the core file ends before the ELF headers of some files, so nothing tells whether those \
                 here are the builds that were running",
            ),
            Self::NoBuildId(path) => write!(
                f,
                "{} has no build-id: whether it is the build that was running is not certain",
                path.display()
            ),
            Self::NoFile { why, is_main } => {
                let way = if *is_main {
                    "name the right one with --exe FILE"
                } else {
                    "name a directory that has the right one with --sysroot DIR"
                };
                let what = if *is_main { "program" } else { "library" };
                let state = match why {
                    NoFile::NotFound(_) => "is missing",
                    _ => "can't be used",
                };
                write!(f, "the {what}'s file {state}: {why}; {way}")
            }
            Self::TooMany(what, most) => {
                write!(f, "there are more than {most} {what}: the rest is left out")
            }
            Self::Unread { bytes, ranges, why } => write!(
                f,
                "{bytes} bytes of memory in {ranges} ranges were not read: {why}"
            ),
            Self::HeadsNotRead => f.write_str(
                "the ELF headers of some files were not read while the process stood still, so nothing \
                 tells whether those here are the builds that it runs",
            ),
            Self::Contradictions(count) => write!(
                f,
                "the list of mappings contradicts itself in {count} places: overlapping or impossible \
                 parts are left out"
            ),
            Self::UnpackLimit(bytes) => write!(
                f,
                "only the first {bytes} bytes of the core were unpacked, which is the limit; unpack it \
                 yourself (`zstd -d`, `lz4 -d`) and name the result"
            ),
            Self::UnpackSpace(directory, bytes) => write!(
                f,
                "only the first {bytes} bytes of the core were unpacked: there is no more space in {}; \
                 set TMPDIR to a directory that has more",
                directory.display()
            ),
            Self::PackedCut(bytes) => {
                write!(f, "the compressed core file is cut short: {}", unpacked(*bytes))
            }
            Self::PackedDamaged(bytes) => {
                write!(f, "the compressed core file is damaged: {}", unpacked(*bytes))
            }
            Self::PackedWindow => f.write_str(
                "the core file was compressed with a larger window than is taken here; unpack it yourself \
                 (`zstd -d --long=31`) and name the result",
            ),
            Self::NoSysroot(path) => write!(
                f,
                "{} can't be opened as a directory: no files are looked up",
                path.display()
            ),
        }
    }
}

/// Says how much of a core could be unpacked.
fn unpacked(bytes: u64) -> String {
    match bytes {
        0 => "nothing of the core could be unpacked".to_owned(),
        bytes => format!("only the first {bytes} bytes of the core could be unpacked"),
    }
}

impl Gap {
    /// Returns how much depends on it; 0 is the most.
    const fn rank(&self) -> u8 {
        match self {
            Self::UnpackLimit(_)
            | Self::UnpackSpace(..)
            | Self::PackedCut(_)
            | Self::PackedDamaged(_)
            | Self::PackedWindow
            | Self::Truncated(_)
            | Self::NotesCut
            | Self::HeadersCut(_) => 0,
            Self::NoThreads
            | Self::NoMappedFiles
            | Self::WrittenLeftOut
            | Self::NoSysroot(_)
            | Self::NoFile { is_main: true, .. } => 1,
            Self::NoFile { .. } | Self::NoHeads | Self::HeadsLost | Self::NoBuildId(_) => 2,
            Self::TooMany(..) | Self::Contradictions(_) | Self::HeadsNotRead => 3,
            // Every core lacks some memory, and so does every read of a live process.
            Self::LeftOut { .. } | Self::Unread { .. } => 4,
        }
    }
}

/// The gaps that were found so far, without duplicates.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    known: HashSet<Gap>,
    list: Vec<Gap>,
    contradictions: u64,
    is_full: bool,
}

impl Gaps {
    pub(crate) fn add(&mut self, gap: Gap) {
        if self.list.len() == MAX_GAPS {
            self.is_full = true;
        } else if self.known.insert(gap.clone()) {
            self.list.push(gap);
        }
    }

    pub(crate) const fn contradiction(&mut self) {
        self.contradictions += 1;
    }

    pub(crate) fn into_list(mut self) -> Vec<Gap> {
        if self.is_full {
            self.list
                .push(Gap::TooMany("things missing", MAX_GAPS as u64));
        }
        if self.contradictions > 0 {
            self.list.push(Gap::Contradictions(self.contradictions));
        }
        self.list.sort_by_key(Gap::rank);
        self.list
    }
}
