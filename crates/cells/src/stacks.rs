//! Unwinds the stacks of all threads, and collects what they hold.

use std::{collections::HashSet, ops::Range};

use rtops_image::{Contents, Image, ImageModule, ModuleKind, Thread, Tid, Unreadable};
use rtops_unwind::{IsTrampoline, Outcome, StackRegisters, StackSlice, Unwinder};

use crate::elf;

/// How much of a stack is read at first, and at most.
const FIRST: u64 = 64 << 10;
const LARGEST: u64 = 8 << 20;
/// `mov $15, %rax; syscall`, the whole code that signal handlers return to.
const RT_SIGRETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
/// The most memory below a stack that nobody may touch.
const LARGEST_GUARD: u64 = 1 << 20;
/// The most parts of a stack that are unwound. A part is a handler's own stack, or as many
/// frames as are unwound at once.
const MOST_PARTS: usize = 128;
/// How many frames of a deep stack are kept at either end.
const INNERMOST: usize = 448;
const OUTERMOST: usize = 64;
/// The most jumps that are followed in a row.
const MOST_JUMPS: usize = 4;
/// How much code is searched at a time.
const CODE_PIECE: usize = 1 << 20;

/// The stack of a thread.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stack {
    /// The thread's id in the image.
    pub tid: Tid,
    /// The instruction pointer, then return addresses, innermost first.
    pub addresses: Vec<u64>,
    /// Why unwinding ended.
    pub outcome: Outcome,
    /// Whether frames in the middle are left out, because there were too many.
    pub is_abridged: bool,
}

/// All stacks of an image.
#[derive(Debug)]
pub(crate) struct Stacks {
    /// In the order of the image.
    pub(crate) all: Vec<Stack>,
    /// The words on the live part of each stack, and in the registers.
    words: Vec<HashSet<u64>>,
    /// Where functions begin.
    functions: Vec<u64>,
}

impl Stacks {
    /// Unwinds all threads.
    pub(crate) fn of<I: Image + Sync>(image: &I) -> Self {
        let (mut modules, mut functions) = (Vec::new(), Vec::new());
        for module in image.modules() {
            let (foreign, own) = elf::foreign(image, module);
            modules.push(foreign);
            functions.extend(own);
        }
        functions.sort_unstable();
        let trampolines = trampolines(image);
        let is_trampoline: IsTrampoline =
            Box::new(move |at| trampolines.binary_search(&at).is_ok());
        let mut unwinder = Unwinder::of_another(modules, is_trampoline);
        let threads = image.threads().iter();
        let (all, words) = threads
            .map(|thread| {
                let (stack, bytes) = unwind(image, &mut unwinder, thread);
                (stack, held(thread, &bytes))
            })
            .unzip();
        Self {
            all,
            words,
            functions,
        }
    }

    /// Whether any thread holds this word on the live part of its stack or in a register.
    pub(crate) fn hold(&self, word: u64) -> bool {
        self.words.iter().any(|words| words.contains(&word))
    }

    /// Returns the positions of the threads that hold this word, to choose a thread from.
    pub(crate) fn holders(&self, word: u64) -> impl Iterator<Item = usize> {
        let words = self.words.iter().enumerate();
        words
            .filter(move |(_, words)| words.contains(&word))
            .map(|(index, _)| index)
    }

    /// Returns the words that the thread at this position holds.
    pub(crate) fn held_by(&self, index: usize) -> impl Iterator<Item = u64> {
        self.words.get(index).into_iter().flatten().copied()
    }

    /// Returns the threads that may be inside a call of the
    /// function at `poll` with the task at `header`.
    pub(crate) fn runners(&self, image: &impl Image, poll: u64, header: u64) -> Vec<Tid> {
        let poll = jumps_to(image, poll);
        let runs = |index: &usize| {
            let stack = self.all.get(*index);
            stack.is_some_and(|stack| stack.addresses.iter().any(|at| self.start_of(*at) == poll))
        };
        let holders: Vec<usize> = self.holders(header).collect();
        let inside: Vec<usize> = holders.iter().copied().filter(runs).collect();
        // Without the program's unwind tables, no function is known.
        let candidates = if inside.is_empty() { holders } else { inside };
        let candidates = candidates.into_iter();
        candidates
            .filter_map(|index| Some(self.all.get(index)?.tid))
            .collect()
    }

