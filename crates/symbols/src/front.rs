//! The symbols of a process: which module an address is in, and
//! what that module's files say, whoever reads them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use rtops_types::{FileOffset, Module, ModuleKind};

use crate::{
    Address, FrameClass, Function, Lack, LackReason, Name, Options, Poller, Resolved, Segment,
    Symbol,
    ask::{Answer, Ask, ByIdentity, Facts, Found, Line, PolledBy, Reader},
    here::Here,
    line_tables, locate, names,
};

/// The most crates that are remembered as lacking something.
const MAX_CRATES: usize = 64;

/// The symbols of one process. Opens only modules that are
/// asked about, each once. May be sent to another thread.
pub struct Symbols {
    /// Sorted by the start of their code.
    entries: Vec<Entry>,
    reader: Box<dyn Reader>,
}

/// The results of a lookup, each once.
#[derive(Clone, Debug, Default)]
pub struct LookedUp {
    /// What is at the addresses.
    pub resolved: HashMap<Address, Resolved>,
    /// What is known of the functions with which tokio polls tasks.
    pub pollers: HashMap<u64, Poller>,
}

/// A module, and what is known of it once an address in it was looked up.
struct Entry {
    module: Module,
    name: String,
    facts: Option<Facts>,
    /// How many functions of Rust code have a line, not counting std's, which always have one, and
    /// the crates of the functions that have none. Glue that the compiler makes never has one.
    with_line: usize,
    without_line: BTreeSet<String>,
    /// The crates of `async fn`s without a name.
    nameless: BTreeSet<String>,
    /// What is derived from each name found so far.
    names: HashMap<String, Arc<Name>>,
    /// The frame of each line found so far.
    frames: HashMap<ByIdentity, Arc<Symbol>>,
}

/// What is to be asked about one module.
#[derive(Default)]
struct Wanted {
    addresses: Vec<Address>,
    polls: Vec<u64>,
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let modules: Vec<&Module> = self.entries.iter().map(|entry| &entry.module).collect();
        f.debug_struct("Symbols")
            .field("modules", &modules)
            .finish_non_exhaustive()
    }
}

impl Symbols {
    /// Prepares to look up addresses in these modules, whose files
    /// this process reads; opens nothing yet.
    #[must_use]
    pub fn new(modules: Vec<Module>, options: Options) -> Self {
        Self::read_by(modules, Box::new(Here::new(options)))
    }

    pub(crate) fn read_by(mut modules: Vec<Module>, reader: Box<dyn Reader>) -> Self {
        modules.sort_by_key(|module| module.code.start);
        let entries = modules.into_iter().map(|module| Entry {
            name: locate::file_name(&module.path).to_owned(),
            module,
            facts: None,
            with_line: 0,
            without_line: BTreeSet::new(),
            nameless: BTreeSet::new(),
            names: HashMap::new(),
            frames: HashMap::new(),
        });
        Self {
            entries: entries.collect(),
            reader,
        }
    }

    /// Looks up addresses, and functions with which tokio polls the tasks of one type. What
    /// isn't found is given as module and offset or as the bare address; [`Symbols::lacks`]
    /// says why. Blocks to read the files of modules that are hit for the first time, so it is
    /// best called once for everything.
    pub fn look_up(
        &mut self,
        addresses: impl IntoIterator<Item = Address>,
        polls: impl IntoIterator<Item = u64>,
    ) -> LookedUp {
        let mut looked_up = LookedUp::default();
        let mut wanted: BTreeMap<usize, Wanted> = BTreeMap::new();
        let addresses: HashSet<Address> = addresses.into_iter().collect();
        for address in addresses {
            match self.module_of(address.for_lookup()) {
                Some(number) => wanted.entry(number).or_default().addresses.push(address),
                None => drop(looked_up.resolved.insert(address, unmapped(address))),
            }
        }
        let polls: HashSet<u64> = polls.into_iter().collect();
        for poll in polls {
            match self.module_of(poll) {
                Some(number) => wanted.entry(number).or_default().polls.push(poll),
                None => drop(looked_up.pollers.insert(poll, unknown_poller(poll))),
            }
        }
        let (numbers, asks): (Vec<usize>, Vec<Ask>) = self.asks(&mut wanted).into_iter().unzip();
        for (number, answer) in numbers.into_iter().zip(self.reader.answer(&asks)) {
            let wanted = wanted.remove(&number).unwrap_or_default();
            if let Some(entry) = self.entries.get_mut(number) {
                entry.take(wanted, answer, &mut looked_up);
            }
        }
        looked_up
    }

