//! Compressed cores, as systemd-coredump stores them. They are recognized by their first bytes and
//! unpacked into an unnamed temporary file, because reads are random.

use std::{
    error::Error,
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::statvfs::fstatvfs};
use ruzstd::decoding::{
    FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::Options;
use crate::Gap;

/// `zstd` uses a window of 8 MiB at most, unless told to use a larger
/// one; a decoder has to keep that much.
const MAX_WINDOW: u64 = 32 << 20;
/// The number of bytes that are unpacked at once.
const PIECE: usize = 256 << 10;
/// The size of a block; blocks of zeros are left out of the temporary file.
const BLOCK: usize = 4096;
/// The number of bytes of a file system that are left to others.
const SPARE: u64 = 256 << 20;
/// The number of bytes written between two checks of the free space.
const LOOK: u64 = 16 << 20;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Packing {
    Zstd,
    Lz4,
    /// Another format, which this command unpacks.
    Other(&'static str),
}

impl Packing {
    /// Detects the format; `None` if the file is not compressed.
    pub(super) fn of(file: &File) -> io::Result<Option<Self>> {
        let mut magic = [0; 6];
        let have = rtops_files::read_at_most(file, 0, &mut magic)?;
        Ok(match magic.get(..have).unwrap_or_default() {
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Some(Self::Other("xz -d")),
            [0x1f, 0x8b, ..] => Some(Self::Other("gzip -d")),
            [b'B', b'Z', b'h', ..] => Some(Self::Other("bzip2 -d")),
            _ => None,
        })
    }
}

/// Unpacks a core as far as possible; whatever ends it early is returned as a gap.
///
/// # Errors
///
/// If the temporary file can't be created or written.
pub(super) fn unpack(
    packed: File,
    packing: Packing,
    options: &Options,
) -> io::Result<(File, Option<Gap>)> {
    let directory = scratch(options);
    let mut target = Target {
        file: tempfile::tempfile_in(&directory)?,
        size: 0,
        written: 0,
        looked: 0,
    };
    let most = options.max_unpacked;
    let source = BufReader::new(packed);
    let end = match packing {
        Packing::Zstd => unzstd(source, |from| target.fill(from, most)),
        Packing::Lz4 => target.fill(&mut lz4_flex::frame::FrameDecoder::new(source), most),
        Packing::Other(_) => Ok(Filled::Whole),
    };
    target.file.set_len(target.size)?;
    let gap = match end {
        Ok(Filled::Whole) => None,
        Ok(Filled::Limit) => Some(Gap::UnpackLimit(target.size)),
        Ok(Filled::Window) => Some(Gap::PackedWindow),
        Ok(Filled::NoSpace) => Some(Gap::UnpackSpace(directory, target.size)),
        Err(Stop::Source(error)) if is_end(&error) => Some(Gap::PackedCut(target.size)),
        Err(Stop::Source(_)) => Some(Gap::PackedDamaged(target.size)),
        Err(Stop::Target(error)) => return Err(error),
    };
    Ok((target.file, gap))
}

/// Returns whether an error was caused by the end of the file.
fn is_end(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>();
        if inner.is_some_and(|inner| inner.kind() == ErrorKind::UnexpectedEof) {
            return true;
        }
        // The `source` of an `io::Error` skips the error that was put
        // into it, and returns that one's source.
        let put_in = inner.and_then(io::Error::get_ref);
        cause = match put_in {
            Some(put_in) => Some(put_in),
            None => error.source(),
        };
    }
    false
}

/// Returns the directory for the unpacked core: `/tmp` is in memory on
/// many machines, `/var/tmp` is not.
pub(super) fn scratch(options: &Options) -> PathBuf {
    let named = || std::env::var_os("TMPDIR").filter(|name| !name.is_empty());
    let scratch = options
        .scratch
        .clone()
        .or_else(|| named().map(PathBuf::from));
    scratch.unwrap_or_else(|| Path::new("/var/tmp").to_owned())
}

/// Why unpacking stopped without an error in the data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Filled {
    Whole,
    Limit,
    NoSpace,
    /// The frame needs a window larger than [`MAX_WINDOW`].
    Window,
}

