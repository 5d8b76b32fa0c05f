//! A dump, as seen by the thread that asks for it.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    session::{Session, Stale, Verdict},
    slots::{Geometry, LARGEST_COPY, Slots, StackCopy},
    ticket::{Cause, DumpNumber, Wish},
    waker::can_be_woken,
};
use crate::{
    entry::{Entry, Kind},
    local::LOCAL,
    registry,
};

/// The number of woken tasks that may be pending at once: 100,000 would hold every worker for a
/// tenth of a second, this many take less than a millisecond.
const WINDOW: usize = 256;
/// A task that was woken this long ago and has not been polled loses its place in the window.
const PATIENCE: Duration = Duration::from_millis(10);
/// For ordinary stacks.
const SMALL: Geometry = Geometry {
    places: 256,
    bytes: 64 << 10,
};
/// For stacks that were cut at the size above.
const LARGE: Geometry = Geometry {
    places: 8,
    bytes: LARGEST_COPY as usize,
};
/// The lower limit of the patience, which shrinks when whole windows pass without a poll.
const LEAST_PATIENCE: Duration = Duration::from_micros(100);
/// A poll that has lasted this long is not worth waiting for.
const LONG_POLL: Duration = Duration::from_millis(50);
/// A dump ends when nothing was polled for this long: the remaining tasks are starved.
const GRACE: Duration = Duration::from_secs(1);
/// The same, if only spans are left whose tasks were polled: a task need not poll all its spans.
const SPAN_GRACE: Duration = Duration::from_millis(300);
/// The longest sleep of the driver. It is woken earlier when half a window is done.
const NAP: Duration = Duration::from_millis(1);
/// How often a task is asked again if there was no room for its copies.
const RETRIES: u8 = 10;

/// Receives what a dump copies, on the thread that called [`probe`].
pub trait Sink {
    /// Takes the copy of a place where a future waits.
    fn copied(&mut self, copy: &StackCopy<'_>);
    /// Discards all copies so far of the future with this number, as it is probed again.
    fn discard(&mut self, index: usize);
}

/// A tracked future, as the dump found it.
#[derive(Debug)]
pub struct Probed {
    /// What is known about it.
    pub entry: Arc<Entry>,
    /// What it was doing.
    pub state: ProbedState,
    /// How long it had been doing that.
    pub in_state_for: Duration,
    /// The time since it was made, at the same moment.
    pub age: Duration,
    /// Whether anything can wake it.
    pub wakers: Wakers,
    /// Whether an earlier dump found wakers registered, and all of them had been dropped unused
    /// when this dump began. Wakers that this dump's own poll registered do not change this.
    pub lost_wakers: bool,
    /// Whether it is a span that was polled with the waker of the future around it,
    /// as part of that poll.
    pub is_inside: bool,
}

/// What a tracked future was doing during a dump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProbedState {
    /// It ended, or was dropped, during the dump.
    Ended,
    /// It was never polled.
    New,
    /// It waits, and was probed.
    Probed,
    /// It waits, and was not polled: no waker of it is known, or it is a span that its task
    /// does not poll at present.
    NotPolled,
    /// A part of it has ended, and nobody has asked for the next one.
    HeldBack,
    /// It was woken but not polled.
    Starved,
    /// This thread is inside its poll.
    Running(i32),
}

/// What a dump found.
#[derive(Debug)]
pub struct Findings {
    /// All tracked futures.
    pub tasks: Vec<Probed>,
    /// What is missing.
    pub shortfall: Shortfall,
}

/// What a dump could not do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Shortfall {
    /// The number of futures that there was no time to ask before the deadline.
    pub not_asked: usize,
    /// The number of futures that wait in more places than were copied.
    pub cut_short: usize,
    /// Whether there was no memory for copies.
    pub no_memory: bool,
}

/// Whether anything can wake a future.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wakers {
    /// Unknown: it was not probed, or has been polled again since.
    NotKnown,
    /// This many wakers of the probe are held.
    Held(u32),
    /// None: its poll registered no waker, or every one of them was dropped unused.
    None,
}

/// The futures that a dump is about, and how it is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// When to end the dump with what there is.
    pub deadline: Instant,
    /// The futures to include; `None` for all.
    pub only: Option<Vec<Arc<Entry>>>,
    /// The numbers of the included futures to poll; `None` for all.
    pub asked: Option<HashSet<u64>>,
    /// Whether copies may contain what other tasks left on the stack.
    pub stale: Stale,
}

