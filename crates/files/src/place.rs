//! Reads at an offset in a file, as much as there is.

use std::{fs::File, io, os::unix::fs::FileExt};

/// Fills all of `into` from an offset in bytes.
///
/// # Errors
/// If the file can't be read or ends early, which is `UnexpectedEof`;
/// with the number of bytes filled.
pub fn fill(file: &File, place: u64, into: &mut [u8]) -> Result<(), (usize, io::Error)> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, place.saturating_add(filled as u64)) {
            Ok(0) => return Err((filled, io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // An offset that the kernel can't even express lies after the end.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err((filled, io::ErrorKind::UnexpectedEof.into()));
            }
            Err(error) => return Err((filled, error)),
        }
    }
    Ok(())
}

/// Reads from an offset up to the end of `into` or of the file, and returns the number of bytes.
///
/// # Errors
/// If the file can't be read.
pub fn read_at_most(file: &File, place: u64, into: &mut [u8]) -> io::Result<usize> {
    match fill(file, place, into) {
        Ok(()) => Ok(into.len()),
        Err((filled, error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(filled),
        Err((_, error)) => Err(error),
    }
}