/// Where an error occurred.
enum Stop {
    Source(io::Error),
    Target(io::Error),
}

/// Unpacks all frames of a zstd file.
fn unzstd(
    mut source: BufReader<File>,
    mut fill: impl FnMut(&mut dyn Read) -> Result<Filled, Stop>,
) -> Result<Filled, Stop> {
    let broken = |error: FrameDecoderError| Stop::Source(io::Error::other(error));
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    loop {
        if is_at_end(&mut source).map_err(Stop::Source)? {
            return Ok(Filled::Whole);
        }
        match StreamingDecoder::new_with_decoder(&mut source, &mut decoder) {
            Ok(mut frame) => {
                let filled = fill(&mut frame)?;
                if filled != Filled::Whole {
                    return Ok(filled);
                }
                let stated = decoder.get_checksum_from_data();
                if stated.is_some() && stated != decoder.get_calculated_checksum() {
                    let wrong = io::Error::other("its checksum is wrong");
                    return Err(Stop::Source(wrong));
                }
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = i64::from(length);
                source.seek_relative(length).map_err(Stop::Source)?;
            }
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => return Ok(Filled::Window),
            Err(error) => return Err(broken(error)),
        }
    }
}

fn is_at_end(source: &mut BufReader<File>) -> io::Result<bool> {
    Ok(io::BufRead::fill_buf(source)?.is_empty())
}

/// The temporary file.
struct Target {
    file: File,
    /// The size of the core so far.
    size: u64,
    /// The number of its bytes that are in blocks with data.
    written: u64,
    /// The value of `written` at which the free space is checked next.
    looked: u64,
}

impl Target {
    /// Writes all bytes of `from`, up to a total size of `most`.
    fn fill(&mut self, from: &mut dyn Read, most: u64) -> Result<Filled, Stop> {
        let mut buffer = vec![0; PIECE];
        loop {
            let mut have = 0;
            let mut failed = None;
            while let Some(rest) = buffer.get_mut(have..).filter(|rest| !rest.is_empty()) {
                match from.read(rest) {
                    Ok(0) => break,
                    Ok(read) => have += read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            let left = usize::try_from(most.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let bytes = buffer.get(..have.min(left)).unwrap_or_default();
            match self.add(bytes) {
                Ok(()) => {}
                Err(error) if is_full(&error) => return Ok(Filled::NoSpace),
                Err(error) => return Err(Stop::Target(error)),
            }
            if let Some(error) = failed {
                return Err(Stop::Source(error));
            }
            if have > left {
                return Ok(Filled::Limit);
            }
            if have < buffer.len() {
                return Ok(Filled::Whole);
            }
        }
    }

    /// Appends bytes, and writes only blocks that are not all zeros.
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written >= self.looked {
            self.looked = self.written + LOOK;
            let system = fstatvfs(&self.file)?;
            let free = system
                .blocks_available()
                .saturating_mul(system.fragment_size());
            if free < SPARE {
                return Err(ErrorKind::StorageFull.into());
            }
        }
        // A run of blocks with data is written at once.
        let mut run = 0..0;
        for block in bytes.chunks(BLOCK) {
            if is_zero(block) {
                self.write(bytes, run.clone())?;
                run = run.end + block.len()..run.end + block.len();
            } else {
                run.end += block.len();
            }
        }
        self.write(bytes, run)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], run: Range<usize>) -> io::Result<()> {
        let at = self.size + run.start as u64;
        let data = bytes.get(run).unwrap_or_default();
        self.written += data.len() as u64;
        self.file.write_all_at(data, at)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    ZEROS.get(..bytes.len()) == Some(bytes)
}

fn is_full(error: &io::Error) -> bool {
    let quota = error.raw_os_error() == Some(Errno::EDQUOT as i32);
    quota
        || matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::FileTooLarge
        )
}