impl Plan {
    /// Makes a plan for all tracked futures.
    #[must_use]
    pub const fn all(deadline: Instant) -> Self {
        Self {
            deadline,
            only: None,
            asked: None,
            stale: Stale::Kept,
        }
    }
}

impl Findings {
    /// Lists the futures of a plan as they are, without polling them.
    #[must_use]
    pub fn listed(plan: Plan) -> Self {
        let futures = plan.only.unwrap_or_else(registry::entries);
        Driver::new(futures, plan.deadline, plan.stale).findings()
    }
}

/// Polls tracked futures once more, hands the copies of their stacks to `sink`, and returns all of
/// them. Their positions in the list are the numbers that `sink` is given.
///
/// Blocks until every future was polled or is known to be stuck, but not longer than the deadline.
/// Dumps are made one after the other, and waiting for an earlier one counts towards the deadline.
pub fn probe(plan: Plan, sink: &mut dyn Sink) -> Findings {
    let mut dump = last_dump();
    let futures = plan.only.unwrap_or_else(registry::entries);
    let mut driver = Driver::new(futures, plan.deadline, plan.stale);
    let is_asked = |target: &Target| {
        let asked = plan.asked.as_ref();
        asked.is_none_or(|asked| asked.contains(&target.entry.id().get()))
    };
    let targets = driver.targets.iter().enumerate();
    let all: Vec<usize> = targets
        .filter(|(_, target)| is_asked(target))
        .map(|(index, _)| index)
        .collect();
    driver.copy(&mut dump, SMALL, &all, sink);
    let mut truncated = std::mem::take(&mut driver.truncated);
    truncated.sort_unstable();
    truncated.dedup();
    if !truncated.is_empty() && Instant::now() < driver.deadline {
        for index in &truncated {
            sink.discard(*index);
        }
        driver.copy(&mut dump, LARGE, &truncated, sink);
    }
    // Before another dump can begin, whose probes' wakers would be counted as registered.
    let findings = driver.findings();
    drop(dump);
    findings
}

/// Returns the number of the last dump. Whoever holds the lock makes the next one.
fn last_dump() -> MutexGuard<'static, DumpNumber> {
    static DUMPS: Mutex<DumpNumber> = Mutex::new(DumpNumber::first());
    DUMPS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Driver {
    targets: Vec<Target>,
    /// Targets of the present round with a copy that was cut.
    truncated: Vec<usize>,
    deadline: Instant,
    stale: Stale,
    shortfall: Shortfall,
}

struct Target {
    entry: Arc<Entry>,
    lost_wakers: bool,
    verdict: Verdict,
    polls_at_probe: u64,
    is_inside: bool,
    asked: bool,
    retries: u8,
}

/// A task that was woken and has not been polled yet.
struct Woken {
    index: usize,
    at: Instant,
}

impl Driver {
    fn new(futures: Vec<Arc<Entry>>, deadline: Instant, stale: Stale) -> Self {
        Self {
            targets: futures.into_iter().map(Target::new).collect(),
            truncated: Vec::new(),
            deadline,
            stale,
            shortfall: Shortfall::default(),
        }
    }

    /// Probes the targets with these numbers, to copy their stacks.
    fn copy(
        &mut self,
        dump: &mut DumpNumber,
        size: Geometry,
        indices: &[usize],
        sink: &mut dyn Sink,
    ) {
        let Some(slots) = Slots::new(size) else {
            self.shortfall.no_memory = true;
            return;
        };
        *dump = dump.next();
        let dump = *dump;
        let session = Session::open(dump, self.stale, self.targets.len(), slots);
        for index in indices {
            self.put_ticket(dump, *index);
        }
        let left = Round {
            queue: self.in_order(indices),
            window: VecDeque::new(),
            late: Vec::new(),
            patience: PATIENCE,
            last_progress: Instant::now(),
            done: 0,
            dump,
            session: &session,
        }
        .run(self, sink);
        self.shortfall.not_asked += left;
        for index in indices {
            if let Some(target) = self.targets.get(*index) {
                target.entry.ticket.withdraw(dump);
            }
        }
        session.close();
        // A poll that ended after the last look still counts.
        self.drain(&session, sink);
        for index in indices {
            self.settle(&session, *index);
        }
    }

    /// Puts tasks before spans, as most spans are seen in the probe of their task.
    fn in_order(&self, indices: &[usize]) -> VecDeque<usize> {
        let is_span = |index: &usize| {
            self.targets
                .get(*index)
                .is_some_and(|target| target.entry.kind() == Kind::Span)
        };
        let (spans, tasks): (Vec<usize>, Vec<usize>) = indices.iter().partition(|i| is_span(i));
        tasks.into_iter().chain(spans).collect()
    }

