//! One ELF file, its symbol table and its DWARF: alone names `object`, `gimli` and `addr2line`.

use std::{
    cell::OnceCell,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    iter,
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use flate2::read::ZlibDecoder;
use gimli::{Dwarf, DwarfFileType, EndianArcSlice, LittleEndian, Reader as _, SectionId};
use object::{
    CompressionFormat, Endianness, FileKind, Object, ObjectSection, ObjectSegment, ObjectSymbol,
    ReadCache, SymbolKind, read::elf::ElfFile64,
};

use crate::{
    FileOffset, LackReason, Location, Lookup,
    future::Named,
    names::{self, CrateRoots},
};

/// More than any program of the field has, and less than what a sparse file may pretend.
const MAX_BYTES: u64 = 4 << 30;

type Reader = EndianArcSlice<LittleEndian>;
type Parsed<'a> = ElfFile64<'a, Endianness, &'a ReadCache<&'a File>>;

/// The symbols of a module, out of its own file and its debug files.
pub struct ElfFile {
    /// Sorted by address.
    symbols: Vec<Symbol>,
    names: Vec<u8>,
    dwarf: Option<addr2line::Context<Reader>>,
    units: Units,
    roots: CrateRoots,
    segments: Vec<Segment>,
    /// The file that the segments are of.
    code: Option<File>,
    lack: Option<LackReason>,
}

/// A part of the file that is loaded into memory.
struct Segment {
    addresses: Range<u64>,
    file_offset: FileOffset,
}

/// A function in the symbol table; its name lies in `ElfFile::names`.
struct Symbol {
    start: u64,
    end: u64,
    name: Range<usize>,
}

/// The GNU build-id of a file.
pub fn build_id(file: &File) -> Result<Option<Vec<u8>>, LackReason> {
    let cache = ReadCache::new(file);
    let id = parse(&cache)?.build_id().map_err(malformed)?;
    Ok(id.map(<[u8]>::to_vec))
}

fn parse<'a>(cache: &'a ReadCache<&'a File>) -> Result<Parsed<'a>, LackReason> {
    match FileKind::parse(cache) {
        Ok(FileKind::Elf64) => ElfFile64::parse(cache).map_err(malformed),
        Ok(_) => Err(LackReason::Malformed("not a 64-bit ELF file".to_owned())),
        Err(error) => Err(malformed(error)),
    }
}

fn malformed(error: impl std::fmt::Display) -> LackReason {
    LackReason::Malformed(error.to_string())
}

impl ElfFile {
    /// Reads what the files have; where several have the same part, the last one counts.
    pub fn load(files: &[File]) -> Result<Self, LackReason> {
        let mut this = Self {
            symbols: Vec::new(),
            names: Vec::new(),
            dwarf: None,
            units: Units::default(),
            roots: CrateRoots::default(),
            segments: Vec::new(),
            code: None,
            lack: Some(LackReason::Stripped),
        };
        for file in files {
            let cache = ReadCache::new(file);
            let elf = parse(&cache)?;
            if this.segments.is_empty() {
                this.segments = segments(&elf);
                this.code = file.try_clone().ok();
            }
            let own = elf.symbols().next().is_some();
            if own || this.symbols.is_empty() {
                this.read_symbols(&elf)?;
            }
            if own {
                this.lack = None;
            }
            if elf.section_by_name(".debug_info").is_some() {
                match read_dwarf(file, &elf) {
                    Ok(dwarf) => this.use_dwarf(dwarf),
                    Err(reason) => this.lack = Some(reason),
                }
            }
        }
        Ok(this)
    }

    fn read_symbols(&mut self, elf: &Parsed<'_>) -> Result<(), LackReason> {
        self.symbols.clear();
        self.names.clear();
        let mut bytes = 0_u64;
        for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
            if symbol.kind() != SymbolKind::Text || !symbol.is_definition() {
                continue;
            }
            let Ok(name) = symbol.name_bytes() else {
                continue;
            };
            // Symbols may share one long name.
            bytes = bytes.saturating_add(name.len() as u64);
            if bytes > MAX_BYTES {
                return Err(LackReason::TooLarge(bytes));
            }
            let start = self.names.len();
            self.names.extend_from_slice(name);
            self.symbols.push(Symbol {
                start: symbol.address(),
                end: symbol.address().saturating_add(symbol.size()),
                name: start..self.names.len(),
            });
        }
        self.symbols
            .sort_by_key(|symbol| (symbol.start, symbol.end));
        Ok(())
    }

    fn use_dwarf(&mut self, dwarf: Dwarf<Reader>) {
        self.roots = crate_roots(&dwarf);
        self.units = Units::of(&dwarf);
        match addr2line::Context::from_dwarf(dwarf) {
            Ok(context) => self.dwarf = Some(context),
            Err(error) => self.lack = Some(malformed(error)),
        }
    }

    /// The symbol that covers an address: a near one says nothing in a stripped file.
    fn symbol_at(&self, address: u64) -> Option<&Symbol> {
        let behind = self
            .symbols
            .partition_point(|symbol| symbol.start <= address);
        let symbol = self.symbols.get(behind.checked_sub(1)?)?;
        (address < symbol.end).then_some(symbol)
    }

    fn symbol(&self, address: u64) -> Option<String> {
        let name = self.names.get(self.symbol_at(address)?.name.clone())?;
        Some(names::demangle(&String::from_utf8_lossy(name)))
    }

    fn dwarf_frames(&self, address: u64) -> Vec<DwarfFrame> {
        let Some(context) = &self.dwarf else {
            return Vec::new();
        };
        let Ok(mut frames) = context.find_frames(address).skip_all_loads() else {
            return Vec::new();
        };
        let unit = context.find_dwarf_and_unit(address).skip_all_loads();
        let mut found = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let linkage = frame
                .function
                .as_ref()
                .and_then(|function| Some(function.raw_name().ok()?.into_owned()));
            let bare = frame
                .dw_die_offset
                .zip(unit.as_ref())
                .and_then(|(offset, unit)| self.units.bare_name(unit, offset, MAX_ORIGINS));
            let location = frame.location.and_then(|location| {
                Some((location.file?.to_owned(), location.line?, location.column))
            });
            found.push(DwarfFrame {
                linkage,
                bare,
                location,
            });
        }
        found
    }

    /// The functions at an address, innermost first: the whole name, the bare one, and the place.
    fn named_frames(&self, address: u64) -> Vec<(String, Option<String>, Option<Location>)> {
        let symbol = self.symbol(address);
        let frames = self.dwarf_frames(address);
        let last = frames.len().saturating_sub(1);
        if frames.is_empty() {
            return symbol.map(|name| (name, None, None)).into_iter().collect();
        }
        let named = frames.into_iter().enumerate().filter_map(|(index, frame)| {
            let file = frame.location.as_ref().map(|(file, _, _)| file.as_str());
            let name = match (frame.linkage, &symbol) {
                // The symbol has the path, which line tables leave out.
                (Some(linkage), Some(symbol)) if index == last && !names::is_mangled(&linkage) => {
                    Some(symbol.clone())
                }
                (Some(linkage), _) if names::is_mangled(&linkage) => {
                    Some(names::demangle(&linkage))
                }
                (Some(bare), _) => Some(self.roots.qualify(&bare, file)),
                (None, symbol) => symbol.clone().filter(|_| index == last),
            }?;
            let name = match &frame.bare {
                Some(bare) => names::with_closure_kind(name, bare),
                None => name,
            };
            let location = frame.location.map(|(file, line, column)| Location {
                file: self.roots.relative(file),
                line,
                column: column.filter(|column| *column != 0),
            });
            Some((name, frame.bare, location))
        });
        named.collect()
    }
}

