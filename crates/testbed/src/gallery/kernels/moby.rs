//! From Moby (Docker).

use std::{
    mem::ManuallyDrop,
    sync::{self, Arc, Condvar},
};

use rtops_agent::Track;
use tokio::sync::{
    Barrier,
    mpsc::{self, Receiver, Sender},
    oneshot,
};

use crate::{
    locks::{Mutex, Semaphore},
    threads::thread,
    traffic::{THREADS, requests_to_threads},
};

/// moby#25384. The wait for all plugins stands inside of the loop that starts them. The first
/// round waits for the second one.
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

/// moby#28462. A change of a container holds its lock while it tells the health monitor to stop.
/// The monitor has the result of a probe, and locks the container to enter it.
pub(crate) fn health_monitor() {
    let (stop, stopped) = mpsc::channel(1);
    stop.try_send(()).ok();
    let container = Arc::new(Mutex::new("healthy"));
    let (probe, probed) = oneshot::channel();
    tokio::spawn(monitor(Arc::clone(&container), probed, stopped).tracked("health"));
    tokio::spawn(state_changed(container, probe, stop).tracked("container"));
}

async fn state_changed(
    container: Arc<Mutex<&str>>,
    probe: oneshot::Sender<&str>,
    stop: Sender<()>,
) {
    let container = container.lock().await;
    // In a service, a probe ends by chance meanwhile.
    probe.send("unhealthy").ok();
    stop.send(()).await.ok(); // LEAK moby-28462
    drop(container);
}

async fn monitor(
    container: Arc<Mutex<&str>>,
    probed: oneshot::Receiver<&'static str>,
    mut stopped: Receiver<()>,
) {
    if let Ok(health) = probed.await {
        *container.lock().await = health; // LEAK moby-28462
    }
    stopped.recv().await;
}

/// moby#29733. Requests wait on a condition variable until a plugin is active. What activates the
/// plugin a second time does not signal it.
pub(crate) fn plugin_activation() {
    let plugin = Arc::new((sync::Mutex::new(false), Condvar::new()));
    requests_to_threads(THREADS, move |_| {
        let plugin = Arc::clone(&plugin);
        thread("plugin call", move || wait_active(&plugin));
    });
}

fn wait_active((active, activated): &(sync::Mutex<bool>, Condvar)) {
    let active_now = active.lock().expect("nobody panics");
    let active_now = activated.wait_while(active_now, |active| !*active); // LEAK moby-29733
    drop(active_now);
}

/// moby#36114. The service is locked when it calls what adds its disks, and that locks it.
pub(crate) fn hot_add() {
    let service = Arc::new(Mutex::new(vec!["layer 1"]));
    let start = async move {
        let disks = service.lock().await;
        for disk in disks.iter() {
            hot_remove(&service, disk).await;
        }
    };
    tokio::spawn(start.tracked("service VM"));
}

async fn hot_remove(service: &Mutex<Vec<&str>>, disk: &str) {
    let mut disks = service.lock().await; // LEAK moby-36114
    disks.retain(|other| *other != disk);
}

/// moby#4951. To remove a device, the lock of all devices is taken and then its own. To deactivate
/// it, its own is taken first and then that of all.
pub(crate) fn device_set() {
    let devices = Arc::new(Mutex::new(vec![1]));
    let device = Arc::new(Mutex::new("active"));
    let both = Arc::new(Barrier::new(2));
    let (its_devices, its_device) = (Arc::clone(&devices), Arc::clone(&device));
    let its_both = Arc::clone(&both);
    let remove = async move {
        let mut devices = its_devices.lock().await;
        its_both.wait().await;
        *its_device.lock().await = "removed"; // LEAK moby-4951
        devices.clear();
    };
    let deactivate = async move {
        let mut device = device.lock().await;
        both.wait().await;
        let devices = devices.lock().await; // LEAK moby-4951
        *device = if devices.is_empty() { "gone" } else { "idle" };
    };
    tokio::spawn(remove.tracked("remove device"));
    tokio::spawn(deactivate.tracked("deactivate"));
}

/// moby#17176. A function that cleans up locks the devices, and unlocks them unless there is
/// nothing to clean.
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
