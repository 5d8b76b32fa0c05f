//! Streams all memory that a process may have written.

use std::{fs::File, io, ops::ControlFlow, ops::Range};

use nix::errno::Errno;
use rtops_types::{PAGE, page_of};

use super::pagemap::{Ask, Pagemap};
use crate::{Backing, MAX_CHUNK, Region, Unreadable};

/// Implements [`Image::for_each_chunk`](crate::Image::for_each_chunk) for a live process.
pub(super) fn for_each_chunk(
    regions: &[Region],
    memory: &File,
    pagemap: Option<&Pagemap>,
    look: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), Unreadable> {
    let mut stream = Stream {
        memory,
        buffer: Vec::new(),
        look,
    };
    for region in regions.iter().filter(|region| region.is_own()) {
        let range = region.range.clone();
        let ask = match region.backing {
            Backing::Anonymous => Ask::Touched,
            // Pages that are as in the file were not written.
            Backing::File { .. } => Ask::Written,
        };
        let has_seen = match pagemap {
            None => stream.show(range)?,
            Some(pagemap) => {
                let runs = pagemap.runs(range, ask);
                let mut runs = runs.filter(|(_, is_written)| *is_written);
                runs.try_fold(ControlFlow::Continue(()), |seen, (run, _)| match seen {
                    ControlFlow::Continue(()) => stream.show(run),
                    seen @ ControlFlow::Break(()) => Ok(seen),
                })?
            }
        };
        if has_seen.is_break() {
            break;
        }
    }
    Ok(())
}

struct Stream<'a> {
    memory: &'a File,
    buffer: Vec<u8>,
    look: &'a mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
}

impl Stream<'_> {
    /// Passes on what can be read of a range.
    fn show(&mut self, range: Range<u64>) -> Result<ControlFlow<()>, Unreadable> {
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            self.buffer.resize(left.min(MAX_CHUNK), 0);
            let (shown, skipped) = match rtops_files::fill(self.memory, at, &mut self.buffer) {
                Ok(()) => (self.buffer.len() as u64, 0),
                Err((filled, error)) if is_of_page(&error) => (page_of(filled as u64), PAGE),
                Err((filled, error)) => {
                    return Err(Unreadable::Io(at + filled as u64, error.kind()));
                }
            };
            let bytes = usize::try_from(shown)
                .ok()
                .and_then(|shown| self.buffer.get(..shown))
                .unwrap_or_default();
            if !bytes.is_empty() && (self.look)(at, bytes).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at = at.saturating_add(shown + skipped);
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Returns whether a single page can't be read. (The memory of a
/// process that has ended reads as end of file.)
fn is_of_page(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EIO as i32)
}
