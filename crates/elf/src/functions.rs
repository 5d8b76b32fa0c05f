//! The functions in the symbol tables of a file.

use object::{
    LittleEndian,
    elf::{SHN_UNDEF, STT_FUNC, STT_GNU_IFUNC, Sym64},
    pod,
    read::elf::Sym,
};

use rtops_types::Svma;

use crate::{Contents, Elf, ReadError, Resource, name::MAX_NAME};

/// The number of symbols that are read at a time.
const PIECE: u64 = 1 << 14;
const SIZE: u64 = size_of::<Sym64<LittleEndian>>() as u64;
const LE: LittleEndian = LittleEndian;

/// The functions of the symbol table and of the dynamic symbol table, by address.
#[derive(Debug)]
pub struct Functions {
    /// Sorted.
    functions: Vec<Function>,
    /// The names of both tables.
    names: Vec<Contents>,
    is_stripped: bool,
}

/// A function.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Function {
    /// Its first address.
    pub start: Svma,
    /// The address after its last.
    pub end: Svma,
    name: u32,
    table: u8,
}

impl Functions {
    /// Reads the tables.
    ///
    /// # Errors
    /// If one of them makes no sense or has too many symbols.
    pub fn read(elf: &Elf) -> Result<Self, ReadError> {
        let mut this = Self {
            functions: Vec::new(),
            names: Vec::new(),
            is_stripped: true,
        };
        for table in [".symtab", ".dynsym"] {
            let section = elf.section(table);
            let names =
                section.and_then(|section| elf.linked("the table of symbol names", section));
            let Some((section, names)) = section.zip(names) else {
                continue;
            };
            let symbols = elf.contents(section)?;
            this.is_stripped &= table != ".symtab" || symbols.size() <= SIZE;
            this.read_table(elf, &symbols)?;
            this.names.push(elf.contents(names)?);
        }
        this.functions.sort_unstable();
        Ok(this)
    }

    fn read_table(&mut self, elf: &Elf, symbols: &Contents) -> Result<(), ReadError> {
        let malformed = || ReadError::Malformed("the symbol table");
        let table = u8::try_from(self.names.len()).map_err(|_| malformed())?;
        let mut at = 0;
        while at < symbols.size() {
            let bytes = symbols.get(at, PIECE * SIZE, elf.budget())?;
            at += PIECE * SIZE;
            let whole = bytes.len() - bytes.len() % size_of::<Sym64<LittleEndian>>();
            let symbols = bytes.get(..whole).unwrap_or_default();
            let symbols = pod::slice_from_all_bytes::<Sym64<LittleEndian>>(symbols);
            let symbols = symbols.map_err(|()| malformed())?;
            let functions = symbols.iter().filter(|symbol| is_function(symbol));
            let before = self.functions.len();
            self.functions.extend(functions.map(|symbol| Function {
                start: Svma(symbol.st_value(LE)),
                end: Svma(symbol.st_value(LE).saturating_add(symbol.st_size(LE))),
                name: symbol.st_name(LE),
                table,
            }));
            let found = self.functions.len() - before;
            elf.budget().pay(Resource::Symbols, found as u64)?;
        }
        Ok(())
    }

    /// Returns whether there is no symbol table but the dynamic one.
    #[must_use]
    pub const fn is_stripped(&self) -> bool {
        self.is_stripped
    }

    /// Returns whether there are no functions.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Returns the function that covers an address. A function that is only close means
    /// nothing in a stripped file.
    #[must_use]
    pub fn at(&self, address: Svma) -> Option<Function> {
        let behind = self
            .functions
            .partition_point(|function| function.start <= address);
        let function = self.functions.get(behind.checked_sub(1)?)?;
        (address < function.end).then_some(*function)
    }

    /// Returns the name of a function, as in the table; `None` if it is too long.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn name(&self, elf: &Elf, function: Function) -> Result<Option<String>, ReadError> {
        let names = self.names.get(usize::from(function.table));
        let names = names.ok_or(ReadError::Malformed("the symbol table"))?;
        names.text(function.name.into(), MAX_NAME, elf.budget())
    }
}

fn is_function(symbol: &Sym64<LittleEndian>) -> bool {
    matches!(symbol.st_type(), STT_FUNC | STT_GNU_IFUNC) && symbol.st_shndx(LE) != SHN_UNDEF
}
