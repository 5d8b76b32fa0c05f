//! Finds the functions at the addresses of one module, in its own file and its debug files.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use rtops_elf::{Budget, Dwarf, Elf, Frame, Function, Functions, ReadError, Resource, Segment};

use rtops_types::Svma;

use crate::{
    FileOffset, LackReason, Place,
    ask::Line,
    future::Named,
    line_tables::{self, CrateRoots},
    locate::{Found, SplitOff},
    names,
};

/// The symbols of a module.
pub struct ElfFile {
    functions: Option<(Arc<Elf>, Functions)>,
    dwarf: Option<Dwarf>,
    segments: Vec<Segment>,
    /// The file that the segments come from.
    code: Option<Arc<Elf>>,
    roots: OnceCell<CrateRoots>,
    /// Names from the symbol table that were looked up.
    names: RefCell<HashMap<Function, Option<String>>>,
    /// The function whose body a line belongs to, for lines that were looked up.
    bodies: RefCell<HashMap<InlinedLine, Option<String>>>,
    /// The addresses that were looked up, and paid for.
    asked: RefCell<HashSet<Svma>>,
    lack: RefCell<Option<LackReason>>,
    budget: Arc<Budget>,
}

/// A line of inlined code, and the crate that the code is inlined in.
type InlinedLine = (rtops_elf::Place, Option<String>);

