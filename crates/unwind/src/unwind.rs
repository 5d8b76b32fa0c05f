//! Turns stack slices into return addresses.

use std::ops::Range;

use framehop::{
    Error, ExplicitModuleSectionInfo, FrameAddress, Module as FramehopModule, Unwinder as _,
};
use rtops_types::{Module, StackRegisters, StackSlice};

use crate::{
    arch,
    modules::{Foreign, Loaded, Section},
    sys::{self, Generation},
};

/// The most frames; a longer stack is cut off here and reported as [`Outcome::TooDeep`].
pub const MAX_FRAMES: usize = 512;

/// The range of all code and stacks. framehop subtracts from such addresses without a check.
const ADDRESSES: Range<u64> = 4096..1 << 56;

/// Why unwinding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The outermost frame of the thread was reached: the stack is complete.
    Root,
    /// The frame that contains the base was reached: the stack is complete down to there.
    Base,
    /// A frame reaches past the end of the slice, or the stack continues elsewhere, below a signal
    /// handler that runs on an alternate stack.
    Truncated,
    /// The stack has more than [`MAX_FRAMES`] frames.
    TooDeep,
    /// The last address is in code without unwind information (generated code, hand-written
    /// assembly), or the stack is invalid there.
    Lost,
}

/// Unwinds stack slices of this process, or of another if made by [`Unwinder::of_another`].
///
/// Holds a copy of the unwind tables of all libraries (some 100 KiB for libc), from
/// [`Unwinder::refresh`] until it is dropped.
pub struct Unwinder {
    modules: Vec<Module>,
    /// The code of modules with unwind information, sorted by start.
    unwindable: Vec<Range<u64>>,
    generation: Option<Generation>,
    signal_trampoline: Trampoline,
    rules: arch::Rules<Section>,
    cache: arch::Cache,
    goes_on: Option<StackRegisters>,
}

/// How to recognize libc's code that signal handlers return to.
enum Trampoline {
    /// By its address, if known.
    At(Option<u64>),
    /// By what another process has at an address.
    Told(IsTrampoline),
}

/// Says whether signal handlers of another process return to an address.
pub type IsTrampoline = Box<dyn Fn(u64) -> bool + Send>;

impl std::fmt::Debug for Unwinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unwinder")
            .field("modules", &self.modules)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Default for Unwinder {
    fn default() -> Self {
        Self::new()
    }
}

impl Unwinder {
    /// Creates an unwinder that knows no modules yet: call [`Unwinder::refresh`] before each dump.
    pub fn new() -> Self {
        Self {
            modules: Vec::new(),
            unwindable: Vec::new(),
            generation: None,
            signal_trampoline: Trampoline::At(None),
            rules: arch::Rules::new(),
            cache: arch::Cache::new(),
            goes_on: None,
        }
    }

    /// Creates an unwinder for the stacks of another process, whose modules never change.
    pub fn of_another(modules: Vec<Foreign>, is_trampoline: IsTrampoline) -> Self {
        let mut this = Self::new();
        this.load(modules.into_iter().map(Loaded::from).collect());
        this.signal_trampoline = Trampoline::Told(is_trampoline);
        this
    }

    /// Reads the modules of this process again if any was loaded or unloaded since the last time.
    /// Does nothing in an unwinder for another process.
    ///
    /// Takes the dynamic loader's lock for a moment: a microsecond if nothing changed.
    pub fn refresh(&mut self) {
        if matches!(self.signal_trampoline, Trampoline::Told(_)) {
            return;
        }
        // A handler may have been installed since then, without any change of modules.
        if matches!(self.signal_trampoline, Trampoline::At(None)) {
            self.signal_trampoline = Trampoline::At(sys::signal_trampoline());
        }
        // Read first, so a module that is loaded between the two calls counts as a change later.
        let generation = sys::generation();
        if generation.is_some() && generation == self.generation {
            return;
        }
        self.load(sys::loaded());
        self.generation = generation;
    }