/// A frame as DWARF has it.
struct DwarfFrame {
    /// The linkage name, or the bare one if there is no other.
    linkage: Option<String>,
    /// The name without a path.
    bare: Option<String>,
    location: Option<(String, u32, Option<u32>)>,
}

impl Lookup for ElfFile {
    fn frames(&self, address: u64) -> Vec<(String, Option<Location>)> {
        let named = self.named_frames(address).into_iter();
        named.map(|(name, _, location)| (name, location)).collect()
    }

    fn covering(&self, address: u64) -> Option<Range<u64>> {
        let symbol = self.symbol_at(address)?;
        Some(symbol.start..symbol.end)
    }

    fn named(&self, address: u64) -> Vec<Named> {
        let named = self.named_frames(address).into_iter();
        named.map(|(name, bare, _)| Named { name, bare }).collect()
    }

    fn read_code(&self, address: u64, code: &mut [u8]) -> Option<()> {
        let (addresses, file_offset) = self.segment(address)?;
        let offset = file_offset.plus(address.checked_sub(addresses.start)?);
        self.code.as_ref()?.read_exact_at(code, offset.0).ok()
    }

    fn segment(&self, address: u64) -> Option<(Range<u64>, FileOffset)> {
        let mut segments = self.segments.iter();
        let segment = segments.find(|segment| segment.addresses.contains(&address))?;
        Some((segment.addresses.clone(), segment.file_offset))
    }

    fn source_directories(&self) -> Vec<PathBuf> {
        self.roots.workspaces().map(PathBuf::from).collect()
    }

    fn lack(&self) -> Option<LackReason> {
        self.lack.clone()
    }
}

/// What is loaded of a file, in whole pages, as the kernel maps it. A debug file has no contents
/// for what it was taken from.
fn segments(elf: &Parsed<'_>) -> Vec<Segment> {
    const PAGE: u64 = 4096;
    let segments = elf.segments().filter_map(|segment| {
        let (file_offset, size) = segment.file_range();
        let start = segment.address();
        let end = start.checked_add(size)?.checked_next_multiple_of(PAGE)?;
        let skipped = start % PAGE;
        (size > 0).then_some(Segment {
            addresses: start - skipped..end,
            file_offset: FileOffset(file_offset.checked_sub(skipped)?),
        })
    });
    segments.collect()
}

