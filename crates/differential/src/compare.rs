//! Runs each poll three times: on the processor, in the interpreter, and in the
//! interpreter step by step.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    ops::Range,
};

use iced_x86::RflagsBits;
use rtops_cells::{Machine, Poller, Polls, Registered, Unresolved};
use rtops_emulate::{PAGE_SIZE, Page, Source, Step};
use rtops_image::{Image, Thread};

use crate::{
    code::Code,
    describe::{Describe, Difference},
    interpreter::{Interpreter, Pace},
    processor::Processor,
    record::{Brief, Record},
};

/// The bits of `rflags` that instructions compute: CF, PF, AF, ZF, SF and OF; and DF.
const FLAGS: u64 = 0xcd5;
/// The maximum number of differences; more would say nothing new.
const MOST_DIFFERENCES: usize = 10;
const MOST_WORDS: usize = 4;

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    /// How many tasks were polled.
    pub polls: usize,
    /// How many parked threads were resumed.
    pub resumed: usize,
    /// How many instructions ran, on each side.
    pub steps: usize,
    /// How many polls did not reach the place where their tasks wait, by reason.
    pub unresolved: BTreeMap<String, usize>,
    /// The first difference of each poll; after ten, no more polls are compared.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            polls,
            resumed,
            steps,
            ..
        } = self;
        write!(
            f,
            "{polls} tasks polled, {resumed} threads resumed, {steps} instructions"
        )?;
        for (why, count) in &self.unresolved {
            write!(f, ", {count} {why}")?;
        }
        match self.differences.len() {
            0 => write!(f, ", no difference"),
            1 => write!(f, ", 1 difference:"),
            count => write!(f, ", {count} differences:"),
        }?;
        for difference in &self.differences {
            write!(f, "\n\n{difference}")?;
        }
        Ok(())
    }
}

/// Compares the polls of at most `most` waiting tasks, and those of parked threads.
///
/// # Errors
///
/// If the image can't be read, or no process can be created from it: ptrace may be forbidden.
///
/// # Panics
///
/// If somebody ends the process that it steps through.
pub fn compare(image: &impl Image, most: usize) -> io::Result<Comparison> {
    let polls = Polls::of(image).map_err(io::Error::other)?;
    compare_with(image, &polls, &polls.memory(), most)
}

/// Like [`compare`], but the processor has other memory than the
/// interpreter: they must differ then.
///
/// # Errors
///
/// As for [`compare`].
///
/// # Panics
///
/// As for [`compare`].
pub fn compare_with(
    image: &impl Image,
    polls: &Polls<'_>,
    memory: &impl Source,
    most: usize,
) -> io::Result<Comparison> {
    let describe = Describe { image };
    let mut machines = Machines {
        processor: polls.on(Processor::of(image, memory)?),
        free: polls.on(Interpreter::new(polls.interpreter(), Pace::Free)),
        stepped: polls.on(Interpreter::new(polls.interpreter(), Pace::Stepped)),
    };
    let mut comparison = Comparison::default();
    // Executors inside tasks were woken.
    let woken = [
        machines.processor.machine().record().take(),
        machines.stepped.machine().record().take(),
    ];
    let code = &machines.processor.machine().code;
    if let Some((at, _)) = first_difference(&woken[0].registers, &woken[1].registers, code) {
        let rip = woken[0].registers[at.saturating_sub(1)].rip;
        let text = format!("the wakers of inner executors differ at {rip:#x}, after {at} steps");
        comparison.differences.push(Difference::new(text));
    }
    let waiting = polls.waiting().into_iter().take(most).map(What::Task);
    let parked = polls.parked().iter().copied().map(What::Thread);
    for what in waiting.chain(parked) {
        machines.compare(what, &describe, &mut comparison);
        if comparison.differences.len() >= MOST_DIFFERENCES {
            break;
        }
    }
    Ok(comparison)
}

/// A machine that keeps a record.
pub(crate) trait Recorded: Machine {
    fn record(&mut self) -> &mut Record;
}

