//! From Moby (Docker).

use std::{
    mem::ManuallyDrop,
    sync::{self, Arc},
};

use rtops_agent::Track;

use crate::{locks::Semaphore, threads::thread};

/// moby#25384. The wait for all plugins is inside the loop that starts them. The
/// first iteration waits for the second one.
pub(crate) fn plugin_group() {
    let restore = async {
        const PLUGINS: u32 = 2;
        let done = Arc::new(Semaphore::new(0));
        for _plugin in 0..PLUGINS {
            let done = Arc::clone(&done);
            let restored = Arc::clone(&done);
            tokio::spawn(async move { restored.add_permits(1) });
            let all = done.acquire_many(PLUGINS).await; // LEAK moby-25384
            drop(all);
        }
    };
    tokio::spawn(restore.tracked("plugins"));
}

/// moby#17176. A cleanup function locks the devices, and unlocks them
/// unless there is nothing to clean.
pub(crate) fn deleted_devices() {
    let deleted = Arc::new(sync::Mutex::new(Vec::new()));
    clean_up(&deleted);
    thread("delete device", move || {
        deleted.lock().expect("nobody panics").push(3); // LEAK moby-17176
    });
}

fn clean_up(deleted: &sync::Mutex<Vec<u64>>) {
    let mut locked = ManuallyDrop::new(deleted.lock().expect("nobody panics"));
    if locked.is_empty() {
        return;
    }
    locked.clear();
    drop(ManuallyDrop::into_inner(locked));
}
