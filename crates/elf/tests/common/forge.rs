//! ELF files whose debug info is made to harm whoever reads it.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};

/// The build-id of all these files.
pub const BUILD_ID: [u8; 20] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
    0x00, 0x11, 0x22, 0x33,
];
/// The addresses that they claim for their code.
pub const CODE: std::ops::Range<u64> = 0x1000..0x10_1000;

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const NOTE: u32 = 7;
const COMPRESSED: u64 = 0x800;

/// A section.
#[derive(Clone)]
pub struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    link: u32,
    bytes: Vec<u8>,
    /// The size that it claims, if that is not its size.
    claimed: Option<u64>,
}

/// Returns a section with these bytes.
pub fn section(name: &'static str, bytes: Vec<u8>) -> Section {
    Section {
        name,
        kind: PROGBITS,
        flags: 0,
        link: 0,
        bytes,
        claimed: None,
    }
}

/// Returns a compressed section of these bytes that claims to inflate to this size.
pub fn packed(name: &'static str, bytes: &[u8], claimed: u64) -> Section {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    let mut all = Vec::new();
    for word in [1, 0] {
        all.extend(u32::to_le_bytes(word));
    }
    all.extend(claimed.to_le_bytes());
    all.extend(1_u64.to_le_bytes());
    all.extend(encoder.finish().unwrap());
    Section {
        flags: COMPRESSED,
        ..section(name, all)
    }
}

fn whole(name: &'static str, bytes: &[u8]) -> Section {
    packed(name, bytes, bytes.len() as u64)
}

/// Returns a file with these sections, and a note with the build-id.
pub fn elf(sections: &[Section]) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4_u32, 20, 3] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"GNU\0");
    note.extend(BUILD_ID);
    let none = Section {
        kind: 0,
        ..section("", Vec::new())
    };
    let note = Section {
        kind: NOTE,
        ..section(".note.gnu.build-id", note)
    };
    let mut all = vec![none, note];
    all.extend_from_slice(sections);
    let mut names = Vec::new();
    let mut name_places = Vec::new();
    all.push(section(".shstrtab", Vec::new()));
    for section in &all {
        name_places.push(names.len() as u32);
        names.extend(section.name.as_bytes());
        names.push(0);
    }
    all.last_mut().unwrap().bytes = names;

    let mut file = vec![0; 64 + 2 * 56];
    let mut places = Vec::new();
    for section in &all {
        file.resize(file.len().next_multiple_of(16), 0);
        places.push(file.len() as u64);
        file.extend(&section.bytes);
    }
    file.resize(file.len().next_multiple_of(16), 0);
    let table = file.len() as u64;
    for ((section, place), name) in all.iter().zip(&places).zip(name_places) {
        let size = section.claimed.unwrap_or(section.bytes.len() as u64);
        file.extend(name.to_le_bytes());
        file.extend(section.kind.to_le_bytes());
        for word in [section.flags, 0, *place, size] {
            file.extend(word.to_le_bytes());
        }
        file.extend(section.link.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        let entry = if section.kind == SYMTAB { 24 } else { 0 };
        for word in [4_u64, entry] {
            file.extend(word.to_le_bytes());
        }
    }
    head(&mut file, table, all.len() as u16, places[1]);
    file
}

/// Writes the ELF header and the program headers.
fn head(file: &mut [u8], table: u64, sections: u16, note: u64) {
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [3_u16, 62] {
        head.extend(half.to_le_bytes());
    }
    head.extend(1_u32.to_le_bytes());
    for word in [CODE.start, 64, table] {
        head.extend(word.to_le_bytes());
    }
    head.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 64, sections, sections - 1] {
        head.extend(half.to_le_bytes());
    }
    let code = [0, 0, 0, CODE.end, CODE.end, 0x1000];
    for (kind, flags, words) in [
        (4_u32, 4_u32, [note, 0x400, 0x400, 36, 36, 4]),
        (1, 5, code),
    ] {
        head.extend(kind.to_le_bytes());
        head.extend(flags.to_le_bytes());
        for word in words {
            head.extend(u64::to_le_bytes(word));
        }
    }
    file[..head.len()].copy_from_slice(&head);
}

