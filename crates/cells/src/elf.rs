//! Reads the unwind tables of a module, which its ELF headers locate, from the image's memory.

use std::ops::Range;

use rtops_image::{Image, ImageModule};
use rtops_unwind::{Foreign, Table};

/// The largest table that is believed: the unwind tables of all libraries together are some MiB.
const LARGEST_TABLE: u64 = 256 << 20;
/// The most program headers that are read.
const MOST_HEADERS: u16 = 256;
const PT_LOAD: u32 = 1;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
/// `pcrel | sdata4`, the only encoding of the pointer to `.eh_frame` that linkers produce,
/// and `datarel | sdata4`, the encoding of the table after it.
const PC_RELATIVE_I32: u8 = 0x1b;
const DATA_RELATIVE_I32: u8 = 0x3b;

/// A segment, as stated in the file.
struct Segment {
    kind: u32,
    addresses: Range<u64>,
    from_file: u64,
}

/// Returns what is needed to unwind through a module, and where its functions begin.
pub(crate) fn foreign(image: &impl Image, module: &ImageModule) -> (Foreign, Vec<u64>) {
    let segments = segments(image, module).unwrap_or_default();
    let loads = || segments.iter().filter(|segment| segment.kind == PT_LOAD);
    let base_svma = loads().map(|segment| segment.addresses.start).min();
    let tables = tables(image, module, &segments);
    let functions = tables
        .as_ref()
        .map(|[header, _]| functions(header, module.load_bias))
        .unwrap_or_default();
    let foreign = Foreign {
        module: module.module(),
        base_svma: base_svma.unwrap_or(0),
        tables,
    };
    (foreign, functions)
}

fn segments(image: &impl Image, module: &ImageModule) -> Option<Vec<Segment>> {
    let mut head = [0; 64];
    let start = module.mapped.start;
    image.read(start, &mut head).ok()?;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let headers = start.checked_add(u64_at(&head, 32)?)?;
    let size = u64::from(u16_at(&head, 54)?);
    let count = u16_at(&head, 56)?.min(MOST_HEADERS);
    let segments = (0..u64::from(count)).map_while(|index| {
        let mut header = [0; 56];
        let at = headers.checked_add(index * size)?;
        image.read(at, &mut header).ok()?;
        let address = u64_at(&header, 16)?;
        Some(Segment {
            kind: u32_at(&header, 0)?,
            addresses: address..address.checked_add(u64_at(&header, 40)?)?,
            from_file: u64_at(&header, 32)?,
        })
    });
    Some(segments.collect())
}

/// Reads `.eh_frame_hdr` and `.eh_frame`. No program header gives the size of `.eh_frame`: it
/// is taken to extend to the end of its segment, and its terminating entry ends it earlier.
fn tables(image: &impl Image, module: &ImageModule, segments: &[Segment]) -> Option<[Table; 2]> {
    let header = segments
        .iter()
        .find(|segment| segment.kind == PT_GNU_EH_FRAME)?;
    let header = table(image, module, header.addresses.clone())?;
    let [1, PC_RELATIVE_I32, ..] = *header.bytes else {
        return None;
    };
    let pointer = header.svma.start.checked_add(4)?;
    let frames = pointer.checked_add_signed(i64::from(i32_at(&header.bytes, 4)?))?;
    let segment = segments
        .iter()
        .find(|segment| segment.kind == PT_LOAD && segment.addresses.contains(&frames))?;
    let end = segment.addresses.start.checked_add(segment.from_file)?;
    let frames = table(image, module, frames..end)?;
    Some([header, frames])
}

fn table(image: &impl Image, module: &ImageModule, svma: Range<u64>) -> Option<Table> {
    let length = svma.end.checked_sub(svma.start)?;
    let address = module.load_bias.wrapping_add(svma.start);
    // A header may lie, so never more than is mapped.
    if length > LARGEST_TABLE || address.checked_add(length)? > module.mapped.end {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    image.read(address, &mut bytes).ok()?;
    Some(Table { svma, bytes })
}

/// Returns where functions begin, sorted, from the table of `.eh_frame_hdr`.
fn functions(header: &Table, bias: u64) -> Vec<u64> {
    if header.bytes.get(3) != Some(&DATA_RELATIVE_I32) {
        return Vec::new();
    }
    let entries = header.bytes.get(12..).unwrap_or_default();
    let start = header.svma.start.wrapping_add(bias);
    let entries = entries.as_chunks::<8>().0.iter();
    let mut functions: Vec<u64> = entries
        .filter_map(|entry| i32_at(entry, 0))
        .map(|offset| start.wrapping_add_signed(i64::from(offset)))
        .collect();
    functions.sort_unstable();
    functions
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(i32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}
