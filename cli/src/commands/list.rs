//! `rtops list`: every process that has an agent.

use std::{
    io::{self, Write},
    mem,
    time::Duration,
};

use rtops_protocol::{FrameKind, ProtocolError, Refused, Reply, Request, Summary};
use rtops_report::{
    format,
    style::{Paint, Style},
};

use super::{
    Format, Output,
    watch::{Subject, watch},
};
use crate::{
    args::{ListArgs, OutputArgs, Pace},
    client::Session,
    error::Error,
    process::Reader,
    render::{
        self,
        list::{Row, State},
    },
    survey::{Answer, survey},
};

/// How often to look while watching, unless the user says it.
const PACE: Duration = Duration::from_secs(2);

/// What an agent says when it is asked for its line of the list.
enum Said {
    Summary(Summary),
    Refused(Refused),
}

/// Prints a line for each agent, once or again and again.
///
/// # Errors
/// When `/proc` can't be read or the output can't be written.
pub fn run(args: &ListArgs, output: &OutputArgs) -> Result<(), Error> {
    if let Some(pace) = args.watch.pace(PACE)? {
        let mut list = Watched {
            pace,
            rows: Vec::new(),
            printed: false,
        };
        return watch(&mut list, pace, output);
    }
    let rows = rows()?;
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => render::list::json(&mut output.writer, &rows)?,
        Format::Text => render::list::text(&mut output.writer, output.style, &rows)?,
    }
    Ok(output.writer.flush()?)
}

/// The list as it is now.
struct Watched {
    pace: Pace,
    rows: Vec<Row>,
    printed: bool,
}

impl Subject for Watched {
    fn look(&mut self) -> Result<(), Error> {
        self.rows = rows()?;
        Ok(())
    }

    fn picture(&self, writer: &mut Vec<u8>, style: Style) -> io::Result<()> {
        let interval = format::duration(self.pace.interval);
        let head = format!("{} processes, every {interval}", self.rows.len());
        writeln!(writer, "{}\n", style.paint(Paint::Faint, head))?;
        render::list::text(writer, style, &self.rows)
    }

    fn text(&mut self, writer: &mut dyn Write, time: &str) -> io::Result<()> {
        if mem::replace(&mut self.printed, true) {
            writeln!(writer)?;
        }
        writeln!(writer, "{time}")?;
        render::list::text(writer, Style::PLAIN, &self.rows)
    }

    fn json(&self, writer: &mut dyn Write, time: &str) -> io::Result<()> {
        render::list::json_line(writer, time, &self.rows)
    }
}

/// Asks all agents at once.
fn rows() -> Result<Vec<Row>, Error> {
    let reader = Reader::new()?;
    let rows = survey(ask)?.into_iter().filter_map(|surveyed| {
        // A process that ended meanwhile is not listed.
        let figures = reader.figures(surveyed.pid)?;
        let mut row = Row {
            name: figures.name.clone(),
            figures,
            agent_version: None,
            state: State::NotAnswering,
        };
        match surveyed.answer {
            Answer::Silent => {}
            Answer::Wrong(error) => row.state = wrong(error)?,
            Answer::Given(hello, said) => {
                row.name = hello.name;
                row.agent_version = Some(hello.agent_version);
                row.state = match said {
                    Said::Summary(summary) => State::Answering(summary),
                    Said::Refused(refused) => State::Refused(refused.why),
                };
            }
        }
        Some(row)
    });
    Ok(rows.collect())
}

fn ask(session: &mut Session) -> Result<Said, ProtocolError> {
    session.ask(&Request::Summary)?;
    loop {
        match session.next()? {
            Reply::Summary(summary) => return Ok(Said::Summary(summary)),
            Reply::Refused(refused) => return Ok(Said::Refused(refused)),
            Reply::End(_) => {
                return Err(ProtocolError::Unexpected(FrameKind::END.0));
            }
            _ => {}
        }
    }
}

/// `None` where the other side is no agent at all, so that it does not belong into the list.
fn wrong(error: ProtocolError) -> Option<State> {
    match error {
        ProtocolError::Version { newest, .. } => Some(State::OtherVersion(newest)),
        ProtocolError::NotRtops => None,
        _ => Some(State::Broken),
    }
}
