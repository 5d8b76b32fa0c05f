//! Reads all memory that is a process's own: while the process is stopped, or from a small copy.

use std::{
    fs::File,
    io,
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    time::Instant,
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use rtops_image::{FileOffset, Pid, live::Mapping};

use crate::memory;

const PAGE: u64 = 4096;
/// The most bytes that are read between two looks at the clock.
const CHUNK: u64 = 256 << 10;
/// The bits of a pagemap entry: where a page is, and whether it belongs to a file.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;
/// If the readable mappings are larger than this in total, they are not gone through page by page.
pub(crate) const MOST_MAPPED: u64 = 16 << 30;

/// Address ranges and the file offsets of their bytes; sorted.
pub(crate) type Pieces = Vec<(Range<u64>, FileOffset)>;

/// The source of the pages.
#[derive(Debug)]
pub(crate) enum Source {
    /// A stopped process, read by the fastest way.
    Standing(Pid),
    /// `/proc/COPY/mem`. The other way would make the kernel give the copy its own page for each
    /// one that it shares with the target.
    Copy(File),
}

impl Source {
    fn read(&self, address: u64, into: &mut [u8]) -> usize {
        match self {
            Self::Standing(pid) => memory::read(*pid, address, into).unwrap_or(0),
            Self::Copy(memory) => memory.read_at(into, address).unwrap_or(0),
        }
    }
}

/// Pages that were read, and where their bytes are.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The buffer, of which the first `used` bytes are in use.
    bytes: Vec<u8>,
    used: usize,
    /// The file offsets and lengths of the bytes in use, in order.
    places: Vec<(FileOffset, usize)>,
    /// The file with all bytes but those in use.
    file: File,
    /// Address ranges that are known. Those without bytes in the file are zeros.
    pieces: Pieces,
    file_length: u64,
    length: u64,
    /// The bytes that may be in use before they are written to the file.
    most_in_use: usize,
}

/// Why pages were not read.
#[derive(Debug)]
pub(crate) enum NotRead {
    NotInTime,
    Io(io::Error),
}

impl Pages {
    /// Prepares for a process that is stopped while it is read. Allocates this many bytes
    /// beforehand, and writes nothing to the file meanwhile.
    pub(crate) fn of_standing(bytes: u64) -> io::Result<Self> {
        Self::new(bytes, usize::MAX)
    }

    /// Prepares for a copy, which nobody waits for.
    pub(crate) fn of_copy() -> io::Result<Self> {
        Self::new(CHUNK, 0)
    }

    fn new(bytes: u64, most_in_use: usize) -> io::Result<Self> {
        let file = memfd_create("rtops-pages", MFdFlags::MFD_CLOEXEC)?;
        Ok(Self {
            // The kernel would allocate zeroed memory only when it is written to.
            bytes: vec![1; usize::try_from(bytes).unwrap_or(0)],
            used: 0,
            places: Vec::new(),
            file: file.into(),
            pieces: Vec::new(),
            file_length: 0,
            length: 0,
            most_in_use,
        })
    }

    /// Returns how many bytes were read.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Reads the pages that are the process's own; pages of files that have a name can be read
    /// there. A page that was never touched takes no space in the file and reads as zeros.
    pub(crate) fn read(
        &mut self,
        pid: Pid,
        source: &Source,
        maps: &[Mapping],
        until: Instant,
    ) -> Result<(), NotRead> {
        let table = File::open(format!("/proc/{pid}/pagemap")).ok();
        for map in maps {
            if !map.access.read || map.is_special() {
                continue;
            }
            let runs = match &table {
                _ if is_read_whole(map) => vec![map.range.clone()],
                Some(table) => runs(table, map, until)?,
                None => vec![map.range.clone()],
            };
            self.read_map(source, map, &runs, until)?;
        }
        Ok(())
    }

    fn read_map(
        &mut self,
        source: &Source,
        map: &Mapping,
        runs: &[Range<u64>],
        until: Instant,
    ) -> Result<(), NotRead> {
        let offset = FileOffset(self.file_length);
        let mut known = Vec::new();
        let mut is_whole = true;
        for run in runs {
            let mut at = run.start;
            while at < run.end {
                if Instant::now() > until {
                    return Err(NotRead::NotInTime);
                }
                let length = (run.end - at).min(CHUNK);
                let read = self.read_run(source, at, offset.plus(at - map.range.start), length)?;
                if read > 0 {
                    known.push(at..at + read);
                }
                is_whole &= read == length;
                // Only one page may be unreadable.
                at += read.max(if read == length { 0 } else { PAGE });
            }
        }
        if is_whole && !map.is_shared() && !map.is_of_file() {
            // All of it is known: missing pages were never touched.
            self.pieces.push((map.range.clone(), offset));
        } else {
            let place = |run: Range<u64>| (run.clone(), offset.plus(run.start - map.range.start));
            self.pieces.extend(join(known).into_iter().map(place));
        }
        self.file_length += map.range.end - map.range.start;
        Ok(())
    }

