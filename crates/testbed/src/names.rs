//! Names that would do harm on a terminal.

use std::future::pending;

use rtops_agent::Track;
use tokio::runtime::Builder;

use crate::{
    Never,
    control::Control,
    settle::{settled, settlement},
};

/// The name of the process, which would set the title of a terminal.
pub(crate) const PROCESS: &str = "evil\u{1b}]0;owned\u{7}\r\nname";

/// The commit that the process states, which would clear the screen.
pub(crate) const COMMIT: &str = "3f2a91c\u{1b}[2J";

const LONG: usize = 100_000;

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .map_err(|error| error.to_string())?;
    let (pending_names, settlement) = settlement();
    for name in [
        "\u{1b}[2J\u{1b}[31mred".to_owned(),
        "two\nlines\r\t\u{8}".to_owned(),
        "right \u{202e}to left\u{2066}".to_owned(),
        "\u{9b}31m and \u{0}".to_owned(),
        String::new(),
        "long ".repeat(LONG / 5),
    ] {
        let task = pending::<()>().tracked(name);
        runtime.spawn(settled(task, pending_names.clone()));
    }
    drop(pending_names);
    settlement.wait();
    control.serve(|| 0)
}
