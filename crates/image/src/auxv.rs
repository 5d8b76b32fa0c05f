//! The auxiliary vector: data that the kernel passes to a program at its start.

use crate::notes::u64_at;

/// The most bytes that are parsed; it has some 20 entries of 16 bytes.
pub(crate) const MAX_AUXV: u64 = 4096;

const AT_ENTRY: u64 = 9;
const AT_SYSINFO_EHDR: u64 = 33;

/// Pairs of a key and a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auxv(Vec<(u64, u64)>);

impl Auxv {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let most = usize::try_from(MAX_AUXV).unwrap_or(0);
        let bytes = bytes.get(..most.min(bytes.len())).unwrap_or_default();
        let pairs = bytes.chunks_exact(16);
        Self(
            pairs
                .map(|pair| (u64_at(pair, 0), u64_at(pair, 8)))
                .collect(),
        )
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the address of the program's entry point.
    pub(crate) fn entry(&self) -> Option<u64> {
        self.value(AT_ENTRY)
    }

    /// Returns the address of the vDSO's ELF header.
    pub(crate) fn vdso(&self) -> Option<u64> {
        self.value(AT_SYSINFO_EHDR)
    }

    fn value(&self, key: u64) -> Option<u64> {
        let found = self.0.iter().find(|(have, _)| *have == key);
        found.map(|(_, value)| *value)
    }
}
