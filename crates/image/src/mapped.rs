//! The mappings of files.

use std::{ops::Range, path::Path, sync::Arc};

use crate::FileOffset;

/// As many mappings as any distribution we know allows the kernel to be set to.
pub(crate) const MAX_MAPPINGS: usize = 1 << 20;

/// A mapping of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MappedFile {
    pub(crate) range: Range<u64>,
    pub(crate) offset: FileOffset,
    pub(crate) path: Arc<Path>,
    /// The inode of the file, if known. Its device is not compared: for
    /// overlays, it differs from that in `stat`.
    pub(crate) inode: Option<u64>,
    /// Whether its file system is known to be one that must not be touched, not even by `stat`.
    pub(crate) is_refused: bool,
}

impl MappedFile {
    /// Returns the offset in the file of an address in the mapping.
    pub(crate) fn offset_of(&self, address: u64) -> FileOffset {
        self.offset.plus(address.saturating_sub(self.range.start))
    }
}

/// Finds the mapping that contains an address; `files` must be sorted.
pub(crate) fn find(files: &[MappedFile], address: u64) -> Option<&MappedFile> {
    let behind = files.partition_point(|file| file.range.start <= address);
    let file = files.get(behind.checked_sub(1)?)?;
    file.range.contains(&address).then_some(file)
}