    /// Looks up each address, like [`Symbols::look_up`].
    pub fn resolve(&mut self, addresses: &[Address]) -> HashMap<Address, Resolved> {
        self.look_up(addresses.iter().copied(), []).resolved
    }

    /// Says that there are no more lookups: a process that reads symbols ends meanwhile.
    pub fn end(&mut self) {
        self.reader.end();
    }

    fn module_of(&self, address: u64) -> Option<usize> {
        let behind = self
            .entries
            .partition_point(|entry| entry.module.code.start <= address);
        let number = behind.checked_sub(1)?;
        let code = &self.entries.get(number)?.module.code;
        code.contains(&address).then_some(number)
    }

    /// Returns the questions about each module, with its number. The program itself comes
    /// first: if the reader fails at a library, the program has its names.
    fn asks(&self, wanted: &mut BTreeMap<usize, Wanted>) -> Vec<(usize, Ask)> {
        let mut asks = Vec::new();
        for (number, wanted) in wanted {
            let Some(Entry { module, .. }) = self.entries.get(*number) else {
                continue;
            };
            // Neighbours are of one function, and of one unit of debug info.
            wanted
                .addresses
                .sort_unstable_by_key(|address| address.for_lookup());
            wanted.polls.sort_unstable();
            let addresses = wanted.addresses.iter();
            let ask = Ask {
                module: module.clone(),
                addresses: addresses
                    .map(|address| module.svma(address.for_lookup()))
                    .collect(),
                polls: wanted.polls.iter().map(|poll| module.svma(*poll)).collect(),
            };
            asks.push((*number, ask));
        }
        asks.sort_by_key(|(_, ask)| ask.module.kind != ModuleKind::MainExecutable);
        asks
    }

    /// Returns what kept the lookups so far from finding more, at most one thing per module.
    #[must_use]
    pub fn lacks(&self) -> Vec<Lack> {
        let lacks = self.entries.iter().filter_map(|entry| {
            Some(Lack {
                module: entry.name.clone(),
                reason: entry.lack()?,
            })
        });
        let mut lacks: Vec<Lack> = lacks.collect();
        // If not all are shown, this one must be: it affects more than its module.
        lacks.sort_by_key(|lack| !matches!(lack.reason, LackReason::Unread(_)));
        lacks
    }

    /// Returns the directories that relative source paths are based on, of the modules that
    /// addresses were looked up in so far.
    #[must_use]
    pub fn source_directories(&self) -> Vec<PathBuf> {
        let facts = self.entries.iter().filter_map(|entry| entry.facts.as_ref());
        facts
            .flat_map(|facts| facts.source_directories.iter().cloned())
            .collect()
    }

    /// Returns the code segments of the modules that addresses were looked up in so far.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        self.entries.iter().filter_map(Entry::segment).collect()
    }
}

fn unmapped(address: Address) -> Resolved {
    unnamed(Function::Unmapped(address.get()), "")
}

/// Describes a function that has no name.
fn unnamed(function: Function, module: &str) -> Resolved {
    let known = Arc::new(Name::of(&function.to_string()));
    Resolved {
        frames: vec![Arc::new(Symbol {
            function,
            known,
            place: None,
            module: module.to_owned(),
        })],
        start: None,
    }
}

fn unknown_poller(poll: u64) -> Poller {
    Poller {
        future_type: None,
        entry: poll,
        module_offset: format!("{poll:#x}"),
    }
}