    fn put_ticket(&self, dump: DumpNumber, index: usize) {
        if let (Some(target), Some(wish)) = (self.targets.get(index), wish(dump, index)) {
            target.entry.ticket.put(wish);
        }
    }

    /// Wakes a target. Returns whether to wait for it.
    fn ask(&mut self, dump: DumpNumber, index: usize) -> bool {
        let Some(target) = self.targets.get_mut(index) else {
            return false;
        };
        let entry = &target.entry;
        if entry.is_finished() || entry.is_held_back() || entry.kind() == Kind::Blocking {
            return false;
        }
        let Some(waker) = target.entry.executor_waker() else {
            return false;
        };
        if let Some(wish) = wish(dump, index) {
            target.entry.ticket.mark_asked(wish);
        }
        target.asked = true;
        LOCAL.with(|local| local.asking.set(true));
        waker.wake();
        LOCAL.with(|local| local.asking.set(false));
        true
    }

    fn drain(&mut self, session: &Session, sink: &mut dyn Sink) {
        session.slots.drain(|copy| {
            if copy.truncated {
                self.truncated
                    .extend(copy.owners.iter().map(|owner| owner.index));
            }
            sink.copied(copy);
        });
    }

    fn findings(mut self) -> Findings {
        let is_cut =
            |target: &&Target| matches!(target.verdict, Verdict::WaitsInMore | Verdict::NoRoom);
        self.shortfall.cut_short = self.targets.iter().filter(is_cut).count();
        Findings {
            tasks: self.targets.into_iter().map(Target::result).collect(),
            shortfall: self.shortfall,
        }
    }

    fn settle(&mut self, session: &Session, index: usize) {
        let Some(target) = self.targets.get_mut(index) else {
            return;
        };
        let verdict = session.verdict(index);
        if verdict != Verdict::Open {
            target.verdict = verdict;
            target.polls_at_probe = session.polls_at_probe(index);
            target.is_inside = session.is_inside(index);
        }
    }
}

/// Makes what a dump leaves on a target before it asks.
fn wish(dump: DumpNumber, index: usize) -> Option<Wish> {
    Some(Wish {
        dump,
        index: u32::try_from(index).ok()?,
        cause: Cause::Natural,
    })
}

/// The state of one round.
struct Round<'a> {
    queue: VecDeque<usize>,
    window: VecDeque<Woken>,
    /// Woken and not polled within the patience. Still checked, but nothing waits for them.
    late: Vec<usize>,
    patience: Duration,
    last_progress: Instant,
    done: usize,
    dump: DumpNumber,
    session: &'a Session,
}

