//! The mappings of this process, which bound how far a stack can be read.

use std::{fs, io, ops::Range};

use rtops_types::MapsLine;

/// The readable mappings at one instant, sorted. Made before signals are sent;
/// the handler looks up its stack pointer in it.
pub(crate) struct MapTable {
    mappings: Vec<Mapping>,
}

/// One readable mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) kind: MappingKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MappingKind {
    /// The main thread's stack, which stays mapped as long as the process lives.
    MainStack,
    Other,
}

impl MapTable {
    /// Reads /proc/self/maps.
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read("/proc/self/maps")?))
    }

    fn parse(maps: &[u8]) -> Self {
        let mut mappings = Vec::with_capacity(maps.len() / 64);
        let mut previous_end = 0;
        for line in MapsLine::all(maps) {
            let Range { start, end } = line.addresses;
            let mapping = match line.name {
                // It grows downwards after this was read; nothing else can be mapped in between.
                b"[stack]" => Mapping {
                    start: previous_end,
                    end,
                    kind: MappingKind::MainStack,
                },
                _ => Mapping {
                    start,
                    end,
                    kind: MappingKind::Other,
                },
            };
            if line.access.read {
                mappings.push(mapping);
            }
            previous_end = end;
        }
        Self { mappings }
    }

    /// Finds the mapping that contains `address`. Async-signal-safe: a binary search.
    pub(super) fn find(&self, address: u64) -> Option<Mapping> {
        let after = self
            .mappings
            .partition_point(|mapping| mapping.start <= address);
        let mapping = *self.mappings.get(after.checked_sub(1)?)?;
        (address < mapping.end).then_some(mapping)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MAPS: &[u8] = b"\
1000-2000 rw-p 00000000 00:00 0 \n\
2000-3000 ---p 00000000 00:00 0 \n\
3000-5000 rw-p 00000000 00:00 0                          [heap]\n\
garbage\n\
7000-9000 rw-p 00000000 00:00 0                          [stack]\n\
f000-10000 r--p 00000000 00:00 0                         [vvar]\n";

    #[test]
    fn an_address_is_found_in_its_mapping_only() {
        let table = MapTable::parse(MAPS);
        let other = |start, end| {
            Some(Mapping {
                start,
                end,
                kind: MappingKind::Other,
            })
        };
        assert_eq!(table.find(0xfff), None);
        assert_eq!(table.find(0x1000), other(0x1000, 0x2000));
        assert_eq!(table.find(0x1fff), other(0x1000, 0x2000));
        assert_eq!(table.find(0x2000), None, "not readable");
        assert_eq!(table.find(0x4fff), other(0x3000, 0x5000));
        assert_eq!(table.find(0x9000), None);
        assert_eq!(table.find(u64::MAX), None);
    }

    #[test]
    fn the_main_stack_reaches_down_to_the_mapping_before_it() {
        let table = MapTable::parse(MAPS);
        let stack = Mapping {
            start: 0x5000,
            end: 0x9000,
            kind: MappingKind::MainStack,
        };
        assert_eq!(table.find(0x5000), Some(stack));
        assert_eq!(table.find(0x8fff), Some(stack));
    }

    #[test]
    fn a_local_is_found_in_the_real_table() {
        let local = 0_u8;
        let address = (&raw const local).addr() as u64;
        assert!(MapTable::read().unwrap().find(address).is_some());
    }
}
