//! The symbols of this process, shared by checks that fail at the same time: reading them takes the
//! longest, and the debug info of a test binary is large. The last check frees them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rtops_symbols::{Module, Options, Pid, Symbols};

static LATEST: Mutex<Weak<SharedSymbols>> = Mutex::new(Weak::new());

/// Symbols, and the modules that they are of.
pub(crate) struct SharedSymbols {
    modules: Vec<Module>,
    symbols: Mutex<Symbols>,
}

impl SharedSymbols {
    /// Returns the symbols of these modules of this process.
    pub(crate) fn of(modules: Vec<Module>) -> Arc<Self> {
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = latest.upgrade()
            && shared.modules == modules
        {
            return shared;
        }
        let options = Options {
            pid: Some(Pid::own()),
            ..Options::default()
        };
        let shared = Arc::new(Self {
            symbols: Mutex::new(Symbols::new(modules.clone(), options)),
            modules,
        });
        *latest = Arc::downgrade(&shared);
        shared
    }

    /// Only one check looks up at a time, and leaves the other processors to what is tested.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Symbols> {
        self.symbols.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