impl Entry {
    /// Takes the answer of its files, which may be less than was asked for.
    fn take(&mut self, wanted: Wanted, answer: Answer, looked_up: &mut LookedUp) {
        let Answer {
            found,
            pollers,
            facts,
        } = answer;
        let mut found = found.into_iter();
        for address in wanted.addresses {
            let resolved = self.resolved(address, found.next().unwrap_or_default());
            looked_up.resolved.insert(address, resolved);
        }
        let mut pollers = pollers.into_iter();
        for poll in wanted.polls {
            let poller = self.poller(poll, pollers.next());
            looked_up.pollers.insert(poll, poller);
        }
        match facts {
            Some(facts) => self.facts = Some(facts),
            None => drop(self.facts.get_or_insert_default()),
        }
    }

    fn resolved(&mut self, address: Address, found: Found) -> Resolved {
        if found.frames.is_empty() {
            let function = Function::ModuleOffset {
                module: self.name.clone(),
                offset: self.module.svma(address.get()).0,
            };
            return unnamed(function, &self.name);
        }
        let frames = found.frames.into_iter();
        let frames = frames.map(|line| self.frame(ByIdentity(line))).collect();
        Resolved {
            frames,
            start: found.start.map(|start| self.module.address(start)),
        }
    }

    fn frame(&mut self, line: ByIdentity) -> Arc<Symbol> {
        if let Some(frame) = self.frames.get(&line) {
            return Arc::clone(frame);
        }
        let Line { function, place } = &*line.0;
        let known = match self.names.get(function) {
            Some(known) => Arc::clone(known),
            None => {
                let known = Arc::new(Name::of(function));
                self.names.insert(function.clone(), Arc::clone(&known));
                known
            }
        };
        if function.contains("::") && known.class() != FrameClass::Std {
            match place {
                Some(_) => self.with_line += 1,
                None => note(&mut self.without_line, function),
            }
            if line_tables::is_nameless(function) {
                note(&mut self.nameless, function);
            }
        }
        let frame = Arc::new(Symbol {
            function: Function::Named(function.clone()),
            known,
            place: place.clone(),
            module: self.name.clone(),
        });
        self.frames.insert(line, Arc::clone(&frame));
        frame
    }

    fn poller(&self, poll: u64, polled: Option<PolledBy>) -> Poller {
        let begin = self.module.svma(poll);
        let polled = polled.unwrap_or_else(|| PolledBy::unknown(begin));
        Poller {
            future_type: polled.future_type,
            entry: self.module.address(polled.entry),
            module_offset: format!("{}+{begin:#x}", self.name),
        }
    }

    fn segment(&self) -> Option<Segment> {
        let facts = self.facts.as_ref()?;
        let module = &self.module;
        let (memory, file_offset) = match &facts.segment {
            Some((addresses, offset)) => (
                module.address(addresses.start)..module.address(addresses.end),
                *offset,
            ),
            // The best guess without the file: most segments begin there.
            None => (
                module.code.clone(),
                FileOffset(module.svma(module.code.start).0),
            ),
        };
        Some(Segment {
            path: module.path.clone(),
            build_id: module.build_id.clone(),
            memory,
            file_offset,
            has_functions: facts.is_read
                && !matches!(
                    self.lack(),
                    Some(LackReason::Stripped | LackReason::NotGiven(_))
                ),
            has_lines: self.with_line > 0,
        })
    }

    fn lack(&self) -> Option<LackReason> {
        let facts = self.facts.as_ref()?;
        if self.module.kind == ModuleKind::Vdso {
            return None;
        }
        if facts.lack.is_some() || !facts.is_read {
            return facts.lack.clone();
        }
        let lineless = self.with_line == 0 && !self.without_line.is_empty();
        let nameless = !self.nameless.is_empty();
        let lines = lineless.then(|| LackReason::NoLineTables(self.without_line.clone()));
        lines.or(nameless.then(|| LackReason::NoInlinedNames(self.nameless.clone())))
    }
}

/// Remembers the crate of a function.
fn note(crates: &mut BTreeSet<String>, function: &str) {
    if crates.len() < MAX_CRATES {
        crates.extend(names::crate_of(function));
    }
}
