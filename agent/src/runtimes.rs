//! The tokio runtimes that the agent knows, and their figures.

#[cfg(all(not(feature = "tokio"), target_os = "linux"))]
pub(crate) use without::*;

#[cfg(feature = "tokio")]
pub use with::register_runtime;
#[cfg(feature = "tokio")]
pub(crate) use with::*;

/// Stands in for the module below if tokio is compiled out.
#[cfg(all(not(feature = "tokio"), target_os = "linux"))]
mod without {
    use rtops_protocol::Runtime;
    use rtops_tasks::RuntimeTag;

    pub(crate) fn notice_start() {}

    pub(crate) fn figures() -> Vec<Runtime> {
        Vec::new()
    }

    pub(crate) fn alive_tasks() -> Option<u64> {
        None
    }

    pub(crate) fn name(_: RuntimeTag) -> Option<String> {
        None
    }
}

#[cfg(feature = "tokio")]
mod with {
    use std::{
        cell::Cell,
        future::{Future, ready},
        hash::{Hash, Hasher},
        pin::pin,
        sync::{
            Mutex, MutexGuard, PoisonError,
            atomic::{AtomicU32, Ordering::Relaxed},
        },
        task::{Context, Poll, Waker},
    };

    use rtops_protocol::{Runtime, RuntimeFlavor, Worker};
    use rtops_tasks::{RuntimeTag, set_runtime_probe};
    use tokio::{
        runtime::{Handle, RuntimeMetrics},
        task,
    };

    static RUNTIMES: Mutex<Vec<Known>> = Mutex::new(Vec::new());
    static NEXT_TAG: AtomicU32 = AtomicU32::new(1);

    struct Known {
        tag: RuntimeTag,
        name: String,
        /// Whether the name was given, rather than made from its number.
        is_named: bool,
        /// Keeps the runtime's bookkeeping in memory, so it is dropped once the runtime is seen to
        /// be shut down: at the next registration or request, whichever comes first.
        handle: Handle,
    }

    thread_local! {
        /// The runtime that this thread registered last, so that spawning takes no lock.
        static LAST: Cell<(Option<u64>, RuntimeTag)> = const { Cell::new((None, RuntimeTag(0))) };
    }

    /// Returns a runtime's id, which tokio has since 1.49. Before, nothing tells runtimes apart: a
    /// runtime is then known only if its handle is registered, and no task is known to be on it.
    fn id(handle: &Handle) -> Option<u64> {
        let mut number = Number(0);
        handle.id().hash(&mut number);
        (number.0 != 0).then_some(number.0)
    }

    /// The number inside an id, which tokio gives only to hashers; 0 for none.
    struct Number(u64);

    impl Hasher for Number {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
            }
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    /// Provides the method if `Handle` itself has none.
    #[allow(dead_code, reason = "for tokio before 1.49")]
    trait WithoutId {
        fn id(&self) {}
    }

    impl WithoutId for Handle {}

    /// Gives a runtime a name, and registers it if it is not known yet.
    ///
    /// A runtime is registered without a name by the first task that is spawned on it, or by
    /// [`start`](crate::start()) inside it. Before tokio 1.49, runtimes can't be told apart: only
    /// `start` then registers one, and the first call of this function replaces it.
    pub fn register_runtime(name: impl Into<String>, handle: &Handle) {
        register(handle, Some(name.into()));
    }

    /// Registers the runtime that this thread is in, and makes first polls register
    /// theirs from now on.
    pub(crate) fn notice_start() {
        set_runtime_probe(polling);
        if let Ok(handle) = Handle::try_current() {
            register(&handle, None);
        }
    }

    /// Returns the runtime that polls a task on this thread. A future in `block_on` is not a task.
    fn polling() -> RuntimeTag {
        let current = current();
        task::try_id().map_or(RuntimeTag(0), |_| current)
    }

    /// Returns the runtime that this thread is in.
    fn current() -> RuntimeTag {
        Handle::try_current().map_or(RuntimeTag(0), |handle| notice(&handle))
    }

    /// Returns the tag of a runtime, registering it if it is not known yet.
    pub(crate) fn notice(handle: &Handle) -> RuntimeTag {
        let id = id(handle);
        match LAST.get() {
            _ if id.is_none() => RuntimeTag(0),
            (last, tag) if last == id => tag,
            _ => {
                let tag = register(handle, None);
                LAST.set((id, tag));
                tag
            }
        }
    }

