//! The vtables of tasks and of wakers, recognized by their form.

use std::collections::HashMap;

use rtops_image::Image;

use crate::{
    layout::{
        LARGEST_CELL, LARGEST_SCHEDULER, LAYOUTS, Layout, Offsets, SMALLEST_HEADER, WAKER_WORDS,
    },
    places::Places,
    words::Words,
};

/// The vtable for a type of task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vtable {
    pub(crate) layout: &'static Layout,
    /// The function that polls the task.
    pub(crate) poll: u64,
    /// The function that is called by whoever awaits the task.
    pub(crate) join: u64,
    /// The function that drops the future of a task that is not polled.
    pub(crate) shutdown: u64,
    /// Offsets in the cell, if the vtable has them.
    pub(crate) trailer: Option<u64>,
    pub(crate) scheduler: Option<u64>,
    pub(crate) number: Option<u64>,
}

/// The vtable of a waker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct WakerVtable {
    pub(crate) clone: u64,
    pub(crate) wake: u64,
    pub(crate) wake_by_ref: u64,
    pub(crate) drop: u64,
}

impl WakerVtable {
    /// Returns its words, in order.
    pub(crate) const fn words(&self) -> [u64; WAKER_WORDS as usize] {
        [self.clone, self.wake, self.wake_by_ref, self.drop]
    }
}

/// What the vtable of a trait object says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    pub(crate) size: u64,
    /// Its first method, if the trait has one.
    pub(crate) method: u64,
}

/// Returns the vtable of a trait object at this address, if there is one.
pub(crate) fn object(
    words: &mut Words<'_, impl Image>,
    places: &Places,
    address: u64,
) -> Option<Object> {
    if !places.has_constants(address, 4) {
        return None;
    }
    let mut word = |index: u64| words.at(address + 8 * index);
    let [drop, size, align, method] = [word(0)?, word(1)?, word(2)?, word(3)?];
    let is_one = (drop == 0 || places.code.contains(drop))
        && size < LARGEST_CELL
        && align.is_power_of_two()
        && align <= 4096;
    is_one.then_some(Object { size, method })
}

/// The constants that were looked at, and what they are.
#[derive(Debug)]
pub(crate) struct Vtables<'a, I> {
    places: &'a Places,
    words: Words<'a, I>,
    tasks: HashMap<u64, Option<Vtable>>,
    wakers: HashMap<u64, Option<WakerVtable>>,
}

impl<'a, I: Image> Vtables<'a, I> {
    pub(crate) fn of(image: &'a I, places: &'a Places) -> Self {
        Self {
            places,
            words: Words::of(image),
            tasks: HashMap::new(),
            wakers: HashMap::new(),
        }
    }

    /// Returns the vtable of a task at this address, if there is one.
    #[inline]
    pub(crate) fn task(&mut self, address: u64) -> Option<Vtable> {
        // True of most words of memory.
        if !self.places.has_constants(address, 1) {
            return None;
        }
        self.known_task(address)
    }

    fn known_task(&mut self, address: u64) -> Option<Vtable> {
        if let Some(known) = self.tasks.get(&address) {
            return *known;
        }
        let mut layouts = LAYOUTS.iter();
        let found = layouts.find_map(|layout| self.parse(address, layout));
        self.tasks.insert(address, found);
        found
    }

    /// Returns the vtable of a waker at this address, if there is one.
    #[inline]
    pub(crate) fn waker(&mut self, address: u64) -> Option<WakerVtable> {
        if !self.places.has_constants(address, WAKER_WORDS) {
            return None;
        }
        self.known_waker(address)
    }

    fn known_waker(&mut self, address: u64) -> Option<WakerVtable> {
        if let Some(known) = self.wakers.get(&address) {
            return *known;
        }
        let found = self.parse_waker(address);
        self.wakers.insert(address, found);
        found
    }

    fn parse(&mut self, address: u64, layout: &'static Layout) -> Option<Vtable> {
        let functions = layout.functions as u64;
        let poll = self.function(address)?;
        for index in 1..functions {
            self.function(address + 8 * index)?;
        }
        let join = self.function(address + 8 * layout.join as u64)?;
        let shutdown = self.function(address + 8 * (functions - 1))?;
        let mut offset = |index: u64| {
            let offset = self.words.at(address + 8 * (functions + index))?;
            // In a program at a fixed address, functions have small addresses, too.
            let is_function = self.places.code.contains(offset);
            let is_one = offset.is_multiple_of(8) && offset < LARGEST_CELL && !is_function;
            is_one.then_some(offset)
        };
        let (trailer, scheduler, number) = match layout.offsets {
            Offsets::None => (None, None, None),
            Offsets::Trailer => {
                let trailer = offset(0)?;
                (trailer > SMALLEST_HEADER).then_some((Some(trailer), None, None))?
            }
            Offsets::All => {
                let (trailer, scheduler, number) = (offset(0)?, offset(1)?, offset(2)?);
                let is_in_order = scheduler >= SMALLEST_HEADER
                    && scheduler <= number
                    && number - scheduler <= LARGEST_SCHEDULER
                    && number < trailer;
                is_in_order.then_some((Some(trailer), Some(scheduler), Some(number)))?
            }
        };
        Some(Vtable {
            layout,
            poll,
            join,
            shutdown,
            trailer,
            scheduler,
            number,
        })
    }

    fn parse_waker(&mut self, address: u64) -> Option<WakerVtable> {
        let mut functions = [0; WAKER_WORDS as usize];
        for (function, at) in functions.iter_mut().zip((address..).step_by(8)) {
            *function = self.function(at)?;
        }
        let [clone, wake, wake_by_ref, drop] = functions;
        // A task's vtable begins with functions, too. One with no offset or only one can't be told
        // from two vtables of wakers and whatever follows them.
        let task = self.task(address);
        let is_tasks = task.is_some_and(|task| task.layout.offsets == Offsets::All);
        (!is_tasks).then_some(WakerVtable {
            clone,
            wake,
            wake_by_ref,
            drop,
        })
    }

    fn function(&mut self, address: u64) -> Option<u64> {
        let function = self.words.at(address)?;
        self.places.code.contains(function).then_some(function)
    }
}