/// What runs.
#[derive(Clone, Copy)]
pub(crate) enum What<'t> {
    /// A poll of the task at this position.
    Task(usize),
    /// What a parked thread does next.
    Thread(&'t Thread),
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(index) => write!(f, "task {index}"),
            Self::Thread(thread) => write!(f, "thread {}", thread.tid),
        }
    }
}

struct Machines<'a> {
    processor: Poller<'a, Processor>,
    free: Poller<'a, Interpreter<'a>>,
    stepped: Poller<'a, Interpreter<'a>>,
}

/// The outcome of one run.
struct Outcome {
    unresolved: Option<Unresolved>,
    steps: Vec<Step>,
    leaves: Vec<Registered>,
    record: Record,
}

impl Outcome {
    fn of<M: Recorded>(poller: &mut Poller<'_, M>, what: What<'_>, begun: Record) -> Option<Self> {
        *poller.machine().record() = begun;
        let polled = match what {
            What::Task(index) => poller.poll(index)?,
            What::Thread(thread) => poller.resume(thread),
        };
        Some(Self {
            unresolved: polled.unresolved,
            steps: polled.steps.to_vec(),
            leaves: polled.leaves.to_vec(),
            record: poller.machine().record().take(),
        })
    }

    /// Returns the registers that must be equal. If a repeated instruction exceeds the budget, the
    /// processor does not begin it, and the last registers are left out.
    fn compared(&self) -> &[Brief] {
        let all = &self.record.registers[..];
        match (self.unresolved, all.split_last()) {
            (Some(Unresolved::Endless), Some((_, rest))) => rest,
            _ => all,
        }
    }

    fn path(&self) -> impl Iterator<Item = (u64, u64)> {
        self.steps.iter().map(|step| (step.ip, step.sp))
    }
}

/// The outcomes of all three runs.
struct Outcomes {
    processor: Outcome,
    free: Outcome,
    stepped: Outcome,
}

impl Machines<'_> {
    fn compare(
        &mut self,
        what: What<'_>,
        describe: &Describe<'_, impl Image>,
        comparison: &mut Comparison,
    ) {
        let Some(outcomes) = self.run(what, 0..0) else {
            return;
        };
        match what {
            What::Task(_) => comparison.polls += 1,
            What::Thread(_) => comparison.resumed += 1,
        }
        comparison.steps += outcomes.processor.steps.len();
        if let Some(why) = outcomes.processor.unresolved {
            let text = format!("{why:?}").to_lowercase();
            let text = match what {
                What::Task(_) => text,
                What::Thread(_) => format!("{text} of a thread"),
            };
            *comparison.unresolved.entry(text).or_default() += 1;
        }
        let found = self.in_registers(what, &outcomes, describe);
        let found = found.or_else(|| in_outcomes(&outcomes));
        let found = found.or_else(|| in_memory(&outcomes.processor, &outcomes.free));
        if let Some(text) = found {
            let difference = Difference::new(format!("{what}: {text}"));
            comparison.differences.push(difference);
        }
    }

    /// Runs on all machines, the processor first: it knows best which pages are written.
    fn run(&mut self, what: What<'_>, keep: Range<usize>) -> Option<Outcomes> {
        let begun = |watched: BTreeSet<u64>| Record {
            keep: keep.clone(),
            watched,
            ..Record::default()
        };
        let processor = Outcome::of(&mut self.processor, what, begun(BTreeSet::new()))?;
        let written: BTreeSet<u64> = processor.record.pages.keys().copied().collect();
        Some(Outcomes {
            free: Outcome::of(&mut self.free, what, begun(written))?,
            stepped: Outcome::of(&mut self.stepped, what, begun(BTreeSet::new()))?,
            processor,
        })
    }

    /// Describes the first instruction after which the registers differ.
    fn in_registers(
        &mut self,
        what: What<'_>,
        outcomes: &Outcomes,
        describe: &Describe<'_, impl Image>,
    ) -> Option<String> {
        let code = &self.processor.machine().code;
        let [processor, stepped] = [&outcomes.processor, &outcomes.stepped];
        let [a, b] = [processor.compared(), stepped.compared()];
        let (at, flags) = first_difference(a, b, code)?;
        // Run once more, and keep all registers around it.
        let again = self.run(what, at.saturating_sub(1)..at + 1)?;
        let unknown = self.stepped.machine().unknown.take();
        let decoded = again.processor.record.whole.first();
        let decoded = decoded.and_then(|before| self.processor.machine().code.known(before.rip));
        let [processor, stepped] = [&again.processor, &again.stepped];
        let registers = [&processor.record.whole[..], &stepped.record.whole[..]];
        let why = unknown.map_or_else(String::new, |unknown| format!(", {unknown}"));
        let instruction = describe.instruction(decoded, flags, registers);
        Some(format!("after {at} instructions{why}\n{instruction}"))
    }
}

