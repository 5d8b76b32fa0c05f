//! The thread ids of this process, read without allocating.
#![expect(unsafe_code, reason = "a system call that fills a buffer")]

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;

use crate::Tid;

/// Some 1,300 entries at a time.
const BUFFER_LEN: usize = 32 << 10;
/// Of a `linux_dirent64`: where its length and its name are.
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

/// /proc/self/task, open, with memory to read it.
pub(crate) struct Tasks {
    directory: File,
    buffer: Vec<u8>,
}

impl Tasks {
    /// Opens it.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            directory: File::open("/proc/self/task")?,
            buffer: vec![0; BUFFER_LEN],
        })
    }

    /// Calls `on_tid` for each thread that there is. Doesn't allocate.
    pub(crate) fn list(&mut self, mut on_tid: impl FnMut(Tid)) -> io::Result<()> {
        self.directory.rewind()?;
        loop {
            // SAFETY: the kernel writes no more than the length of the buffer, which is borrowed here.
            let len = unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    self.directory.as_raw_fd(),
                    self.buffer.as_mut_ptr(),
                    self.buffer.len(),
                )
            };
            let Ok(len) = usize::try_from(len) else {
                return Err(io::Error::last_os_error());
            };
            if len == 0 {
                return Ok(());
            }
            names(self.buffer.get(..len).unwrap_or_default())
                .filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok())
                .for_each(|tid| on_tid(Tid::new(tid)));
        }
    }
}

/// The names in a run of directory entries.
fn names(mut entries: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = entries.get(LENGTH_AT..)?.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes(*len)).max(NAME_AT);
        let name = entries.get(NAME_AT..len)?;
        entries = entries.get(len..)?;
        name.split(|&byte| byte == 0).next()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn every_thread_is_listed_once_also_in_many_reads_and_again() {
        let mut tasks = Tasks::open().unwrap();
        tasks.buffer.truncate(100);
        let (end, told) = (channel::<()>(), channel());
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let tell = told.0.clone();
                let (held, ends) = channel::<()>();
                let thread = std::thread::spawn(move || {
                    tell.send(super::super::current_tid()).unwrap();
                    ends.recv().unwrap_err();
                });
                (held, thread)
            })
            .collect();
        drop(end);
        let started: Vec<_> = (0..20).map(|_| told.1.recv().unwrap()).collect();
        for _ in 0..3 {
            let mut listed = Vec::new();
            tasks.list(|tid| listed.push(tid)).unwrap();
            for tid in &started {
                assert_eq!(listed.iter().filter(|it| *it == tid).count(), 1);
            }
        }
        for (held, thread) in threads {
            drop(held);
            thread.join().unwrap();
        }
    }

    #[test]
    fn entries_that_are_cut_off_end_the_list() {
        let mut entry = [0_u8; 24];
        entry[LENGTH_AT] = 24;
        entry[NAME_AT..][..2].copy_from_slice(b"42");
        assert!(names(&entry).eq([b"42".as_slice()]));
        for len in 0..entry.len() {
            assert_eq!(names(&entry[..len]).count(), 0);
        }
        entry[LENGTH_AT] = 0;
        assert!(
            names(&entry).count() < 3,
            "a length of nothing goes on all the same"
        );
    }
}