    fn register(handle: &Handle, name: Option<String>) -> RuntimeTag {
        let mut runtimes = runtimes();
        // Dead runtimes first: a new runtime may reuse an id.
        runtimes.retain(|known| is_alive(&known.handle));
        let id = id(handle);
        let is_it = |known: &&mut Known| match id {
            Some(_) => self::id(&known.handle) == id,
            // Better to miss a runtime than to list one twice.
            None => name.is_none() || !known.is_named || name.as_ref() == Some(&known.name),
        };
        if let Some(known) = runtimes.iter_mut().find(is_it) {
            if let Some(name) = name {
                known.name = name;
                known.is_named = true;
                known.handle = handle.clone();
            }
            return known.tag;
        }
        let tag = RuntimeTag(NEXT_TAG.fetch_add(1, Relaxed));
        let default = match tag.0 {
            1 => "tokio".to_owned(),
            later => format!("tokio-{later}"),
        };
        runtimes.push(Known {
            tag,
            is_named: name.is_some(),
            name: name.unwrap_or(default),
            handle: handle.clone(),
        });
        tag
    }

    /// Whether a runtime still takes tasks. One that was shut down has none, and cancels a new one
    /// at once. A runtime that is stuck with tasks in it gets no new one.
    fn is_alive(handle: &Handle) -> bool {
        if handle.metrics().num_alive_tasks() > 0 {
            return true;
        }
        let task = pin!(handle.spawn(ready(())));
        let mut context = Context::from_waker(Waker::noop());
        !matches!(task.poll(&mut context), Poll::Ready(Err(error)) if error.is_cancelled())
    }

    /// Returns the figures of all runtimes, and forgets those that were shut down.
    pub(crate) fn figures() -> Vec<Runtime> {
        let mut figures = Vec::new();
        runtimes().retain(|known| {
            let taken = figures_of(known);
            let alive = is_alive(&known.handle);
            if alive {
                figures.push(taken);
            }
            alive
        });
        figures
    }

    /// Counts the tasks alive on all runtimes, tracked or not; `None` if no runtime is known.
    pub(crate) fn alive_tasks() -> Option<u64> {
        let runtimes = runtimes();
        let alive = |known: &Known| count(known.handle.metrics().num_alive_tasks());
        (!runtimes.is_empty()).then(|| runtimes.iter().map(alive).sum())
    }

    /// Returns the name of a runtime.
    pub(crate) fn name(tag: RuntimeTag) -> Option<String> {
        runtimes()
            .iter()
            .find(|known| known.tag == tag)
            .map(|known| known.name.clone())
    }

    fn runtimes() -> MutexGuard<'static, Vec<Known>> {
        RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures_of(known: &Known) -> Runtime {
        let metrics = known.handle.metrics();
        let mut runtime = Runtime {
            name: known.name.clone(),
            flavor: match known.handle.runtime_flavor() {
                tokio::runtime::RuntimeFlavor::CurrentThread => RuntimeFlavor::CurrentThread,
                tokio::runtime::RuntimeFlavor::MultiThread => RuntimeFlavor::MultiThread,
                _ => RuntimeFlavor::Other,
            },
            alive_tasks: count(metrics.num_alive_tasks()),
            global_queue_depth: count(metrics.global_queue_depth()),
            workers: (0..metrics.num_workers())
                .map(|worker| worker_figures(&metrics, worker))
                .collect(),
            spawned_tasks: None,
            blocking_threads: None,
            idle_blocking_threads: None,
            blocking_queue_depth: None,
            budget_forced_yields: None,
        };
        add_unstable(&mut runtime, &metrics);
        runtime
    }

    fn worker_figures(metrics: &RuntimeMetrics, worker: usize) -> Worker {
        Worker {
            busy_ns: u64::try_from(metrics.worker_total_busy_duration(worker).as_nanos())
                .unwrap_or(u64::MAX),
            parks: metrics.worker_park_count(worker),
            park_unparks: metrics.worker_park_unpark_count(worker),
            queue_depth: None,
            polls: None,
            steals: None,
        }
    }

    #[cfg(not(tokio_unstable))]
    fn add_unstable(_: &mut Runtime, _: &RuntimeMetrics) {}

    #[cfg(tokio_unstable)]
    fn add_unstable(runtime: &mut Runtime, metrics: &RuntimeMetrics) {
        runtime.spawned_tasks = Some(metrics.spawned_tasks_count());
        runtime.blocking_threads = Some(count(metrics.num_blocking_threads()));
        runtime.idle_blocking_threads = Some(count(metrics.num_idle_blocking_threads()));
        runtime.blocking_queue_depth = Some(count(metrics.blocking_queue_depth()));
        runtime.budget_forced_yields = Some(metrics.budget_forced_yield_count());
        for (number, worker) in runtime.workers.iter_mut().enumerate() {
            worker.queue_depth = Some(count(metrics.worker_local_queue_depth(number)));
            worker.polls = Some(metrics.worker_poll_count(number));
            worker.steals = Some(metrics.worker_steal_count(number));
        }
    }

    fn count(count: usize) -> u64 {
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}