    /// Returns the modules as of the last refresh, in the loader's order.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Appends the frames of `slice` to `out`, innermost first: the instruction pointer, then
    /// return addresses as they are (to look one up, subtract 1), at most [`MAX_FRAMES`].
    ///
    /// Code that a signal interrupted appears after the handler and libc's trampoline, with 1 added
    /// to its address so that the same subtraction fits.
    ///
    /// With `base`, a stack address, the last frame is the one whose area contains it; without,
    /// unwinding continues to the root of the thread.
    pub fn unwind(
        &mut self,
        slice: &StackSlice<'_>,
        base: Option<u64>,
        out: &mut Vec<u64>,
    ) -> Outcome {
        self.goes_on = None;
        let mut registers = slice.registers;
        let mut frame = FrameAddress::from_instruction_pointer(registers.ip);
        out.push(frame.address());
        for _ in 1..MAX_FRAMES {
            let step = if self.is_signal_trampoline(frame) {
                leave_handler(slice, &mut registers)
            } else {
                self.step(slice, frame, &mut registers)
            };
            match step {
                Step::Caller(_) if base.is_some_and(|base| registers.sp > base) => {
                    return Outcome::Base;
                }
                Step::Caller(caller) => {
                    let is_interrupted = !caller.is_return_address();
                    out.push(caller.address() + u64::from(is_interrupted));
                    frame = caller;
                }
                Step::Root => return Outcome::Root,
                // The area of this frame reaches up to that address, so it contains the base.
                Step::PastEnd(address) if base.is_some_and(|base| address >= base) => {
                    return Outcome::Base;
                }
                Step::OtherStack => {
                    self.goes_on = Some(registers);
                    return Outcome::Truncated;
                }
                Step::PastEnd(_) => {
                    // The code that a handler interrupted may be on a stack at higher addresses.
                    let offset = registers.sp.saturating_sub(slice.registers.sp);
                    let is_outside = offset > slice.bytes.len() as u64;
                    self.goes_on = is_outside.then_some(registers);
                    return Outcome::Truncated;
                }
                Step::Lost => return Outcome::Lost,
            }
        }
        self.goes_on = Some(registers);
        Outcome::TooDeep
    }

    /// Returns the registers of the frame at which the last call of [`unwind`](Self::unwind)
    /// stopped, if that frame is on another stack or is the last one before the limit.
    pub fn goes_on(&self) -> Option<StackRegisters> {
        self.goes_on
    }

    /// Goes from `frame` to its caller, and leaves the caller's registers in `registers`.
    fn step(
        &mut self,
        slice: &StackSlice<'_>,
        frame: FrameAddress,
        registers: &mut StackRegisters,
    ) -> Step {
        let sp = registers.sp;
        if !ADDRESSES.contains(&sp) || !self.can_unwind(frame.address_for_lookup()) {
            return Step::Lost;
        }
        if !ADDRESSES.contains(&registers.bp) {
            // In this code it is no frame pointer, or the stack is invalid. An address below every
            // stack is fine in the first case, and ends unwinding in the second.
            registers.bp = ADDRESSES.start;
        }
        let mut state = arch::to_rules(*registers);
        let mut memory = Memory::new(slice);
        let mut read = |address| memory.read(address);
        let step = self
            .rules
            .unwind_frame(frame, &mut state, &mut self.cache, &mut read);
        if let Some(address) = memory.past_end {
            self.forget_guess(&step, address);
            return Step::PastEnd(address);
        }
        *registers = arch::from_rules(&state);
        match step {
            Ok(Some(address)) if registers.sp > sp && ADDRESSES.contains(&address) => {
                FrameAddress::from_return_address(address).map_or(Step::Lost, Step::Caller)
            }
            Ok(None) => Step::Root,
            Ok(Some(_)) | Err(_) => Step::Lost,
        }
    }

