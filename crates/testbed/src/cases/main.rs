//! Services with faults from public bug reports: `cases NAME [VARIANT]`, and `cases --list`.
//!
//! | variant | what it uses of rtops |
//! |---|---|
//! | `bare` | nothing |
//! | `plain` | the agent |
//! | `wrapped` | the agent, and its wrappers around tasks and locks |
//!
//! A case prints `ready <pid>` as it starts, and reaches its fault within a second. It ends when
//! its standard input is closed. `// STUCK name: why` marks a line that an operator needs to see.

mod actor_cycle;
mod block_on_circle;
mod block_on_guard;
mod block_on_sender;
mod blocked_alone;
mod blocking_nested;
mod broadcast_ring;
mod buffered_alone;
mod buffered_pool;
mod busy_wake;
mod busy_yield;
mod coop_block_on;
mod dashmap_guard;
mod forsaken;
mod futurelock;
mod half_close;
mod healthy_channels;
mod healthy_kept;
mod healthy_locks;
mod healthy_sets;
mod join_under_lock;
mod joinset_unreaped;
mod lifo_slot;
mod once_cycle;
mod own_channel;
mod poll_recreates;
mod pool_twice;
mod rwlock_twice;
mod rwlock_upgrade;
mod shutdown_in_place;
mod std_circle;
mod std_contended;
mod std_mutex_select;
mod tower_ready;
mod undriven_local;
mod unpolled_span;
mod variant;

use std::{
    env, io,
    io::Write,
    process::{self, ExitCode},
    thread,
};

use rtops_testbed::failed;

use crate::variant::Variant;

/// Runs a case, and blocks for as long as it can.
type Case = fn(Variant);

const CASES: [(&str, Case); 36] = [
    ("actor_cycle", actor_cycle::run),
    ("block_on_circle", block_on_circle::run),
    ("block_on_guard", block_on_guard::run),
    ("block_on_sender", block_on_sender::run),
    ("blocked_alone", blocked_alone::run),
    ("blocking_nested", blocking_nested::run),
    ("broadcast_ring", broadcast_ring::run),
    ("buffered_alone", buffered_alone::run),
    ("buffered_pool", buffered_pool::run),
    ("busy_wake", busy_wake::run),
    ("busy_yield", busy_yield::run),
    ("coop_block_on", coop_block_on::run),
    ("dashmap_guard", dashmap_guard::run),
    ("forsaken", forsaken::run),
    ("futurelock", futurelock::run),
    ("half_close", half_close::run),
    ("healthy_channels", healthy_channels::run),
    ("healthy_kept", healthy_kept::run),
    ("healthy_locks", healthy_locks::run),
    ("healthy_sets", healthy_sets::run),
    ("join_under_lock", join_under_lock::run),
    ("joinset_unreaped", joinset_unreaped::run),
    ("lifo_slot", lifo_slot::run),
    ("once_cycle", once_cycle::run),
    ("own_channel", own_channel::run),
    ("poll_recreates", poll_recreates::run),
    ("pool_twice", pool_twice::run),
    ("rwlock_twice", rwlock_twice::run),
    ("rwlock_upgrade", rwlock_upgrade::run),
    ("shutdown_in_place", shutdown_in_place::run),
    ("std_circle", std_circle::run),
    ("std_contended", std_contended::run),
    ("std_mutex_select", std_mutex_select::run),
    ("tower_ready", tower_ready::run),
    ("undriven_local", undriven_local::run),
    ("unpolled_span", unpolled_span::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut arguments = arguments.iter().map(String::as_str);
    let done = match (arguments.next(), arguments.next()) {
        (Some("--list"), _) => list().map_err(|error| error.to_string()),
        (Some(name), variant) => enter(name, variant.unwrap_or("plain")),
        (None, _) => Err("name a case; --list tells which there are".to_owned()),
    };
    done.map_or_else(|reason| failed(&reason), |()| ExitCode::SUCCESS)
}

fn list() -> io::Result<()> {
    let mut output = io::stdout().lock();
    CASES
        .iter()
        .try_for_each(|(name, _)| writeln!(output, "{name}"))
}

fn enter(name: &str, variant: &str) -> Result<(), String> {
    let case = CASES.iter().find(|(case, _)| *case == name);
    let (_, run) = case.ok_or_else(|| format!("no case is called {name:?}; --list tells them"))?;
    let variant = Variant::parse(variant)?;
    if variant != Variant::Bare {
        rtops_agent::start().map_err(|error| error.to_string())?;
    }
    let ends_with_input = || {
        let _closed = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    };
    let thread = thread::Builder::new().name("until-closed".to_owned());
    let spawned = thread.spawn(ends_with_input);
    spawned.map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "ready {}", process::id()).map_err(|error| error.to_string())?;
    run(variant);
    Ok(())
}
