//! From Syncthing.

use std::sync::{Arc, RwLock};

use crate::threads::thread;

/// syncthing#4829. A port mapping is locked while its addresses are cleared. Its listeners are
/// called meanwhile, and read the mapping.
pub(crate) fn port_mapping() {
    let mapping = Arc::new(RwLock::new(vec!["203.0.113.7:22000"]));
    thread("nat", move || {
        mapping
            .write()
            .expect("nobody panics")
            .retain(|address| notify(&mapping, address));
    });
}

fn notify(mapping: &RwLock<Vec<&str>>, removed: &str) -> bool {
    let addresses = mapping.read().expect("nobody panics"); // LEAK syncthing-4829
    addresses.contains(&removed)
}
