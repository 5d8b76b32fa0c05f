//! What the inside of the copy tells the outside: words, and behind some of them bytes.
//!
//! The outside takes nothing for granted: a poll that went astray may have written anywhere.

/// What a record is about; its first word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u64)]
pub(crate) enum Tag {
    /// The layout is not what it should be; the number of a reason.
    Unknown = 1,
    /// Cells; the words of [`CELL`] for each.
    Cells,
    /// A running task and the thread that has it: the number of the cell and the thread's.
    Running,
    /// The stack of a thread: its number, `ip`, `sp`, `bp`, and the bytes.
    Thread,
    /// A vtable of tasks that have wakers of this copy of tokio.
    Own,
    /// One of tasks that have other wakers.
    Foreign,
    /// A leaf: the number of the cell, `ip`, `sp`, `bp`, the base, and the bytes.
    Leaf,
    /// A poll has ended: the number of the cell, and how.
    Polled,
    /// Steps: the number of the cell, and two words for each.
    Steps,
    /// The end of the steps of a poll: the number of the cell, and how they ended.
    StepsEnd,
    /// All that was ordered is done.
    Done,
}

impl Tag {
    /// The tag and the rest of a record.
    pub(crate) fn split(record: &[u8]) -> Option<(Self, &[u8])> {
        let (word, rest) = word(record)?;
        const ALL: [Tag; 11] = [
            Tag::Unknown,
            Tag::Cells,
            Tag::Running,
            Tag::Thread,
            Tag::Own,
            Tag::Foreign,
            Tag::Leaf,
            Tag::Polled,
            Tag::Steps,
            Tag::StepsEnd,
            Tag::Done,
        ];
        let tag = ALL.into_iter().find(|tag| *tag as u64 == word)?;
        Some((tag, rest))
    }
}

/// The words of a cell: header, number, state, vtable, `poll`, the `poll` of what is in a box,
/// owner, and whether it holds one of the addresses that it was looked for.
pub(crate) const CELL: usize = 8;

/// The first word of what is left, and the rest.
pub(crate) fn word(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*word), rest))
}

/// So many words, and the rest.
pub(crate) fn words<const N: usize>(mut bytes: &[u8]) -> Option<([u64; N], &[u8])> {
    let mut words = [0; N];
    for place in &mut words {
        (*place, bytes) = word(bytes)?;
    }
    Some((words, bytes))
}

/// The first word of an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u64)]
pub(crate) enum Order {
    /// Poll the cells with these numbers, to catch their leaves.
    Hook = 1,
    /// Poll them step by step.
    Step,
    /// The same, after the wakers of executors inside of tasks were woken.
    WakeAndStep,
    /// There is nothing more to do.
    End,
}

/// How a poll ended, as a word.
pub(crate) mod ended {
    /// It returned, and waits.
    pub(crate) const PENDING: u64 = 0;
    /// It returned, and the task is complete.
    pub(crate) const READY: u64 = 1;
    /// The copy that polled was lost in it.
    pub(crate) const LOST: u64 = 2;
    /// It was given up: this, and the code of the reason.
    pub(crate) const GIVEN_UP: u64 = 16;
}

/// Why the layout is not what it should be.
pub(crate) const REASONS: [&str; 8] = [
    "no copy of the process's own task was found",
    "a task's vtable is not in read-only data",
    "a vtable has other words",
    "a task has another number",
    "a task's count of references is another one",
    "the neighbours of a task in its runtime's list are not where they should be",
    "the function that clones wakers can't be replaced in the copy",
    "there is no memory to work with",
];
