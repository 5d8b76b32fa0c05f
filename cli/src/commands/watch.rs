//! Looking repeatedly: `rtops watch`, `rtops stats --watch` and `rtops list --watch`.

use std::{
    io::{self, Write},
    num::NonZeroU64,
    time::SystemTime,
};

use rtops_render::style::Style;

use super::{Format, Output};
use crate::{
    args::{OutputArgs, Pace, WatchCommandArgs, Watched},
    error::Error,
    out::terminal,
    watch::{
        screen::Screen,
        ticks::{Event, Ticks},
    },
};

/// Something that can be looked at repeatedly.
pub trait Subject {
    /// Takes a look.
    ///
    /// # Errors
    /// If there is nothing more to see.
    fn look(&mut self) -> Result<(), Error>;

    /// Prints what a terminal with this many rows shows until the next look.
    ///
    /// # Errors
    /// If it can't be written.
    fn picture(&self, writer: &mut Vec<u8>, style: Style, rows: usize) -> io::Result<()>;

    /// Prints what a look adds to a file or pipe.
    ///
    /// # Errors
    /// If it can't be written.
    fn text(&mut self, writer: &mut dyn Write, time: &str) -> io::Result<()>;

    /// Prints what a look adds as one line of JSON.
    ///
    /// # Errors
    /// If it can't be written.
    fn json(&self, writer: &mut dyn Write, time: &str) -> io::Result<()>;

    /// Reports at the end that something was not seen, if that is an error.
    ///
    /// # Errors
    /// If looks failed.
    fn end(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// `rtops watch`.
///
/// # Errors
/// Those of the command that watches.
pub fn run(args: WatchCommandArgs, output: &OutputArgs) -> Result<(), Error> {
    match args.what {
        Watched::Stats(mut args) => {
            args.watch.switch_on();
            super::stats::run(args, output)
        }
        Watched::List(mut args) => {
            args.watch.switch_on();
            super::list::run(&args, output)
        }
    }
}

/// Shows the subject at this pace, until the subject or the count ends.
///
/// # Errors
/// If a look fails, or the output can't be written.
pub fn watch(subject: &mut impl Subject, pace: Pace, args: &OutputArgs) -> Result<(), Error> {
    let mut ticks = Ticks::start(pace.interval).map_err(io::Error::from)?;
    look(subject, &mut ticks)?;
    let mut output = Output::open(args)?;
    // The output is read while it grows.
    output.writer.get_mut().publish()?;
    let mut screen = (output.format == Format::Text && output.style.width.is_some())
        .then(Screen::default)
        .filter(|_| terminal::moves_cursor());
    let mut left = pace.count;
    loop {
        show(subject, &mut output, screen.as_mut())?;
        if let Some(count) = left {
            left = NonZeroU64::new(count.get() - 1);
            if left.is_none() {
                output.finish()?;
                return subject.end();
            }
        }
        next(subject, &mut ticks, &mut output, screen.as_mut())?;
    }
}

fn look(subject: &mut impl Subject, ticks: &mut Ticks) -> Result<(), Error> {
    subject.look()?;
    ticks.looked();
    Ok(())
}

/// Waits for the next look and takes it. Redraws the screen if the terminal changes meanwhile.
fn next(
    subject: &mut impl Subject,
    ticks: &mut Ticks,
    output: &mut Output,
    mut screen: Option<&mut Screen>,
) -> Result<(), Error> {
    loop {
        let event = ticks.wait().map_err(io::Error::from)?;
        if event == Event::Tick {
            return look(subject, ticks);
        }
        let Some(screen) = screen.as_deref_mut() else {
            continue;
        };
        if event == Event::Continued {
            screen.leave();
        }
        show(subject, output, Some(screen))?;
    }
}

fn show(
    subject: &mut impl Subject,
    output: &mut Output,
    screen: Option<&mut Screen>,
) -> Result<(), Error> {
    if let Some(screen) = screen
        && let Some(size) = terminal::size()
    {
        let mut picture = Vec::new();
        output.style.width = Some(usize::from(size.columns));
        subject.picture(&mut picture, output.style, usize::from(size.rows))?;
        let picture = String::from_utf8_lossy(&picture);
        return Ok(screen.draw(&mut output.writer, size, &picture)?);
    }
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    match output.format {
        Format::Json => subject.json(&mut output.writer, &time)?,
        Format::Text => subject.text(&mut output.writer, &time)?,
    }
    Ok(output.writer.flush()?)
}