    /// Reads part of a run; returns the number of bytes read, in whole pages.
    fn read_run(
        &mut self,
        source: &Source,
        address: u64,
        place: FileOffset,
        length: u64,
    ) -> Result<u64, NotRead> {
        let end = self.used + usize::try_from(length).unwrap_or(0);
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        let into = self.bytes.get_mut(self.used..end).unwrap_or_default();
        let read = source.read(address, into) as u64 / PAGE * PAGE;
        if read > 0 {
            let length = usize::try_from(read).unwrap_or(0);
            self.places.push((place, length));
            self.used += length;
            self.length += read;
            if self.used > self.most_in_use {
                self.write().map_err(NotRead::Io)?;
            }
        }
        Ok(read)
    }

    /// Writes the bytes in use to their offsets.
    fn write(&mut self) -> io::Result<()> {
        let mut rest = self.bytes.get(..self.used).unwrap_or_default();
        for (place, length) in self.places.drain(..) {
            let Some((bytes, behind)) = rest.split_at_checked(length) else {
                break;
            };
            self.file.write_all_at(bytes, place.0)?;
            rest = behind;
        }
        self.used = 0;
        Ok(())
    }

    /// Returns the unnamed file with all bytes, and where each range is in it.
    pub(crate) fn into_file(mut self) -> io::Result<(OwnedFd, Pieces)> {
        self.write()?;
        // Pages that were never touched are not in it yet.
        self.file.set_len(self.file_length)?;
        Ok((self.file.into(), self.pieces))
    }
}

/// Returns whether no file has its contents: the executable may have been replaced by a newer one.
fn is_read_whole(map: &Mapping) -> bool {
    let is_of_lost_file = map.is_of_file() && map.is_deleted() && !map.is_shared();
    is_of_lost_file || map.is_named("[vdso]")
}

/// Returns the page ranges of a mapping that have to be read.
fn runs(table: &File, map: &Mapping, until: Instant) -> Result<Vec<Range<u64>>, NotRead> {
    const ENTRY: u64 = size_of::<u64>() as u64;
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut at = map.range.start;
    while at < map.range.end {
        if Instant::now() > until {
            return Err(NotRead::NotInTime);
        }
        let left = (map.range.end - at) / PAGE * ENTRY;
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let into = buffer.get_mut(..length).unwrap_or_default();
        let read = table
            .read_at(into, at / PAGE * ENTRY)
            .map_err(NotRead::Io)?;
        if read < size_of::<u64>() {
            break;
        }
        for entry in into
            .get(..read)
            .unwrap_or_default()
            .chunks_exact(size_of::<u64>())
        {
            let entry = entry.try_into().map_or(0, u64::from_le_bytes);
            if is_own(entry, map) {
                match runs.last_mut() {
                    Some(last) if last.end == at => last.end += PAGE,
                    _ => runs.push(at..at + PAGE),
                }
            }
            at += PAGE;
        }
    }
    Ok(runs)
}

/// Returns whether a page differs from that in a file. A missing page of shared memory is not read,
/// because that would allocate it.
const fn is_own(entry: u64, map: &Mapping) -> bool {
    if map.is_shared() {
        entry & PRESENT != 0
    } else {
        entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0
    }
}

fn join(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

/// Returns the total size of the mappings that would be gone through page by page.
pub(crate) fn mapped(maps: &[Mapping]) -> u64 {
    let readable = maps.iter().filter(|map| map.access.read);
    readable.map(|map| map.range.end - map.range.start).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_own_pages_of_a_process_are_read_and_untouched_ones_are_zeros() {
        let pid = Pid::new(nix::unistd::getpid().as_raw());
        let own = vec![7_u8; 3 << 20];
        let text = crate::proc::maps(pid).unwrap();
        let address = own.as_ptr().addr() as u64;
        let maps: Vec<Mapping> = Mapping::parse_all(&text)
            .into_iter()
            .filter(|map| map.range.contains(&address))
            .collect();
        let until = Instant::now() + Duration::from_secs(20);
        let memory = File::open("/proc/self/mem").unwrap();
        for (mut pages, source) in [
            (Pages::of_standing(1 << 20).unwrap(), Source::Standing(pid)),
            (Pages::of_copy().unwrap(), Source::Copy(memory)),
        ] {
            pages.read(pid, &source, &maps, until).unwrap();
            assert!(pages.length() >= own.len() as u64);
            let (file, pieces) = pages.into_file().unwrap();
            let (range, offset) = pieces[0].clone();
            assert!(range.start <= address && address + own.len() as u64 <= range.end);
            let mut bytes = vec![0; own.len()];
            let at = offset.0 + (address - range.start);
            File::from(file).read_exact_at(&mut bytes, at).unwrap();
            assert!(bytes == own);
        }
    }

    #[test]
    fn no_time_is_no_time() {
        let pid = Pid::new(nix::unistd::getpid().as_raw());
        let maps = Mapping::parse_all(&crate::proc::maps(pid).unwrap());
        let past = Instant::now() - Duration::from_millis(1);
        let mut pages = Pages::of_standing(0).unwrap();
        let read = pages.read(pid, &Source::Standing(pid), &maps, past);
        assert!(matches!(read, Err(NotRead::NotInTime)));
    }
}
