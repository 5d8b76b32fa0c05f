//! The address space of an image whose bytes are in files: in the image's
//! own, and in those of executables and libraries.

use std::{fs::File, io, ops::ControlFlow};

use nix::{
    errno::Errno,
    unistd::{Whence, lseek64},
};

use rtops_types::page_of;

use crate::{Contents, FileOffset, MAX_CHUNK, ModuleFile, Region, Unreadable, memory};

/// Where the bytes of a region are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Nowhere,
    /// At an offset in the file of the image.
    Image(FileOffset),
    /// At an offset in one of `Space::sources`.
    File(usize, FileOffset),
}

/// A file that contains memory of the process.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: ModuleFile,
    /// The size in bytes when it was opened. The rest of the last page is zeros.
    pub(crate) size: u64,
}

/// The mapped regions, and where their bytes are.
#[derive(Debug, Default)]
pub(crate) struct Space {
    pub(crate) regions: Vec<Region>,
    /// One for each region.
    pub(crate) places: Vec<Place>,
    pub(crate) sources: Vec<Source>,
}

/// Fills a buffer with bytes of a region from the file of an image; on
/// an error, says how many it filled.
pub(crate) type Fill<'a> =
    dyn Fn(&Region, FileOffset, &mut [u8]) -> Result<(), (usize, io::Error)> + 'a;

impl Space {
    /// Fills all of `into` with the bytes from `address` on.
    pub(crate) fn read(
        &self,
        fill: &Fill<'_>,
        address: u64,
        into: &mut [u8],
    ) -> Result<(), Unreadable> {
        let mut at = address;
        let mut rest = into;
        while !rest.is_empty() {
            let index = memory::find(&self.regions, at).ok_or(Unreadable::NotMapped(at))?;
            let region = self.regions.get(index).ok_or(Unreadable::NotMapped(at))?;
            let end = region.range.end;
            let length = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (piece, behind) = rest.split_at_mut(length);
            self.read_piece(fill, region, index, at, piece)?;
            rest = behind;
            at = end;
        }
        Ok(())
    }

    fn read_piece(
        &self,
        fill: &Fill<'_>,
        region: &Region,
        index: usize,
        address: u64,
        into: &mut [u8],
    ) -> Result<(), Unreadable> {
        if let Contents::Absent(why) = region.contents {
            return Err(Unreadable::Absent(address, why));
        }
        let skip = address.saturating_sub(region.range.start);
        let read = match self.places.get(index) {
            Some(Place::Image(offset)) => fill(region, offset.plus(skip), into),
            Some(Place::File(source, offset)) => {
                let source = self.sources.get(*source);
                let source = source.ok_or(Unreadable::NotMapped(address))?;
                source.fill(offset.plus(skip), into)
            }
            Some(Place::Nowhere) | None => return Err(Unreadable::NotMapped(address)),
        };
        read.map_err(|(filled, error)| Unreadable::Io(address + filled as u64, error.kind()))
    }

    /// Implements [`Image::for_each_chunk`] for images whose file has all memory that the process
    /// may have written. Holes in the file are left out.
    ///
    /// [`Image::for_each_chunk`]: crate::Image::for_each_chunk
    pub(crate) fn for_each_chunk(
        &self,
        image: &File,
        look: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Unreadable> {
        let fill: &Fill<'_> = &|_, offset, into| rtops_files::fill(image, offset.0, into);
        let mut buffer = Vec::new();
        for (index, region) in self.regions.iter().enumerate() {
            if !region.is_own() {
                continue;
            }
            let mut at = self.next_data(image, index, region.range.start);
            while at < region.range.end {
                let left = usize::try_from(region.range.end - at).unwrap_or(usize::MAX);
                buffer.resize(left.min(MAX_CHUNK), 0);
                self.read_piece(fill, region, index, at, &mut buffer)?;
                if look(at, &buffer).is_break() {
                    return Ok(());
                }
                at = self.next_data(image, index, at + buffer.len() as u64);
            }
        }
        Ok(())
    }

    /// Returns the next page of a region that is no hole in the image's
    /// file: untouched pages are not written there.
    fn next_data(&self, image: &File, index: usize, address: u64) -> u64 {
        let (Some(region), Some(Place::Image(start))) =
            (self.regions.get(index), self.places.get(index))
        else {
            return address;
        };
        let offset = start.plus(address - region.range.start).0;
        let Ok(from) = i64::try_from(offset) else {
            return address;
        };
        match lseek64(image, from, Whence::SeekData) {
            Ok(data) => {
                let hole = data.cast_unsigned().saturating_sub(offset);
                address.saturating_add(page_of(hole)).min(region.range.end)
            }
            // There are only holes up to the end of the file.
            Err(Errno::ENXIO) => region.range.end,
            Err(_) => address,
        }
    }
}

impl Source {
    fn fill(&self, offset: FileOffset, into: &mut [u8]) -> Result<(), (usize, io::Error)> {
        let known = usize::try_from(self.size.saturating_sub(offset.0)).unwrap_or(usize::MAX);
        let (bytes, behind) = into.split_at_mut(known.min(into.len()));
        rtops_files::fill(&self.file.file, offset.0, bytes)?;
        behind.fill(0);
        Ok(())
    }
}