    fn is_signal_trampoline(&self, frame: FrameAddress) -> bool {
        frame.is_return_address()
            && match &self.signal_trampoline {
                Trampoline::At(known) => Some(frame.address()) == *known,
                Trampoline::Told(is_trampoline) => is_trampoline(frame.address()),
            }
    }

    /// Returns whether there is unwind information for an address. Without it, framehop guesses by
    /// frame pointers, and the result may be no caller at all, so it must not get such code.
    fn can_unwind(&self, lookup_address: u64) -> bool {
        let after = self
            .unwindable
            .partition_point(|code| code.start <= lookup_address);
        after
            .checked_sub(1)
            .and_then(|index| self.unwindable.get(index))
            .is_some_and(|code| code.contains(&lookup_address))
    }

    /// Clears the cache if it may contain a guess. If a computed rule fails because it can't read
    /// memory, framehop caches a frame pointer guess for that address instead. A plain rule that
    /// fails reports exactly this address; in all other cases the cache is cleared.
    fn forget_guess(&mut self, step: &Result<Option<u64>, Error>, past_end: u64) {
        if *step != Err(Error::CouldNotReadStack(past_end)) {
            self.cache = arch::Cache::new();
        }
    }

    fn load(&mut self, loaded: Vec<Loaded>) {
        self.modules.clear();
        self.unwindable.clear();
        self.rules = arch::Rules::new();
        for Loaded {
            module,
            base_svma,
            unwind,
        } in loaded
        {
            if let Some(unwind) = unwind {
                self.unwindable.push(module.code.clone());
                self.rules.add_module(FramehopModule::new(
                    String::new(),
                    module.code.clone(),
                    module.load_bias.wrapping_add(base_svma),
                    ExplicitModuleSectionInfo {
                        base_svma,
                        eh_frame_hdr: Some(unwind.header),
                        eh_frame_hdr_svma: Some(unwind.header_svma),
                        eh_frame: Some(unwind.frames),
                        eh_frame_svma: Some(unwind.frames_svma),
                        ..ExplicitModuleSectionInfo::default()
                    },
                ));
            }
            self.modules.push(module);
        }
        self.unwindable.sort_by_key(|code| code.start);
    }
}

/// The result of one step.
enum Step {
    Caller(FrameAddress),
    Root,
    /// It needed the memory at this address, which lies after the slice.
    PastEnd(u64),
    /// The caller is on a stack that the slice is not part of.
    OtherStack,
    Lost,
}

/// Goes from a signal handler to the code that it interrupted. (framehop doesn't know such frames.)
fn leave_handler(slice: &StackSlice<'_>, registers: &mut StackRegisters) -> Step {
    let sp = registers.sp;
    let mut memory = Memory::new(slice);
    let interrupted = arch::interrupted(sp, |address| memory.read(address));
    match (interrupted, memory.past_end) {
        (Ok(interrupted), _) if ADDRESSES.contains(&interrupted.ip) => {
            *registers = interrupted;
            if registers.sp <= sp {
                return Step::OtherStack;
            }
            Step::Caller(FrameAddress::from_instruction_pointer(registers.ip))
        }
        (Err(()), Some(address)) => Step::PastEnd(address),
        _ => Step::Lost,
    }
}

/// The slice, as the memory from which framehop reads words.
struct Memory<'a> {
    slice: &'a StackSlice<'a>,
    /// The first requested address that lies after the slice.
    past_end: Option<u64>,
}

impl<'a> Memory<'a> {
    fn new(slice: &'a StackSlice<'a>) -> Self {
        Self {
            slice,
            past_end: None,
        }
    }

    fn read(&mut self, address: u64) -> Result<u64, ()> {
        let offset = address.checked_sub(self.slice.registers.sp).ok_or(())?;
        let word = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.slice.bytes.get(offset..))
            .and_then(|bytes| bytes.first_chunk::<8>());
        match word {
            Some(word) => Ok(u64::from_ne_bytes(*word)),
            None => {
                self.past_end.get_or_insert(address);
                Err(())
            }
        }
    }
}
