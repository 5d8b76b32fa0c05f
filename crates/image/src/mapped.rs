//! Which files were mapped where.

use std::{ops::Range, path::Path, sync::Arc};

use crate::FileOffset;

/// As many mappings as the kernel can be told to allow on any distribution we know.
pub(crate) const MAX_MAPPINGS: usize = 1 << 20;

/// A mapping of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MappedFile {
    pub(crate) range: Range<u64>,
    pub(crate) offset: FileOffset,
    pub(crate) path: Arc<Path>,
    /// The number of the file, where that is known. Its device is not compared: overlays show another one
    /// here than in `stat`.
    pub(crate) inode: Option<u64>,
    /// Whether its file system is known for one that must not be asked, not even what file it is.
    pub(crate) is_refused: bool,
}

impl MappedFile {
    /// Where in the file an address of it lies.
    pub(crate) fn offset_of(&self, address: u64) -> FileOffset {
        self.offset.plus(address.saturating_sub(self.range.start))
    }
}

/// The one of sorted mappings that holds an address.
pub(crate) fn find(files: &[MappedFile], address: u64) -> Option<&MappedFile> {
    let behind = files.partition_point(|file| file.range.start <= address);
    let file = files.get(behind.checked_sub(1)?)?;
    file.range.contains(&address).then_some(file)
}
