//! Data that is too long for a message, passed over the socket as an unnamed file.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    ops::Range,
    os::fd::OwnedFd,
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use rtops_image::{FileOffset, GeneralRegisters, Thread, Tid, Vectors, XstateLayout};

use crate::{pages::Pieces, stop};

/// The helper never writes more than this: 65,536 threads with AMX come to 800 MB.
const MOST: u64 = 1 << 30;

/// The text of the mappings, the auxiliary vector, the threads, and
/// where pieces of memory are in the memory file.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) maps: Vec<u8>,
    pub(crate) auxv: Vec<u8>,
    pub(crate) threads: Vec<Thread>,
    pub(crate) pieces: Pieces,
}

/// Writes an account. Each part begins with its length or count.
pub(crate) fn write(
    maps: &[u8],
    auxv: &[u8],
    threads: &[stop::Thread],
    pieces: &[(Range<u64>, FileOffset)],
) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("rtops-account", MFdFlags::MFD_CLOEXEC)?);
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, maps);
    put_bytes(&mut bytes, auxv);
    put_words(&mut bytes, &[threads.len() as u64]);
    for thread in threads {
        let signal = u64::from(thread.signal.cast_unsigned());
        let tid = u64::from(thread.tid.as_raw().cast_unsigned());
        put_words(&mut bytes, &[tid, signal]);
        put_words(&mut bytes, &words_of(&thread.registers));
        put_bytes(&mut bytes, &thread.xstate);
        // With many threads this is a lot, so at most this much is held twice.
        if bytes.len() > 1 << 20 {
            file.write_all(&bytes)?;
            bytes.clear();
        }
    }
    put_words(&mut bytes, &[pieces.len() as u64]);
    for (range, offset) in pieces {
        put_words(&mut bytes, &[range.start, range.end, offset.0]);
    }
    file.write_all(&bytes)?;
    Ok(file.into())
}

fn put_words(bytes: &mut Vec<u8>, words: &[u64]) {
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

fn put_bytes(bytes: &mut Vec<u8>, part: &[u8]) {
    put_words(bytes, &[part.len() as u64]);
    bytes.extend_from_slice(part);
}

/// Returns the registers in the order that [`GeneralRegisters::from_user_regs`] expects.
const fn words_of(r: &libc::user_regs_struct) -> [u64; 27] {
    [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx,
        r.rsi, r.rdi, r.orig_rax, r.rip, r.cs, r.eflags, r.rsp, r.ss, r.fs_base, r.gs_base, r.ds,
        r.es, r.fs, r.gs,
    ]
}

impl Account {
    /// Reads an account; fails if the file is malformed.
    pub(crate) fn read(file: OwnedFd) -> io::Result<Self> {
        let mut file = File::from(file);
        file.rewind()?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Reader(&bytes)
            .account()
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn account(&mut self) -> Option<Account> {
        let (maps, auxv) = (self.bytes()?.to_vec(), self.bytes()?.to_vec());
        let layout = XstateLayout::native();
        let mut threads = Vec::new();
        for _ in 0..self.word()? {
            threads.push(self.thread(&layout)?);
        }
        let mut pieces = Vec::new();
        for _ in 0..self.word()? {
            let range = self.word()?..self.word()?;
            pieces.push((range, FileOffset(self.word()?)));
        }
        self.0.is_empty().then_some(Account {
            maps,
            auxv,
            threads,
            pieces,
        })
    }

    fn thread(&mut self, layout: &XstateLayout) -> Option<Thread> {
        let tid = u32::try_from(self.word()?).ok()?.cast_signed();
        let signal = u32::try_from(self.word()?).ok()?.cast_signed();
        let mut words = [0; 27];
        for word in &mut words {
            *word = self.word()?;
        }
        Some(Thread {
            tid: Tid::new(tid),
            signal,
            registers: GeneralRegisters::from_user_regs(&words),
            vectors: Vectors::from_xstate(self.bytes()?, layout),
        })
    }

    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.word()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_not() {
        let pieces = [(1..9, FileOffset(4)), (9..10, FileOffset(100))];
        let write = || write(b"maps", b"auxv!", &[], &pieces).unwrap();
        let file = write();
        let account = Account::read(file.try_clone().unwrap()).unwrap();
        assert_eq!(
            (&account.maps[..], &account.auxv[..]),
            (&b"maps"[..], &b"auxv!"[..])
        );
        assert_eq!(account.pieces, pieces);
        let length = File::from(file.try_clone().unwrap())
            .metadata()
            .unwrap()
            .len();
        for cut in 0..length {
            let file = write();
            File::from(file.try_clone().unwrap()).set_len(cut).unwrap();
            assert!(Account::read(file).is_err());
        }
    }
}