    /// Returns the positions of the threads that may be inside a call of the function at `poll`
    /// with the task at `header`, and where that call returns to.
    pub(crate) fn inside(
        &self,
        image: &impl Image,
        poll: u64,
        header: u64,
    ) -> impl Iterator<Item = (usize, u64)> {
        let poll = jumps_to(image, poll);
        self.holders(header).filter_map(move |index| {
            let addresses = &self.all.get(index)?.addresses;
            let place = addresses.iter().position(|at| self.start_of(*at) == poll)?;
            Some((index, *addresses.get(place + 1)?))
        })
    }

    /// Returns the start of the function that an address on a stack leads back to.
    fn start_of(&self, address: u64) -> u64 {
        let behind = self.functions.partition_point(|start| *start < address);
        let start = behind.checked_sub(1).and_then(|at| self.functions.get(at));
        start.copied().unwrap_or(0)
    }
}

fn unwind(image: &impl Image, unwinder: &mut Unwinder, thread: &Thread) -> (Stack, Vec<u8>) {
    let mut registers = StackRegisters {
        ip: thread.registers.rip,
        sp: thread.registers.rsp,
        bp: thread.registers.rbp,
    };
    let mut stack = Stack {
        tid: thread.tid,
        addresses: Vec::new(),
        outcome: Outcome::Lost,
        is_abridged: false,
    };
    let mut held = Vec::new();
    // A handler may run on its own stack, and what it interrupted on another one.
    for part in 0..MOST_PARTS {
        let (addresses, outcome, bytes) = unwind_part(image, unwinder, registers);
        // Stored like a return address, which is looked up one byte
        // lower. It may have ended the part before.
        let first = addresses.first().map(|ip| ip + u64::from(part > 0));
        let is_new = first.as_ref() != stack.addresses.last();
        stack.addresses.extend(first.filter(|_| is_new));
        stack.addresses.extend(addresses.iter().skip(1));
        // The frames near the root show which task it is, and come last in a stack that overflows.
        if stack.addresses.len() > INNERMOST + OUTERMOST {
            let end = stack.addresses.len() - OUTERMOST;
            stack.addresses.drain(INNERMOST..end);
            stack.is_abridged = true;
        }
        stack.outcome = outcome;
        held.extend_from_slice(&bytes);
        match unwinder.goes_on() {
            Some(next) => {
                registers = next;
                registers.ip -= u64::from(outcome == Outcome::TooDeep);
            }
            None => break,
        }
    }
    (stack, held)
}

fn unwind_part(
    image: &impl Image,
    unwinder: &mut Unwinder,
    registers: StackRegisters,
) -> (Vec<u64>, Outcome, Vec<u8>) {
    let mut most = FIRST;
    loop {
        let bytes = bytes_from(image, registers.sp, most);
        let slice = StackSlice {
            registers,
            bytes: &bytes,
        };
        let mut addresses = Vec::new();
        let outcome = unwinder.unwind(&slice, None, &mut addresses);
        let is_cut = outcome == Outcome::Truncated && unwinder.goes_on().is_none();
        if is_cut && bytes.len() as u64 == most && most < LARGEST {
            most = LARGEST;
            continue;
        }
        return (addresses, outcome, bytes);
    }
}

/// Reads the memory from an address on, as far as it can be read and is in one region. A
/// stack that overflows begins below its memory; the part that was never written is zeros.
fn bytes_from(image: &impl Image, address: u64, most: u64) -> Vec<u8> {
    let Some(region) = image.region_of(address) else {
        return Vec::new();
    };
    let (start, end) = if region.is_own() {
        (address, region.range.end)
    } else {
        let above = image.region_of(region.range.end);
        let above = above.map_or(0..0, |above| above.range.clone());
        (above.start, above.end)
    };
    let Some(guard) = start
        .checked_sub(address)
        .filter(|guard| *guard <= LARGEST_GUARD)
    else {
        return Vec::new();
    };
    let length = (end - address).min(most);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let known = bytes.get_mut(usize::try_from(guard).unwrap_or(0)..);
    // Stacks may be side by side in one region, with pages in between that nobody can read.
    if let Err(Unreadable::NotMapped(at) | Unreadable::Absent(at, _) | Unreadable::Io(at, _)) =
        image.read(start, known.unwrap_or_default())
    {
        let known = if at > start { at - address } else { 0 };
        bytes.truncate(usize::try_from(known).unwrap_or(0));
    }
    bytes
}

