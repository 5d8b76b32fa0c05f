//! Debug info that was split off from the program: into one file for all of it (`.dwp`), or one for
//! each unit (`.dwo`). In both, the number of each unit shows that they belong to the program.

use std::{cell::OnceCell, fmt, path::Path, sync::Arc};

use gimli::{DebugCuIndex, EndianSlice, IndexSectionId, LittleEndian};

use super::{
    entry::malformed,
    sections::Sections,
    unit::Unit,
    units::{self, Location, Root},
};
use crate::{Elf, ReadError, Resource};

const WHAT: &str = "its package of debug info";
/// The maximum size of the index of a package, in bytes.
const MAX_INDEX: u64 = 64 << 20;

/// Opens the files that debug info was split off into.
pub trait SplitFiles: fmt::Debug + Send {
    /// Opens the file with all of it.
    fn package(&self) -> Option<Elf>;

    /// Opens the file at this path, which the compiler chose.
    fn object(&self, path: &Path) -> Option<Elf>;
}

/// Debug info that was split off.
#[derive(Debug)]
pub(super) struct Split {
    files: Box<dyn SplitFiles>,
    /// The package, and its index.
    package: OnceCell<Option<(Arc<Sections>, Vec<u8>)>>,
}

impl Split {
    pub(super) fn new(files: Box<dyn SplitFiles>) -> Self {
        Self {
            files,
            package: OnceCell::new(),
        }
    }

    /// Reads the contents of a unit; `None` if no file has them.
    pub(super) fn read(
        &self,
        main: &Arc<Sections>,
        skeleton: &Root,
    ) -> Result<Option<Unit>, ReadError> {
        let Some(id) = skeleton.split else {
            return Ok(None);
        };
        let package = self.package.get_or_init(|| {
            let elf = Arc::new(self.files.package()?);
            let index = elf.bytes(elf.section(".debug_cu_index")?, MAX_INDEX).ok()?;
            Some((Arc::new(Sections::of(elf, Some(Arc::clone(main)))), index))
        });
        if let Some((sections, index)) = package
            && let Some(unit) = in_package(sections, index, id, skeleton)?
        {
            return Ok(Some(unit));
        }
        let path = skeleton.split_name.as_deref().map(|name| {
            let directory = skeleton.directory.as_deref().unwrap_or_default();
            Path::new(directory).join(name)
        });
        match path.and_then(|path| self.files.object(&path)) {
            Some(elf) => in_object(main, elf, id, skeleton),
            None => Ok(None),
        }
    }
}

fn in_package(
    sections: &Arc<Sections>,
    index: &[u8],
    id: u64,
    skeleton: &Root,
) -> Result<Option<Unit>, ReadError> {
    let malformed = |_| ReadError::Malformed(WHAT);
    let index = DebugCuIndex::from(EndianSlice::new(index, LittleEndian));
    let index = index.index().map_err(malformed)?;
    let steps = u64::from(index.slot_count()) / 16;
    sections.budget().pay(Resource::Steps, steps)?;
    let Some(row) = index.find(id) else {
        return Ok(None);
    };
    let mut place = Location {
        start: 0,
        size: 0,
        abbreviations: 0,
        bases: None,
    };
    let (mut text_offsets, mut range_lists) = (0, 0);
    for part in index.sections(row).map_err(malformed)? {
        let offset = u64::from(part.offset);
        match part.section {
            IndexSectionId::DebugInfo => (place.start, place.size) = (offset, part.size.into()),
            IndexSectionId::DebugAbbrev => place.abbreviations = offset,
            IndexSectionId::DebugStrOffsets => text_offsets = offset,
            IndexSectionId::DebugRngLists => range_lists = offset,
            _ => {}
        }
    }
    place.bases = Some(skeleton.split_bases(text_offsets, range_lists));
    let root = units::read_split(sections, place, skeleton)?;
    Unit::read(Arc::clone(sections), &root).map(Some)
}

fn in_object(
    main: &Arc<Sections>,
    elf: Elf,
    id: u64,
    skeleton: &Root,
) -> Result<Option<Unit>, ReadError> {
    let sections = Arc::new(Sections::of(Arc::new(elf), Some(Arc::clone(main))));
    let mut start = 0;
    // There are type units, too.
    while let Some(size) = units::size_at(&sections, start)? {
        sections.budget().pay(Resource::Units, 1)?;
        let place = Location {
            start,
            size,
            abbreviations: 0,
            bases: Some(skeleton.split_bases(0, 0)),
        };
        let root = units::read_split(&sections, place, skeleton)?;
        if root.split == Some(id) {
            return Unit::read(sections, &root).map(Some);
        }
        start = start.checked_add(size).ok_or_else(|| malformed(()))?;
    }
    Ok(None)
}
