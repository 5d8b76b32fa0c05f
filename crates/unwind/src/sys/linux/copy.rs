//! Copies from the loader's list into memory that was reserved before.

use std::ops::Range;

use super::{elf, objects::Object};
use crate::ModuleKind;

/// The largest plausible section: the unwind tables of all libraries together are a few MiB.
const MAX_SECTION: u64 = 256 << 20;

/// The data read from one object; ranges index the shared bytes.
pub(super) struct Record {
    pub(super) kind: ModuleKind,
    pub(super) path: Range<usize>,
    pub(super) build_id: Range<usize>,
    pub(super) load_bias: u64,
    pub(super) base_svma: u64,
    pub(super) code: Range<u64>,
    /// `.eh_frame_hdr` and `.eh_frame`.
    pub(super) unwind: Option<(CopiedSection, CopiedSection)>,
}

pub(super) struct CopiedSection {
    pub(super) svma: Range<u64>,
    pub(super) place: SectionPlace,
}

pub(super) enum SectionPlace {
    Static(&'static [u8]),
    Copied(Range<usize>),
}

/// Records and bytes that fit into the reserved memory, and how much would have been needed.
#[derive(Default)]
pub(super) struct Copies {
    records: Vec<Record>,
    bytes: Vec<u8>,
    records_needed: usize,
    bytes_needed: usize,
}

impl Copies {
    /// Adds an object as far as the reserved memory allows. Doesn't allocate.
    pub(super) fn add(&mut self, object: &Object<'_>) {
        let Some((base_svma, code)) = elf::base(object.headers).zip(elf::code(object.headers))
        else {
            return;
        };
        let path = self.copy(object.name);
        let build_id = self.copy(elf::build_id(object));
        let unwind = elf::unwind_sections(object).and_then(|(header, frames)| {
            Some((self.section(object, header)?, self.section(object, frames)?))
        });
        self.records_needed = self.records_needed.saturating_add(1);
        if self.records.len() < self.records.capacity() {
            let bias = object.load_bias;
            self.records.push(Record {
                kind: object.kind,
                path,
                build_id,
                load_bias: bias,
                base_svma,
                code: bias.wrapping_add(code.start)..bias.wrapping_add(code.end),
                unwind,
            });
        }
    }

    /// Returns whether everything that was added fit.
    pub(super) fn complete(&self) -> bool {
        self.records_needed == self.records.len() && self.bytes_needed == self.bytes.len()
    }

    /// Reserves what the last walk needed, and discards that walk.
    pub(super) fn reserve_and_clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
        self.records.reserve(self.records_needed);
        self.bytes.reserve(self.bytes_needed);
        self.records_needed = 0;
        self.bytes_needed = 0;
    }

    /// Returns what was copied.
    pub(super) fn finish(self) -> (Vec<Record>, Vec<u8>) {
        (self.records, self.bytes)
    }

    fn section(&mut self, object: &Object<'_>, svma: Range<u64>) -> Option<CopiedSection> {
        if svma.end.checked_sub(svma.start)? > MAX_SECTION {
            return None;
        }
        let place = match object.static_bytes(svma.clone()) {
            Some(bytes) => SectionPlace::Static(bytes),
            None => SectionPlace::Copied(self.copy(object.bytes(svma.clone())?)),
        };
        Some(CopiedSection { svma, place })
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        self.bytes_needed = self.bytes_needed.saturating_add(bytes.len());
        let start = self.bytes.len();
        if bytes.len() <= self.bytes.capacity() - start {
            self.bytes.extend_from_slice(bytes);
        }
        start..self.bytes.len()
    }
}