/// Encodes a number in LEB128.
fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { byte } else { byte | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// Returns a unit of DWARF 4 with these entries.
fn unit(entries: &[u8]) -> Vec<u8> {
    let mut unit = u32::try_from(entries.len() + 7)
        .unwrap()
        .to_le_bytes()
        .to_vec();
    unit.extend(4_u16.to_le_bytes());
    unit.extend(0_u32.to_le_bytes());
    unit.push(8);
    unit.extend(entries);
    unit
}

/// Returns the first address and the size of all the code.
fn all_code() -> Vec<u8> {
    let mut bytes = CODE.start.to_le_bytes().to_vec();
    bytes.extend((CODE.end - CODE.start).to_le_bytes());
    bytes
}

/// An abbreviation: a tag, whether it has children, and its attributes with their forms.
type Kind<'a> = (u8, bool, &'a [(u8, u8)]);

fn abbreviations(kinds: &[Kind<'_>]) -> Vec<u8> {
    let mut table = Vec::new();
    for (index, (tag, has_children, attributes)) in kinds.iter().enumerate() {
        table.extend([index as u8 + 1, *tag, u8::from(*has_children)]);
        for (name, form) in *attributes {
            table.extend([*name, *form]);
        }
        table.extend([0, 0]);
    }
    table.push(0);
    table
}

const UNIT: u8 = 0x11;
const FUNCTION: u8 = 0x2e;
const INLINED: u8 = 0x1d;
const BLOCK: u8 = 0x0b;
const LOW: (u8, u8) = (0x11, 0x01);
const HIGH: (u8, u8) = (0x12, 0x07);
const NAME: (u8, u8) = (0x03, 0x08);
const LINES: (u8, u8) = (0x10, 0x17);
const RANGES: (u8, u8) = (0x55, 0x17);
const ORIGIN: (u8, u8) = (0x31, 0x13);

/// Returns a unit with a function that covers all the code and has these entries.
fn plain_unit(entries: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(all_code());
    bytes.push(2);
    bytes.extend(all_code());
    bytes.extend(b"outer\0");
    bytes.extend(entries);
    bytes.extend([0, 0]);
    unit(&bytes)
}

/// Returns a unit with a function that covers all the code and has these entries, whose
/// abbreviations begin with the third.
fn function(kinds: &[Kind<'_>], entries: &[u8]) -> Vec<Section> {
    let mut all: Vec<Kind<'_>> = vec![
        (UNIT, true, &[LOW, HIGH]),
        (FUNCTION, true, &[LOW, HIGH, NAME]),
    ];
    all.extend_from_slice(kinds);
    vec![
        whole(".debug_info", &plain_unit(entries)),
        section(".debug_abbrev", abbreviations(&all)),
    ]
}

/// Returns a small, harmless file with everything that is read from one.
pub fn plain() -> Vec<u8> {
    let kinds: [Kind<'_>; 3] = [
        (
            INLINED,
            true,
            &[LOW, HIGH, ORIGIN, (0x58, 0x0b), (0x59, 0x0b)],
        ),
        (BLOCK, false, &[RANGES]),
        (UNIT, false, &[LOW, HIGH, LINES, (0x03, 0x0e), (0x13, 0x0b)]),
    ];
    let mut entries = vec![3];
    entries.extend(all_code());
    entries.extend(51_u32.to_le_bytes());
    entries.extend([1, 7, 4, 0, 0, 0, 0, 0]);
    let mut sections = function(&kinds, &entries);
    let mut lines = vec![5];
    lines.extend(all_code());
    lines.extend([0, 0, 0, 0, 1, 0, 0, 0, 0x1c]);
    sections[0] = section(".debug_info", [plain_unit(&entries), unit(&lines)].concat());
    let mut instructions = set_address();
    instructions.extend([18, 75, 2]);
    instructions.extend(number(CODE.end - CODE.start - 8));
    instructions.extend([0, 1, 1]);
    let mut list = Vec::new();
    for word in [CODE.start, CODE.start + 64, 0, 0] {
        list.extend(word.to_le_bytes());
    }
    let mut symbols = vec![0; 24];
    symbols.extend(1_u32.to_le_bytes());
    symbols.extend([0x12, 0, 1, 0]);
    symbols.extend(all_code());
    sections.extend([
        section(".debug_line", line_table(b"a\0\0\0\0", &instructions)),
        section(".debug_str", b"\0src/main.rs/@/app.0123-cgu.0\0".to_vec()),
        section(".debug_ranges", list),
        Section {
            kind: SYMTAB,
            link: 8,
            ..section(".symtab", symbols)
        },
        section(".strtab", b"\0_RNvCs1234_3app4main\0".to_vec()),
    ]);
    elf(&sections)
}

/// Returns a file with blocks within blocks.
pub fn deep_blocks() -> Vec<u8> {
    elf(&function(&[(BLOCK, true, &[])], &[3; 1_000_000]))
}

/// Returns a file with functions that are inlined into one another, each
/// with a long list of ranges.
pub fn shared_ranges() -> Vec<u8> {
    let mut entries = Vec::new();
    for _ in 0..4000 {
        entries.extend([3, 0, 0, 0, 0]);
    }
    let mut list = Vec::new();
    for _ in 0..200_000 {
        list.extend(CODE.start.to_le_bytes());
        list.extend(CODE.end.to_le_bytes());
    }
    let mut sections = function(&[(INLINED, false, &[RANGES])], &entries);
    sections.push(whole(".debug_ranges", &list));
    elf(&sections)
}

/// Returns a file with entries that take their names from each other, or from themselves.
pub fn circular_names() -> Vec<u8> {
    // After the head of the unit, its entry, and the function with a name of five letters.
    let first: u32 = 11 + 17 + 23;
    let mut entries = Vec::new();
    for origin in [first, first + 42, first + 21] {
        entries.push(3);
        entries.extend(all_code());
        entries.extend(origin.to_le_bytes());
    }
    elf(&function(
        &[(INLINED, false, &[LOW, HIGH, ORIGIN])],
        &entries,
    ))
}

/// Returns a file with more kinds of entries than entries.
pub fn many_abbreviations() -> Vec<u8> {
    let mut table = abbreviations(&[(UNIT, true, &[LOW, HIGH])]);
    table.pop();
    for code in 2..1_000_000 {
        table.extend(number(code));
        table.extend([FUNCTION, 0, 0, 0]);
    }
    table.push(0);
    let mut entries = vec![1];
    entries.extend(all_code());
    entries.extend([2, 2, 2, 0]);
    elf(&[
        whole(".debug_info", &unit(&entries)),
        whole(".debug_abbrev", &table),
    ])
}

/// Returns a line table of DWARF 4 with these files and instructions.
fn line_table(files: &[u8], instructions: &[u8]) -> Vec<u8> {
    let mut header = vec![1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    header.push(0);
    header.extend(files);
    header.push(0);
    let mut table = 4_u16.to_le_bytes().to_vec();
    table.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
    table.extend(header);
    table.extend(instructions);
    let mut all = u32::try_from(table.len()).unwrap().to_le_bytes().to_vec();
    all.extend(table);
    all
}

/// Returns an instruction that sets the address to the start of the code.
fn set_address() -> Vec<u8> {
    let mut bytes = vec![0, 9, 2];
    bytes.extend(CODE.start.to_le_bytes());
    bytes
}

/// Returns a file with many units, each with all the code, that share one line table.
fn units_with_lines(count: usize, table: &[u8]) -> Vec<u8> {
    let mut entries = vec![1];
    entries.extend(all_code());
    entries.extend([0; 4]);
    let one = unit(&entries);
    elf(&[
        whole(".debug_info", &one.repeat(count)),
        section(
            ".debug_abbrev",
            abbreviations(&[(UNIT, false, &[LOW, HIGH, LINES])]),
        ),
        whole(".debug_line", table),
    ])
}

/// Returns a file with a huge number of units.
pub fn many_units() -> Vec<u8> {
    units_with_lines(200_000, &line_table(b"a\0\0\0\0", &set_address()))
}

/// Returns a file with a line table of more rows than anybody has lines.
pub fn many_rows() -> Vec<u8> {
    let mut instructions = set_address();
    // Each makes a row, and the last one ends at the end of the code.
    instructions.resize(instructions.len() + 20_000_000, 13 + 5);
    instructions.extend([2]);
    instructions.extend(number(CODE.end - CODE.start));
    instructions.extend([0, 1, 1]);
    units_with_lines(1, &line_table(b"a\0\0\0\0", &instructions))
}

/// Returns a file with a line table of sequences that have one row each.
pub fn many_sequences() -> Vec<u8> {
    let mut one = set_address();
    one.extend([1, 2, 9, 0, 1, 1]);
    units_with_lines(1, &line_table(b"a\0\0\0\0", &one.repeat(500_000)))
}

/// Returns a file with a line table of DWARF 5 whose files take no bytes.
pub fn empty_files() -> Vec<u8> {
    let mut header = vec![1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    // No directories, and files described by a constant that takes no bytes.
    header.extend([0, 0, 2, 1, 0x08, 2, 0x19]);
    header.extend(number(1 << 60));
    header.extend(b"a\0");
    let mut table = 5_u16.to_le_bytes().to_vec();
    table.extend([8, 0]);
    table.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
    table.extend(header);
    let mut all = u32::try_from(table.len()).unwrap().to_le_bytes().to_vec();
    all.extend(table);
    units_with_lines(1, &all)
}

/// Returns a file with a section that claims to inflate to far more, or less, than it does.
pub fn lying_sections(claimed: u64) -> Vec<u8> {
    let mut sections = function(&[], &[]);
    sections[0] = packed(".debug_info", &vec![0; 1 << 20], claimed);
    elf(&sections)
}

/// Returns a file with a section in zstd that inflates to gigabytes: one block that
/// repeats a byte, many times.
pub fn zstd_bomb() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [2, 0] {
        bytes.extend(u32::to_le_bytes(word));
    }
    bytes.extend((8_u64 << 30).to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]);
    for block in 0..65536 {
        let is_last = u32::from(block == 65535);
        let header = (128_u32 << 10) << 3 | 1 << 1 | is_last;
        bytes.extend(&header.to_le_bytes()[..3]);
        bytes.push(b'x');
    }
    let mut sections = function(&[], &[]);
    sections[0] = Section {
        flags: COMPRESSED,
        ..section(".debug_info", bytes)
    };
    elf(&sections)
}

/// Returns a file with symbols that cover all the code and share a long name.
pub fn long_names() -> Vec<u8> {
    let mut names = vec![0];
    names.extend([b'a'; 60 << 10]);
    names.push(0);
    let mut symbols = vec![0; 24];
    for index in 0..0x8000_u64 {
        symbols.extend(1_u32.to_le_bytes());
        symbols.extend([0x12, 0, 1, 0]);
        symbols.extend((CODE.start + index * 32).to_le_bytes());
        symbols.extend(32_u64.to_le_bytes());
    }
    let symbols = Section {
        kind: SYMTAB,
        link: 3,
        ..section(".symtab", symbols)
    };
    elf(&[symbols, section(".strtab", names)])
}

/// Returns a file whose sections are the same piece of it, up to its end.
pub fn overlapping() -> Vec<u8> {
    let names = [
        ".debug_info",
        ".debug_abbrev",
        ".debug_line",
        ".debug_str",
        ".debug_ranges",
    ];
    let mut sections: Vec<Section> = names
        .into_iter()
        .map(|name| section(name, Vec::new()))
        .collect();
    sections.extend(function(&[], &[]));
    for section in sections.iter_mut().take(5) {
        section.claimed = Some(200);
    }
    elf(&sections)
}

/// Returns the start of a file that is mostly a hole, with a note that claims to be
/// almost as long as the file.
pub fn sparse_note(size: u64) -> Vec<u8> {
    let mut file = elf(&function(&[], &[]));
    // The sizes in the program header and the section header, and the length in the note.
    let table = u64::from_le_bytes(file[0x28..0x30].try_into().unwrap()) as usize;
    let note = u64::from_le_bytes(file[64 + 8..64 + 16].try_into().unwrap()) as usize;
    let long = (size - 4096).to_le_bytes();
    file[64 + 32..64 + 40].copy_from_slice(&long);
    file[table + 64 + 32..table + 64 + 40].copy_from_slice(&long);
    file[note + 4..note + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    file
}

/// Returns the start of a file that is mostly a hole, with a symbol table as long as the file.
pub fn sparse_symbols(size: u64) -> Vec<u8> {
    let symbols = Section {
        kind: SYMTAB,
        link: 3,
        claimed: Some(size - 8192),
        ..section(".symtab", vec![0; 24])
    };
    elf(&[symbols, section(".strtab", vec![0])])
}