impl From<ReadError> for LackReason {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Over(resource) => Self::OverBudget(resource),
            ReadError::Malformed(part) => Self::Malformed(part.to_owned()),
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl ElfFile {
    /// Reads the files; if several have the same part, the last one counts.
    pub fn load(found: Found, budget: &Arc<Budget>) -> Result<Self, LackReason> {
        let mut this = Self {
            functions: None,
            dwarf: None,
            segments: Vec::new(),
            code: None,
            roots: OnceCell::new(),
            names: RefCell::default(),
            bodies: RefCell::default(),
            asked: RefCell::default(),
            lack: RefCell::new(Some(match found.missed {
                Some(missed) if !missed.build_id.is_empty() => LackReason::NotGiven(missed),
                _ => LackReason::Stripped,
            })),
            budget: Arc::clone(budget),
        };
        for file in found.files {
            let split = (!found.names_only).then_some(&found.split);
            budget.spend(|| this.add(Arc::new(file), split))?;
        }
        if let Some(units) = found.units {
            this.dwarf = this.dwarf.map(|dwarf| dwarf.with_units(units));
        }
        Ok(this)
    }

    /// Adds a file, and its debug info if that may be split off into other files.
    fn add(&mut self, elf: Arc<Elf>, split: Option<&SplitOff>) -> Result<(), ReadError> {
        if self.segments.is_empty() {
            self.segments = elf.segments();
            self.code = Some(Arc::clone(&elf));
        }
        let functions = Functions::read(&elf)?;
        if !functions.is_stripped() {
            self.lack.replace(None);
        }
        if !functions.is_stripped() || self.functions.is_none() {
            self.functions = Some((Arc::clone(&elf), functions));
        }
        if let Some((split, dwarf)) = split.zip(Dwarf::of(elf)) {
            self.dwarf = Some(dwarf.with_split(Box::new(split.clone())));
        }
        Ok(())
    }

    /// Records why something is missing.
    fn note(&self, error: ReadError) {
        let mut lack = self.lack.borrow_mut();
        // Debug info has names as well, so its failure is more telling than a missing symbol table.
        if matches!(
            *lack,
            None | Some(LackReason::Stripped | LackReason::NotGiven(_))
        ) {
            *lack = Some(error.into());
        }
    }

    fn symbol_at(&self, address: Svma) -> Option<Function> {
        let (_, functions) = self.functions.as_ref()?;
        functions.at(address)
    }

    /// Returns the readable name of the symbol that covers an address.
    fn symbol(&self, address: Svma) -> Option<String> {
        let symbol = self.symbol_at(address)?;
        if let Some(known) = self.names.borrow().get(&symbol) {
            return known.clone();
        }
        let (elf, functions) = self.functions.as_ref()?;
        let name = functions.name(elf, symbol);
        let name = name.map_err(|error| self.note(error)).ok().flatten();
        let name = name.map(names::demangle);
        self.names.borrow_mut().insert(symbol, name.clone());
        name
    }

    fn roots(&self) -> &CrateRoots {
        self.roots.get_or_init(|| {
            let mut roots = CrateRoots::default();
            for unit in self.dwarf.iter().flat_map(Dwarf::unit_names) {
                roots.add(unit.name, unit.directory);
            }
            roots
        })
    }

    /// Returns the functions at an address, innermost first: the
    /// full name, the bare one, and the place.
    fn named_frames(&self, address: Svma) -> Vec<(String, Option<String>, Option<Place>)> {
        let symbol = self.symbol(address);
        let frames = self.dwarf.as_ref().map(|dwarf| dwarf.frames(address));
        let fault = self.dwarf.as_ref().and_then(Dwarf::take_fault);
        fault.into_iter().for_each(|fault| self.note(fault));
        let frames = frames.unwrap_or_default();
        let last = frames.len().saturating_sub(1);
        if frames.is_empty() {
            return symbol.map(|name| (name, None, None)).into_iter().collect();
        }
        // The function that each frame is inlined into.
        let callers = frames.iter().skip(1).map(|frame| frame.bare.clone());
        let callers: Vec<_> = callers.chain([None]).collect();
        let frames = frames.into_iter().zip(callers).enumerate();
        let named = frames.filter_map(|(index, (frame, caller))| {
            let symbol = symbol.as_ref().filter(|_| index == last);
            let name = self.name(address, &frame, caller.as_deref(), symbol)?;
            let name = match &frame.bare {
                Some(bare) => names::with_closure_kind(name, bare),
                None => name,
            };
            let place = frame.place.filter(|place| place.line > 0);
            let place = place.map(|place| Place {
                file: self.roots().relative(place.file),
                line: place.line,
                column: Some(place.column).filter(|column| *column != 0),
            });
            Some((name, frame.bare, place))
        });
        named.collect()
    }

    /// Returns the full name of a function; one that was called has a symbol.
    fn name(
        &self,
        address: Svma,
        frame: &Frame,
        caller: Option<&str>,
        symbol: Option<&String>,
    ) -> Option<String> {
        let linkage = frame.linkage.as_deref();
        if let Some(name) = linkage.and_then(rtops_elf::demangle) {
            return Some(name);
        }
        // The symbol has the path, which line tables leave out.
        if symbol.is_some() {
            return symbol.cloned();
        }
        let file = frame.place.as_ref().map(|place| place.file.as_str());
        let bare = linkage.or(frame.bare.as_deref())?;
        let body = caller.and_then(|caller| line_tables::body_in(caller, bare));
        let body = body.or_else(|| self.body_elsewhere(address, bare, frame.place.as_ref()?));
        Some(body.unwrap_or_else(|| self.roots().qualify(bare, file)))
    }

    /// Returns the full name of the body of an `async fn` that is inlined at an address, if it
    /// is called somewhere else and the symbols there agree on whose line this is. The search
    /// covers code of the line's crate and of the crate at the address, where the function may
    /// be compiled once more. If the compiler merged functions because their code is the same,
    /// there is one symbol, here as elsewhere.
    fn body_elsewhere(
        &self,
        address: Svma,
        bare: &str,
        place: &rtops_elf::Place,
    ) -> Option<String> {
        if !bare.starts_with(line_tables::BODY) || place.line == 0 {
            return None;
        }
        let dwarf = self.dwarf.as_ref()?;
        let here = dwarf.unit_name_at(address);
        let here = here.and_then(|unit| line_tables::crate_of_unit(unit.name));
        let asked = (place.clone(), here.map(str::to_owned));
        if let Some(known) = self.bodies.borrow().get(&asked) {
            return known.clone();
        }
        let home = self.roots().crate_name(&place.file);
        let code = dwarf.own_code_of(place, |unit| {
            let name = line_tables::crate_of_unit(unit.name);
            name.is_some() && (name == here || name == home.as_deref())
        });
        let kind = bare.split_inclusive('}').next()?;
        let names = code.into_iter().filter_map(|address| {
            let name = names::with_closure_kind(self.symbol(address)?, bare);
            name.ends_with(kind).then_some(name)
        });
        let mut names: BTreeSet<String> = names.collect();
        let name = names.pop_first().filter(|_| names.is_empty());
        self.bodies.borrow_mut().insert(asked, name.clone());
        name
    }

    /// Returns the units of the debug info, if they were read.
    #[cfg(feature = "child")]
    pub fn units(&self) -> Option<&rtops_elf::Units> {
        self.dwarf.as_ref()?.units_read()
    }

    /// Reads which units there are.
    #[cfg(feature = "child")]
    pub fn read_units(&self) {
        self.budget.spend(|| self.roots());
    }

    /// Reads what is needed for these addresses, in several threads.
    #[cfg(feature = "child")]
    pub fn read_ahead(&self, addresses: &[Svma]) {
        if let Some(dwarf) = &self.dwarf {
            self.budget.spend(|| dwarf.read_ahead(addresses));
        }
    }

    /// Returns the functions at an address, innermost first; empty if no symbol covers it.
    pub fn frames(&self, address: Svma) -> Vec<Arc<Line>> {
        let named = self.budget.spend(|| self.named_frames(address));
        let bytes: usize = named.iter().map(|(name, ..)| name.len()).sum();
        // The caller keeps the names of each address, once.
        if self.asked.borrow_mut().insert(address)
            && let Err(over) = self.budget.pay(Resource::Names, bytes as u64)
        {
            self.note(over);
            self.asked.borrow_mut().remove(&address);
            return Vec::new();
        }
        let named = named.into_iter();
        named
            .map(|(function, _, place)| Arc::new(Line { function, place }))
            .collect()
    }

    /// Returns the range of the symbol that covers an address.
    pub fn covering(&self, address: Svma) -> Option<Range<Svma>> {
        let symbol = self.symbol_at(address)?;
        Some(symbol.start..symbol.end)
    }

    /// Returns the same functions as debug info names them, with their generic arguments.
    pub fn named(&self, address: Svma) -> Vec<Named> {
        let named = self.budget.spend(|| self.named_frames(address));
        let named = named.into_iter();
        named.map(|(name, bare, _)| Named { name, bare }).collect()
    }

    /// Fills `code` with the code at an address; `None` if the file has less.
    pub fn read_code(&self, address: Svma, code: &mut [u8]) -> Option<()> {
        let (addresses, file_offset) = self.segment(address)?;
        let offset = file_offset.plus(address.0.checked_sub(addresses.start.0)?);
        self.code.as_ref()?.read_at(offset, code).ok()
    }

    /// Returns the part of the file that is loaded at an address:
    /// its addresses, and where it is in the file.
    pub fn segment(&self, address: Svma) -> Option<(Range<Svma>, FileOffset)> {
        let mut segments = self.segments.iter();
        let segment = segments.find(|segment| segment.addresses.contains(&address))?;
        Some((segment.addresses.clone(), segment.file_offset))
    }

    /// Returns the directories in which the compiler ran with relative source paths.
    pub fn source_directories(&self) -> Vec<PathBuf> {
        self.roots().workspaces().map(PathBuf::from).collect()
    }

    /// Returns what kept it from knowing more.
    pub fn lack(&self) -> Option<LackReason> {
        self.lack.borrow().clone()
    }
}
