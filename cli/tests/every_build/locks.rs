//! Who holds what others wait for, with the line where it was taken.

use crate::{
    BUILD,
    reply::{Holder, Site, Stack, Task, WaitsFor},
    source::{Mark, Marks},
    support::{Target, eventually},
};

#[test]
fn holders_are_found() {
    let target = Target::start(BUILD, &["locks"]);
    let stack = target.stack(&["--tasks"]);
    assert!(stack.complete, "{:?}", stack.gaps);
    let marks = Marks::read();
    let locks = Locks { stack, marks };
    locks.one_holder_of_twelve();
    locks.readers_and_writers();
    locks.permits();
    locks.set();
    locks.others();
}

struct Locks {
    stack: Stack,
    marks: Marks,
}

impl Locks {
    /// Returns the only task of this name.
    #[track_caller]
    fn task(&self, name: &str) -> &Task {
        let group = self.stack.group(name);
        assert_eq!(group.count, 1, "{group:#?}");
        &group.tasks[0]
    }

    /// Returns what a task waits for, and expects the line that is marked with this name.
    #[track_caller]
    fn wait<'a>(&self, task: &'a Task, mark: &str, kind: &str) -> &'a WaitsFor {
        let [wait] = &task.waits_for[..] else {
            panic!("{task:#?}");
        };
        assert_eq!(wait.kind, kind);
        assert!(is_at(&wait.site, self.marks.of(mark)), "{wait:#?}");
        wait
    }

    #[track_caller]
    fn is_held_by(&self, holder: &Holder, task: Option<u64>, mark: &str) {
        assert_eq!(holder.task, task, "{holder:#?}");
        assert!(is_at(&holder.site, self.marks.of(mark)), "{holder:#?}");
        assert!(holder.tid > 0 && holder.since_ns > 0, "{holder:#?}");
    }

    fn one_holder_of_twelve(&self) {
        let flush = self.task("flush");
        let readers = self.stack.group("reader");
        assert_eq!(
            (readers.count, &readers.waits[..]),
            (12, &["mutex lock".to_owned()][..])
        );
        for reader in &readers.tasks {
            let wait = self.wait(reader, "reader", "mutex");
            assert_eq!(
                wait.value_type.as_deref(),
                Some("rtops_testbed::locks::Cache")
            );
            assert_eq!(wait.mode, "exclusive");
            assert!(wait.made_at.as_ref().unwrap().file.ends_with("locks.rs"));
            assert_eq!(wait.holders.len(), 1, "{wait:#?}");
            self.is_held_by(&wait.holders[0], Some(flush.id), "flush-takes");
            // The holder was spawned before the waiters.
            assert!(wait.holders[0].since_ns >= wait.since_ns, "{wait:#?}");
        }
        let [held] = &flush.holds[..] else {
            panic!("{flush:#?}");
        };
        assert!(is_at(&held.site, self.marks.of("flush-takes")));
        assert_eq!(held.waiters, 12);
        assert_eq!(held.resource, readers.tasks[0].waits_for[0].resource);
    }

    fn readers_and_writers(&self) {
        let readers = &self.stack.group("rw-reads").tasks;
        let writer = self.wait(self.task("rw-writer"), "rw-writer", "rwlock");
        let late = self.wait(self.task("rw-late"), "rw-late", "rwlock");
        assert_eq!((&*writer.mode, &*late.mode), ("exclusive", "shared"));
        for wait in [writer, late] {
            let mut holders: Vec<_> = wait.holders.iter().collect();
            holders.sort_by_key(|holder| holder.task);
            assert_eq!(holders.len(), 2, "{wait:#?}");
            for (holder, reader) in holders.into_iter().zip(readers) {
                self.is_held_by(holder, Some(reader.id), "rw-reads-take");
                assert_eq!(holder.mode, "shared");
            }
        }
    }

    fn permits(&self) {
        let wait = self.wait(self.task("acquirer"), "acquirer", "semaphore");
        assert_eq!((wait.value_type.as_deref(), wait.holders.len()), (None, 1));
        self.is_held_by(
            &wait.holders[0],
            Some(self.task("permits").id),
            "permits-take",
        );
        assert_eq!(wait.holders[0].permits, 3);
        let wait = self.wait(self.task("no-permit"), "no-permit", "semaphore");
        assert_eq!(wait.holders.len(), 0, "{wait:#?}");
    }

    fn set(&self) {
        let joiner = self.task("joiner");
        let wait = self.wait(joiner, "joiner", "join set");
        // One of the six members has ended.
        let members: Vec<_> = self
            .stack
            .tasks()
            .filter(|task| task.parent == Some(joiner.id))
            .collect();
        assert_eq!((members.len(), wait.holders.len()), (5, 5), "{wait:#?}");
        for holder in &wait.holders {
            assert!(
                members.iter().any(|member| holder.task == Some(member.id)),
                "{holder:#?}"
            );
        }
    }

    fn others(&self) {
        let twice = self.task("twice");
        let wait = self.wait(twice, "twice", "mutex");
        self.is_held_by(&wait.holders[0], Some(twice.id), "twice-takes");

        let wait = self.wait(self.task("for-ever"), "for-ever", "mutex");
        let forgetful = wait.holders[0].task;
        self.is_held_by(&wait.holders[0], forgetful, "forgetful-takes");
        assert!(
            self.stack.tasks().all(|task| Some(task.id) != forgetful),
            "it has ended"
        );

        let wait = self.wait(self.task("outsider"), "outsider", "mutex");
        self.is_held_by(&wait.holders[0], None, "outside-takes");
    }
}

fn is_at(site: &Site, marks: &[Mark]) -> bool {
    let here = |mark: &Mark| site.file.ends_with(&mark.file) && site.line == mark.line;
    site.column.is_some_and(|column| column > 1) && marks.iter().any(here)
}

#[test]
fn a_wait_keeps_its_beginning_however_often_it_is_looked_at() {
    let target = Target::start(BUILD, &["locks"]);
    let since = || {
        let stack = target.stack(&["--tasks"]);
        let waits = stack
            .group("reader")
            .tasks
            .iter()
            .map(|task| task.waits_for[0].since_ns);
        waits.min().unwrap()
    };
    let mut last = since();
    for _ in 0..5 {
        let next = since();
        assert!(next >= last, "{next} is less than {last}");
        last = next;
    }
}

#[test]
fn holders_stand_under_those_who_wait() {
    let target = Target::start(BUILD, &["locks"]);
    let blocked = || {
        let text = target.stack_text(&[]);
        let (_, rest) = text.split_once("\"blocked-thread\" [sleeping, mutex lock]")?;
        rest.contains("outside of any task for").then_some(text)
    };
    eventually("the thread is blocked", || blocked().is_some());
    let text = blocked().unwrap();
    for part in [
        r#"12 tasks "reader" [mutex lock"#,
        r#" "flush" for "#,
        "holds mutex<Cache> for ",
        "; 12 tasks wait for it",
        "held by this task itself for ",
        "2 of these hold rwlock<u32>, the longest for ",
        r#" "rw-writer", which waits to write at crates/testbed/src/locks.rs:"#,
        "3 permits held by task ",
        "nobody holds a permit of the semaphore made at crates/testbed/src/locks.rs:",
        ", which has ended, for ",
        "and for 2 more tasks",
        r#"awaited as one of a set by task "#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let readers = text
        .split("\n\n")
        .find(|block| block.starts_with("12 tasks \"reader\""));
    assert_eq!(readers.unwrap().matches("held by").count(), 1, "{text}");
}
