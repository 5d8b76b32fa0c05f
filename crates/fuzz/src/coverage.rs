//! Reports which code ran since the last query. Only code that was compiled with
//! `-C passes=sancov-module` counts; see `.ci/fuzz`.
#![expect(
    unsafe_code,
    reason = "the compiler hands out pointers to the counters that it makes"
)]

use std::{
    collections::HashSet,
    ptr, slice,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};

/// The maximum number of parts; the program is compiled in fewer.
const MAX_PARTS: usize = 4096;

static COUNT: AtomicUsize = AtomicUsize::new(0);
static STARTS: [AtomicPtr<u8>; MAX_PARTS] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX_PARTS];
static LENGTHS: [AtomicUsize; MAX_PARTS] = [const { AtomicUsize::new(0) }; MAX_PARTS];

/// Called before `main` for each part of the program.
// SAFETY: the name is reserved for whoever collects the compiler's counters, and
// nobody else does so here.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let index = COUNT.fetch_add(1, Ordering::Relaxed);
    if let (Some(place), Some(length)) = (STARTS.get(index), LENGTHS.get(index)) {
        place.store(start, Ordering::Relaxed);
        length.store(stop.addr().saturating_sub(start.addr()), Ordering::Relaxed);
    }
}

/// Called as well; its arguments are not needed here.
// SAFETY: as above.
#[unsafe(no_mangle)]
const extern "C" fn __sanitizer_cov_pcs_init(_start: *const usize, _stop: *const usize) {}

/// Takes the counters of a part, and sets them to zero.
fn take(index: usize) -> Vec<u8> {
    let start = STARTS.get(index).map(|place| place.load(Ordering::Relaxed));
    let length = LENGTHS
        .get(index)
        .map_or(0, |length| length.load(Ordering::Relaxed));
    let Some(start) = start.filter(|start| !start.is_null()) else {
        return Vec::new();
    };
    // SAFETY: the compiler passed these bytes, which exist as long as the program runs. Only this
    // thread counts them up, and it is here.
    let counters = unsafe { slice::from_raw_parts_mut(start, length) };
    let taken = counters.to_vec();
    counters.fill(0);
    taken
}

/// The code that was reached by any run so far.
#[derive(Debug, Default)]
pub struct Coverage {
    /// The places, and how often they were reached, in powers of two.
    seen: HashSet<(usize, usize, u32)>,
}

impl Coverage {
    /// Returns whether code ran since the last call that never ran before, or not that often.
    pub fn grows(&mut self) -> bool {
        let before = self.seen.len();
        for part in 0..COUNT.load(Ordering::Relaxed).min(MAX_PARTS) {
            let counted = take(part).into_iter().enumerate();
            let counted = counted.filter(|(_, count)| *count > 0);
            self.seen
                .extend(counted.map(|(place, count)| (part, place, count.ilog2())));
        }
        self.seen.len() > before
    }

    /// Returns how much was reached.
    pub fn size(&self) -> usize {
        self.seen.len()
    }
}
