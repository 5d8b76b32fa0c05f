//! A loaded ELF file: where it is, which build it is, and how to unwind through it.

use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
};

use rtops_types::Module;

/// A module, together with the data that only unwinding needs.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) module: Module,
    /// The lowest address of a segment, as stated in the file.
    pub(crate) base_svma: u64,
    /// `None` if the file has no usable unwind information.
    pub(crate) unwind: Option<UnwindSections>,
}

/// A module of another process, with copies of its unwind tables.
#[derive(Debug)]
pub struct Foreign {
    /// The module; addresses are those in that process.
    pub module: Module,
    /// The lowest address of a segment, as stated in the file.
    pub base_svma: u64,
    /// `.eh_frame_hdr` and `.eh_frame`; `None` if there is no usable unwind information.
    pub tables: Option<[Table; 2]>,
}

/// A copied section.
#[derive(Debug)]
pub struct Table {
    /// Its addresses, as stated in the file.
    pub svma: Range<u64>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl From<Foreign> for Loaded {
    fn from(foreign: Foreign) -> Self {
        let section = |bytes: Vec<u8>| {
            let all = 0..bytes.len();
            Section::Copied(Arc::new(bytes), all)
        };
        let unwind = foreign.tables.map(|[header, frames]| UnwindSections {
            header: section(header.bytes),
            header_svma: header.svma,
            frames: section(frames.bytes),
            frames_svma: frames.svma,
        });
        Self {
            module: foreign.module,
            base_svma: foreign.base_svma,
            unwind,
        }
    }
}

/// `.eh_frame_hdr` and `.eh_frame`; the ranges are addresses as stated in the file.
#[derive(Debug)]
pub(crate) struct UnwindSections {
    pub(crate) header: Section,
    pub(crate) header_svma: Range<u64>,
    pub(crate) frames: Section,
    pub(crate) frames_svma: Range<u64>,
}

/// Bytes of a section that stay valid, whatever is unloaded.
pub(crate) enum Section {
    /// A section of the main executable, which is never unmapped.
    Borrowed(&'static [u8]),
    /// A section of any other module: a range of one copy that all of them share.
    Copied(Arc<Vec<u8>>, Range<usize>),
}

impl Default for Section {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Copied(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self {
            Self::Borrowed(_) => "Borrowed",
            Self::Copied(..) => "Copied",
        };
        write!(f, "{origin}({} bytes)", self.len())
    }
}
