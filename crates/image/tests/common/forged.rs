//! Core files that no kernel writes, and libraries that no linker produces.

use std::{fs, path::Path};

/// The parts of a core file. Everything is written as given, however wrong.
#[derive(Clone, Debug, Default)]
pub struct Forged {
    pub segments: Vec<Segment>,
    pub notes: Vec<u8>,
    /// The bytes after the headers and the notes, at [`Forged::data_at`].
    pub data: Vec<u8>,
}

/// A `PT_LOAD` segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub address: u64,
    pub in_memory: u64,
    pub offset: u64,
    pub in_file: u64,
    /// 4 to read, 2 to write, 1 to execute.
    pub flags: u32,
}

/// Makes a shared library of these segments and this length: 0x11 after its headers.
pub fn library(segments: &[Segment], length: usize) -> Vec<u8> {
    let core = Forged {
        segments: segments.to_vec(),
        ..Forged::default()
    };
    let mut bytes = core.bytes();
    bytes[16] = 3;
    bytes.truncate(128 + 56 * (segments.len() + 1));
    bytes.resize(length, 0x11);
    bytes
}

pub const PRSTATUS: u32 = 1;
pub const AUXV: u32 = 6;
pub const FILE: u32 = 0x4649_4c45;

impl Forged {
    /// Returns where the data begins with this many segments and bytes of notes.
    pub fn data_at(segments: usize, notes: usize) -> u64 {
        (64 + 64 + 56 * (segments as u64 + 1) + notes as u64).next_multiple_of(4096)
    }

    pub fn add_note(&mut self, kind: u32, bytes: &[u8]) {
        self.add_note_of(b"CORE\0\0\0\0", kind, bytes);
    }

    /// Adds a note that only Linux writes, for registers of newer processors.
    pub fn add_linux_note(&mut self, kind: u32, bytes: &[u8]) {
        self.add_note_of(b"LINUX\0\0\0", kind, bytes);
    }

    fn add_note_of(&mut self, name: &[u8; 8], kind: u32, bytes: &[u8]) {
        let length = if name.starts_with(b"LINUX") { 6 } else { 5 };
        for word in [length, u32::try_from(bytes.len()).expect("short"), kind] {
            self.notes.extend_from_slice(&word.to_le_bytes());
        }
        self.notes.extend_from_slice(name);
        self.notes.extend_from_slice(bytes);
        self.notes.resize(self.notes.len().next_multiple_of(4), 0);
    }

    /// Adds a thread with this TID and zeros in its registers.
    pub fn add_thread(&mut self, tid: u32) {
        let mut status = [0; 336];
        status[32..36].copy_from_slice(&tid.to_le_bytes());
        self.add_note(PRSTATUS, &status);
    }

    /// Adds an `NT_FILE` note in units of 4096 bytes.
    pub fn add_files(&mut self, files: &[(u64, u64, u64, &str)]) {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(files.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&4096_u64.to_le_bytes());
        for (start, end, page, _) in files {
            for word in [start, end, page] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        for (.., name) in files {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
        }
        self.add_note(FILE, &bytes);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let count = self.segments.len() + 1;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        for half in [4_u16, 62] {
            bytes.extend_from_slice(&half.to_le_bytes());
        }
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        for word in [0_u64, 128, 64] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        let small = u16::try_from(count).unwrap_or(u16::MAX);
        for half in [64, 56, small, 64, u16::from(small == u16::MAX), 0] {
            bytes.extend_from_slice(&half.to_le_bytes());
        }
        // Section 0; its `sh_info` is the number of program headers if
        // that is too large for the header.
        let mut section = [0; 64];
        section[44..48].copy_from_slice(&u32::try_from(count).expect("few").to_le_bytes());
        bytes.extend_from_slice(&section);
        let notes_at = 128 + 56 * count as u64;
        header(
            &mut bytes,
            4,
            0,
            [notes_at, 0, 0, self.notes.len() as u64, 0, 4],
        );
        for segment in &self.segments {
            let Segment {
                address,
                in_memory,
                offset,
                in_file,
                flags,
            } = *segment;
            header(
                &mut bytes,
                1,
                flags,
                [offset, address, 0, in_file, in_memory, 4096],
            );
        }
        bytes.extend_from_slice(&self.notes);
        let data_at = Self::data_at(self.segments.len(), self.notes.len());
        bytes.resize(usize::try_from(data_at).expect("small"), 0);
        bytes.extend_from_slice(&self.data);
        bytes
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.bytes()).expect("written");
    }
}

fn header(bytes: &mut Vec<u8>, kind: u32, flags: u32, words: [u64; 6]) {
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    for word in words {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
}