/// Returns where two runs diverge, and which flags are defined there: those that the manual leaves
/// undefined may differ until they are set.
fn first_difference(a: &[Brief], b: &[Brief], code: &Code) -> Option<(usize, u64)> {
    let mut defined = FLAGS;
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        if a.differs(b, defined) {
            return Some((index, defined));
        }
        if let Some(decoded) = code.known(a.rip)
            && !decoded.spares_flags(&a.general)
        {
            let instruction = &decoded.instruction;
            let undefined = flags(instruction.rflags_undefined());
            defined = (defined | flags(instruction.rflags_modified())) & !undefined;
        }
    }
    (a.len() != b.len()).then(|| (a.len().min(b.len()), defined))
}

/// Converts flags of iced to those of a processor.
fn flags(bits: u32) -> u64 {
    let pairs = [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::DF, 10),
        (RflagsBits::OF, 11),
    ];
    let set = pairs.into_iter().filter(|(bit, _)| bits & bit != 0);
    set.fold(0, |flags, (_, place)| flags | 1 << place)
}

fn in_outcomes(outcomes: &Outcomes) -> Option<String> {
    let Outcomes {
        processor,
        free,
        stepped,
    } = outcomes;
    if !processor.path().eq(free.path()) {
        let same = processor.path().zip(free.path());
        let same = same.take_while(|(a, b)| a == b).count();
        return Some(format!(
            "the interpreter goes another way than the processor, and than when stepped, after \
             {same} instructions"
        ));
    }
    for (other, name) in [(free, "interpreter"), (stepped, "stepped interpreter")] {
        if other.unresolved != processor.unresolved {
            return Some(format!(
                "it ends as {:?} on the processor, as {:?} in the {name}",
                processor.unresolved, other.unresolved
            ));
        }
        if other.leaves != processor.leaves {
            return Some(format!("other wakers are registered in the {name}"));
        }
    }
    None
}

/// Describes what differs in the pages that were written.
fn in_memory(processor: &Outcome, interpreter: &Outcome) -> Option<String> {
    if processor.unresolved == Some(Unresolved::Endless) {
        return None;
    }
    let [processor, interpreter] = [processor, interpreter].map(|outcome| &outcome.record);
    let known = processor.pages.len();
    if interpreter.written > known {
        let written = interpreter.written;
        return Some(format!(
            "the interpreter wrote {written} pages, the processor at most {known}"
        ));
    }
    let pages = processor.pages.iter();
    pages
        .zip(interpreter.pages.values())
        .find_map(|((address, a), b)| {
            if a == b {
                return None;
            }
            let (Some(a), Some(b)) = (a, b) else {
                return Some(format!("the page at {address:#x} can't be read by one"));
            };
            Some(in_page(*address, a, b))
        })
}

fn in_page(address: u64, processor: &Page, interpreter: &Page) -> String {
    const WORD: usize = 8;
    let differing: Vec<usize> = (0..PAGE_SIZE)
        .step_by(WORD)
        .filter(|at| processor[*at..at + WORD] != interpreter[*at..at + WORD])
        .collect();
    let count = differing.len();
    let words = differing.into_iter().take(MOST_WORDS).map(|at| {
        let place = address + at as u64;
        let [a, b] = [processor, interpreter].map(|page| &page[at..at + WORD]);
        format!("\n  {place:#x}: processor {a:02x?}, interpreter {b:02x?}")
    });
    let words: String = words.collect();
    format!("{count} words of memory differ at the end{words}")
}