impl Round<'_> {
    /// Runs the round. Returns the number of targets that there was no time to ask.
    fn run(&mut self, driver: &mut Driver, sink: &mut dyn Sink) -> usize {
        loop {
            self.fill_window(driver);
            self.nap();
            self.look(driver, sink);
            if self.is_over(driver) {
                return self.queue.len();
            }
        }
    }

    fn fill_window(&mut self, driver: &mut Driver) {
        while self.window.len() < WINDOW {
            let Some(index) = self.queue.pop_front() else {
                return;
            };
            let open = self.session.verdict(index) == Verdict::Open;
            if open && driver.ask(self.dump, index) {
                self.window.push_back(Woken {
                    index,
                    at: Instant::now(),
                });
            }
        }
    }

    /// Sleeps until half of the window has been polled, but not long.
    fn nap(&self) {
        let waiting = match self.window.len() {
            0 if self.late.is_empty() => return,
            0 => 1,
            some => some.div_ceil(2),
        };
        let target = self.done + waiting;
        self.session.wake_driver_at(target);
        if self.session.done() < target {
            thread::park_timeout(NAP.min(self.patience));
        }
    }

    /// Processes what has been polled since the last look.
    fn look(&mut self, driver: &mut Driver, sink: &mut dyn Sink) {
        let now = Instant::now();
        let done = self.session.done();
        if done != self.done {
            self.done = done;
            self.last_progress = now;
            self.patience = PATIENCE;
        }
        // Verdicts are read before the slots are drained. A verdict comes after its copies, so no
        // copy of a task that is found to be done can be left behind in a slot.
        let mut again = Vec::new();
        let session = self.session;
        let mut is_open = |index: usize| match session.verdict(index) {
            Verdict::Open => driver
                .targets
                .get(index)
                .is_some_and(|target| !target.entry.is_finished() && !target.entry.is_held_back()),
            Verdict::NoRoom => {
                again.push(index);
                false
            }
            Verdict::Waits | Verdict::WaitsInMore | Verdict::WaitsUnregistered | Verdict::Ended => {
                false
            }
        };
        self.window.retain(|woken| is_open(woken.index));
        self.late.retain(|index| is_open(*index));
        driver.drain(self.session, sink);
        for index in again {
            self.ask_again(driver, index, sink);
        }
        self.give_up_window(now);
    }

    fn ask_again(&mut self, driver: &mut Driver, index: usize, sink: &mut dyn Sink) {
        let Some(target) = driver.targets.get_mut(index) else {
            return;
        };
        if target.retries == RETRIES {
            return;
        }
        target.retries += 1;
        sink.discard(index);
        self.session.reopen(index);
        driver.put_ticket(self.dump, index);
        self.queue.push_back(index);
    }

    /// Moves targets that were woken too long ago out of the window.
    fn give_up_window(&mut self, now: Instant) {
        let was_full = self.window.len() == WINDOW;
        while let Some(woken) = self.window.front() {
            if now.duration_since(woken.at) < self.patience {
                break;
            }
            self.late.push(woken.index);
            self.window.pop_front();
        }
        // Nothing in a whole window was polled: the next one will hardly do better.
        if was_full && self.window.is_empty() {
            self.patience = (self.patience / 2).max(LEAST_PATIENCE);
        }
    }

    fn is_over(&self, driver: &Driver) -> bool {
        let now = Instant::now();
        if now >= driver.deadline {
            return true;
        }
        if !self.queue.is_empty() || !self.window.is_empty() {
            return false;
        }
        let grace = |index: &usize| {
            let target = driver.targets.get(*index)?;
            let entry = &target.entry;
            if entry.polled_by().is_some() && entry.in_state_for() >= LONG_POLL {
                return None;
            }
            Some(match entry.kind() {
                Kind::Span => SPAN_GRACE,
                Kind::Task | Kind::Blocking | Kind::Undecided => GRACE,
            })
        };
        let quiet = now.duration_since(self.last_progress);
        self.late
            .iter()
            .filter_map(grace)
            .max()
            .is_none_or(|grace| quiet > grace)
    }
}

impl Target {
    fn new(entry: Arc<Entry>) -> Self {
        Self {
            lost_wakers: entry.lost_its_wakers(),
            entry,
            verdict: Verdict::Open,
            polls_at_probe: 0,
            is_inside: false,
            asked: false,
            retries: 0,
        }
    }

    fn result(self) -> Probed {
        let wakers = self.wakers();
        Probed {
            state: self.state(),
            in_state_for: self.entry.in_state_for(),
            age: self.entry.age(),
            wakers,
            lost_wakers: self.lost_wakers,
            is_inside: self.is_inside,
            entry: self.entry,
        }
    }

    fn state(&self) -> ProbedState {
        if self.entry.is_finished() {
            return ProbedState::Ended;
        }
        match self.verdict {
            Verdict::Ended => ProbedState::Ended,
            Verdict::Waits
            | Verdict::WaitsInMore
            | Verdict::WaitsUnregistered
            | Verdict::NoRoom => ProbedState::Probed,
            Verdict::Open => match self.entry.polled_by() {
                Some(tid) => ProbedState::Running(tid),
                None if self.entry.polls() == 0 => ProbedState::New,
                None if self.entry.is_held_back() => ProbedState::HeldBack,
                // It may be a span that its task does not poll at present.
                None if self.asked && self.entry.kind() != Kind::Span => ProbedState::Starved,
                None => ProbedState::NotPolled,
            },
        }
    }

    /// Counts the wakers of a target. A span that was probed with its task's waker has none of its
    /// own, so what counts for it is whether it cloned that waker at all.
    fn wakers(&self) -> Wakers {
        let held = can_be_woken(&self.entry);
        let polled_since =
            self.entry.polls() != self.polls_at_probe || self.entry.polled_by().is_some();
        match self.verdict {
            // What is left from earlier probes.
            Verdict::Open => held.map_or(Wakers::NotKnown, Wakers::Held),
            _ if polled_since => Wakers::NotKnown,
            Verdict::WaitsUnregistered => held.map_or(Wakers::None, Wakers::Held),
            Verdict::Waits | Verdict::WaitsInMore | Verdict::NoRoom => match self.entry.kind() {
                Kind::Span => Wakers::NotKnown,
                Kind::Task | Kind::Blocking | Kind::Undecided => {
                    held.map_or(Wakers::None, Wakers::Held)
                }
            },
            Verdict::Ended => Wakers::NotKnown,
        }
    }
}
