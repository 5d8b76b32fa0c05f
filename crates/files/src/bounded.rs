//! Reads files that may have no end.

use std::io::{self, BufRead, BufReader, Read};

/// The contents that were read from a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Contents {
    /// The bytes up to the limit.
    pub bytes: Vec<u8>,
    /// Whether the file has more.
    pub is_cut: bool,
}

/// Reads at most `limit` bytes.
///
/// # Errors
/// Those of the file.
pub fn read(file: impl Read, limit: usize) -> io::Result<Contents> {
    let mut bytes = Vec::new();
    // One more byte distinguishes a longer file from one of exactly that length.
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    let is_cut = bytes.len() > limit;
    bytes.truncate(limit);
    Ok(Contents { bytes, is_cut })
}

/// Reads whole lines, of at most `limit` bytes in total. A line longer than `longest` is cut off
/// after the last word that fits.
///
/// # Errors
/// Those of the file.
pub fn read_lines(file: impl Read, longest: usize, limit: usize) -> io::Result<Contents> {
    let mut file = BufReader::new(file.take(limit as u64 + 1));
    let mut contents = Contents::default();
    let mut line = Vec::new();
    let mut length = 0;
    while let read @ 1.. = next_line(&mut file, &mut line, longest)? {
        length += read;
        if length > limit {
            contents.is_cut = true;
            break;
        }
        if read > line.len() {
            contents.is_cut = true;
            let words = line.iter().rposition(u8::is_ascii_whitespace).unwrap_or(0);
            line.truncate(words);
            line.push(b'\n');
        }
        contents.bytes.append(&mut line);
    }
    Ok(contents)
}

/// Reads a line, keeps its beginning, and returns its full length.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>, longest: usize) -> io::Result<usize> {
    line.clear();
    let mut length = 0;
    loop {
        let bytes = file.fill_buf()?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = end.map_or(bytes.len(), |end| end + 1);
        let room = longest.saturating_sub(line.len()).min(part);
        line.extend(bytes.iter().take(room));
        file.consume(part);
        length += part;
        if end.is_some() || part == 0 {
            return Ok(length);
        }
    }
}

/// A reader that fails once its file turns out to be longer than allowed: for
/// formats whose parts are useless on their own.
#[derive(Debug)]
pub struct Limited<R> {
    file: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Limited<R> {
    /// Wraps a file that may have `limit` bytes.
    pub const fn new(file: R, limit: u64) -> Self {
        let left = limit;
        Self { file, limit, left }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {} bytes", self.limit),
            )),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_the_limit() {
        let whole = read(&b"12345"[..], 5).unwrap();
        assert_eq!((&whole.bytes[..], whole.is_cut), (&b"12345"[..], false));
        let cut = read(io::repeat(b'A'), 5).unwrap();
        assert_eq!((&cut.bytes[..], cut.is_cut), (&b"AAAAA"[..], true));
    }

    #[test]
    fn lines_are_whole_and_long_ones_lose_words() {
        let text = b"Name: a\nGroups: 100 200 300\nThreads: 7\n";
        let all = read_lines(&text[..], 100, 1000).unwrap();
        assert_eq!((&all.bytes[..], all.is_cut), (&text[..], false));
        let cut = read_lines(&text[..], 14, 1000).unwrap();
        assert_eq!(cut.bytes, b"Name: a\nGroups: 100\nThreads: 7\n");
        assert!(cut.is_cut);
        let cut = read_lines(&text[..], 100, 20).unwrap();
        assert_eq!((&cut.bytes[..], cut.is_cut), (&b"Name: a\n"[..], true));
        let endless = read_lines(io::repeat(b'A'), 10, 1 << 20).unwrap();
        assert_eq!((endless.bytes, endless.is_cut), (Vec::new(), true));
        let unended = read_lines(&b"a\nb"[..], 10, 100).unwrap();
        assert_eq!((&unended.bytes[..], unended.is_cut), (&b"a\nb"[..], false));
    }

    #[test]
    fn a_file_that_is_too_long_is_an_error() {
        let mut text = String::new();
        Limited::new(&b"12345"[..], 5)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "12345");
        let mut bytes = Vec::new();
        let error = Limited::new(io::repeat(0), 1 << 20).read_to_end(&mut bytes);
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("more than 1048576 bytes")
        );
        assert!(bytes.len() <= 1 << 20);
    }
}
