//! Finds the modules of this process with `dl_iterate_phdr`.

mod copy;
mod elf;
mod objects;
mod trampoline;

use std::{os::unix::ffi::OsStrExt, sync::Arc};

use self::copy::{Copies, Record, SectionPlace};
pub(crate) use self::trampoline::signal_trampoline;
use super::Generation;
use crate::{
    Module, ModuleKind,
    modules::{Loaded, Section, UnwindSections},
};

/// The most attempts. A library may be loaded between measuring and
/// copying, but not so many times in a row.
const MAX_ATTEMPTS: usize = 8;

pub(crate) fn generation() -> Option<Generation> {
    objects::generation()
}

/// Returns every module, in the loader's order. A module with invalid headers has no unwind
/// information, or is left out if it has no code.
///
/// The loader's lock is held while its list is walked, and an allocator may take that lock itself.
/// So nothing is allocated during a walk: one walk measures, the next copies into what was
/// reserved, and both are repeated if the list has grown meanwhile.
pub(crate) fn loaded() -> Vec<Loaded> {
    let mut copies = Copies::default();
    for _ in 0..MAX_ATTEMPTS {
        objects::for_each(|object| copies.add(object));
        if copies.complete() {
            break;
        }
        copies.reserve_and_clear();
    }
    let (records, bytes) = copies.finish();
    let bytes = Arc::new(bytes);
    records
        .into_iter()
        .map(|record| to_loaded(record, &bytes))
        .collect()
}

fn to_loaded(record: Record, bytes: &Arc<Vec<u8>>) -> Loaded {
    let path = match record.kind {
        ModuleKind::MainExecutable => executable_path(),
        ModuleKind::Vdso => "[vdso]".to_owned(),
        ModuleKind::Library => {
            String::from_utf8_lossy(bytes.get(record.path).unwrap_or_default()).into_owned()
        }
    };
    let section = |place: SectionPlace| match place {
        SectionPlace::Static(bytes) => Section::Borrowed(bytes),
        SectionPlace::Copied(range) => Section::Copied(Arc::clone(bytes), range),
    };
    Loaded {
        module: Module {
            path,
            build_id: bytes.get(record.build_id).unwrap_or_default().to_vec(),
            load_bias: record.load_bias,
            code: record.code,
            kind: record.kind,
        },
        base_svma: record.base_svma,
        unwind: record.unwind.map(|(header, frames)| UnwindSections {
            header_svma: header.svma,
            header: section(header.place),
            frames_svma: frames.svma,
            frames: section(frames.place),
        }),
    }
}

fn executable_path() -> String {
    match std::fs::read_link("/proc/self/exe") {
        Ok(path) => String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
        // Without /proc, only the loader's name of the program is left, which is empty.
        Err(_) => String::new(),
    }
}