fn read_dwarf(file: &File, elf: &Parsed<'_>) -> Result<Dwarf<Reader>, LackReason> {
    let mut left = MAX_BYTES;
    let mut dwarf = Dwarf::load(|id: SectionId| read_section(file, elf, id, &mut left))?;
    dwarf.file_type = DwarfFileType::Main;
    Ok(dwarf)
}

/// Reads a section of the file straight into the memory where it stays. Debug files of
/// distributions are often compressed.
fn read_section(
    file: &File,
    elf: &Parsed<'_>,
    id: SectionId,
    left: &mut u64,
) -> Result<Reader, LackReason> {
    let empty = || Reader::new(Arc::from([]), LittleEndian);
    let Some(section) = elf.section_by_name(id.name()) else {
        return Ok(empty());
    };
    let range = section.compressed_file_range().map_err(malformed)?;
    let size = file.metadata().map_err(malformed)?.len();
    if range
        .offset
        .checked_add(range.compressed_size)
        .is_none_or(|end| end > size)
    {
        return Err(LackReason::Malformed(format!("{} is cut short", id.name())));
    }
    let length = range.uncompressed_size;
    *left = left
        .checked_sub(length)
        .ok_or(LackReason::TooLarge(length))?;
    let length = usize::try_from(length).map_err(malformed)?;
    let mut bytes: Arc<[u8]> = iter::repeat_n(0, length).collect();
    let Some(target) = Arc::get_mut(&mut bytes) else {
        return Ok(empty());
    };
    let read = match range.format {
        CompressionFormat::None => file.read_exact_at(target, range.offset),
        CompressionFormat::Zlib => {
            let mut file = file;
            file.seek(SeekFrom::Start(range.offset))
                .and_then(|_| ZlibDecoder::new(BufReader::new(file)).read_exact(target))
        }
        _ => return Err(LackReason::Compressed),
    };
    read.map_err(malformed)?;
    Ok(Reader::new(bytes, LittleEndian))
}

/// Where the sources of each crate lie, out of the names that rustc gives compilation units:
/// `src/main.rs/@/gateway.0123-cgu.0`.
fn crate_roots(dwarf: &Dwarf<Reader>) -> CrateRoots {
    let mut roots = CrateRoots::default();
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        let Ok(unit) = dwarf.unit(header) else {
            continue;
        };
        let text = |value: &Option<Reader>| -> Option<String> {
            let name = value.as_ref()?.to_string_lossy().ok()?;
            Some(name.into_owned())
        };
        if let Some(name) = text(&unit.name) {
            roots.add(&name, text(&unit.comp_dir).as_deref());
        }
    }
    roots
}

/// How many times a DIE may refer to another for its name.
const MAX_ORIGINS: u32 = 4;

/// The compilation units, for names that one has from another, as happens to functions that are
/// inlined across units.
#[derive(Default)]
struct Units(Vec<OtherUnit>);

struct OtherUnit {
    header: gimli::UnitHeader<Reader>,
    start: gimli::DebugInfoOffset,
    /// Read when it is first asked for.
    unit: OnceCell<Option<gimli::Unit<Reader>>>,
}

impl Units {
    fn of(dwarf: &Dwarf<Reader>) -> Self {
        let mut headers = dwarf.units();
        let units = iter::from_fn(|| headers.next().ok().flatten());
        let units = units.filter_map(|header| {
            Some(OtherUnit {
                start: header.debug_info_offset()?,
                header,
                unit: OnceCell::new(),
            })
        });
        Self(units.collect())
    }

    fn bare_name(
        &self,
        unit: &gimli::UnitRef<'_, Reader>,
        offset: gimli::UnitOffset,
        origins: u32,
    ) -> Option<String> {
        let entry = unit.entry(offset).ok()?;
        if let Some(name) = entry.attr_value(gimli::DW_AT_name) {
            let name = unit.attr_string(name).ok()?;
            return Some(name.to_string_lossy().ok()?.into_owned());
        }
        let origin = entry
            .attr_value(gimli::DW_AT_abstract_origin)
            .or_else(|| entry.attr_value(gimli::DW_AT_specification))?;
        let origins = origins.checked_sub(1)?;
        match origin {
            gimli::AttributeValue::UnitRef(offset) => self.bare_name(unit, offset, origins),
            gimli::AttributeValue::DebugInfoRef(offset) => {
                let other = self.at(offset)?;
                let parsed = other
                    .unit
                    .get_or_init(|| unit.dwarf.unit(other.header.clone()).ok());
                let parsed = parsed.as_ref()?.unit_ref(unit.dwarf);
                let offset = offset.to_unit_offset(&other.header)?;
                self.bare_name(&parsed, offset, origins)
            }
            _ => None,
        }
    }

    fn at(&self, offset: gimli::DebugInfoOffset) -> Option<&OtherUnit> {
        let after = self.0.partition_point(|unit| unit.start.0 <= offset.0);
        self.0.get(after.checked_sub(1)?)
    }
}