fn held(thread: &Thread, stack: &[u8]) -> HashSet<u64> {
    let registers = &thread.registers;
    let aligned = registers.rsp.next_multiple_of(8) - registers.rsp;
    let words = stack
        .get(usize::try_from(aligned).unwrap_or(0)..)
        .unwrap_or_default();
    let words = words
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let general = [
        registers.rax,
        registers.rbx,
        registers.rcx,
        registers.rdx,
        registers.rsi,
        registers.rdi,
        registers.rbp,
        registers.r8,
        registers.r9,
        registers.r10,
        registers.r11,
        registers.r12,
        registers.r13,
        registers.r14,
        registers.r15,
    ];
    words.chain(general).filter(|word| *word >= 4096).collect()
}

/// Returns where a function leads if it is only a jump to another one, else the function itself.
fn jumps_to(image: &impl Image, function: u64) -> u64 {
    const JUMP: u8 = 0xe9;
    let mut at = function;
    for _ in 0..MOST_JUMPS {
        let mut code = [0; 5];
        let is_jump = image.read(at, &mut code).is_ok() && code[0] == JUMP;
        let [_, a, b, c, d] = code;
        if !is_jump {
            break;
        }
        let distance = i32::from_le_bytes([a, b, c, d]);
        at = at.wrapping_add(5).wrapping_add_signed(i64::from(distance));
    }
    at
}

/// Finds where signal handlers return to: in libc, or in a program that libc is linked into.
fn trampolines(image: &impl Image) -> Vec<u64> {
    let is_libc = |module: &&ImageModule| {
        let name = module.path.file_name().unwrap_or_default();
        let name = name.as_encoded_bytes();
        name.starts_with(b"libc.") || name.starts_with(b"libc-") || name.starts_with(b"ld-musl")
    };
    let modules = || image.modules().iter();
    let libc = modules().find(is_libc);
    let program = modules().find(|module| module.kind == ModuleKind::MainExecutable);
    libc.or(program)
        .map(|module| find_in_code(image, module, &RT_SIGRETURN))
        .unwrap_or_default()
}

/// Finds these bytes in the code of a module, as far as the code is known. The addresses
/// that a module reports are untrusted.
fn find_in_code(image: &impl Image, module: &ImageModule, bytes: &[u8]) -> Vec<u64> {
    let regions = image.regions().iter();
    let code = regions.filter(|region| {
        let is_inside =
            region.range.start < module.code.end && module.code.start < region.range.end;
        is_inside && region.access.execute && region.contents == Contents::Present
    });
    let mut found: Vec<u64> = code
        .flat_map(|region| find_in(image, region.range.clone(), bytes))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn find_in(image: &impl Image, range: Range<u64>, bytes: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    let mut piece = vec![0; CODE_PIECE];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(CODE_PIECE);
        let piece = piece.get_mut(..length.min(CODE_PIECE)).unwrap_or_default();
        if image.read(at, piece).is_err() {
            break;
        }
        let places = memchr::memmem::find_iter(piece, bytes);
        found.extend(places.map(|place| at + place as u64));
        // A match that crosses the end of a piece is whole in the next one.
        at += piece.len().saturating_sub(bytes.len()).max(1) as u64;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use rtops_image::{Access, Backing, Region, Sharing};

    use super::*;

    /// Stacks side by side in one mapping, with a page in between that nobody can read.
    struct Guarded {
        regions: [Region; 1],
        guard: Range<u64>,
    }

    impl Image for Guarded {
        fn regions(&self) -> &[Region] {
            &self.regions
        }

        fn modules(&self) -> &[ImageModule] {
            &[]
        }

        fn threads(&self) -> &[Thread] {
            &[]
        }

        fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Unreadable> {
            for (byte, at) in into.iter_mut().zip(address..) {
                if self.guard.contains(&at) {
                    return Err(Unreadable::Io(at, ErrorKind::Other));
                }
                *byte = 7;
            }
            Ok(())
        }
    }

    #[test]
    fn a_stack_is_read_up_to_what_can_not_be_read() {
        let image = Guarded {
            regions: [Region {
                range: 0x10000..0x20000,
                access: Access::READ_WRITE,
                backing: Backing::Anonymous,
                sharing: Sharing::Private,
                contents: Contents::Present,
            }],
            guard: 0x18000..0x19000,
        };
        assert_eq!(bytes_from(&image, 0x17ff0, FIRST), [7; 16]);
        assert_eq!(bytes_from(&image, 0x19000, FIRST), [7; 0x7000]);
        assert_eq!(bytes_from(&image, 0x18010, FIRST), [0; 0]);
    }
}
