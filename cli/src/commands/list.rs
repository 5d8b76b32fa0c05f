//! `rtops list`: every process that has an agent.

use std::io::Write;

use rtops_protocol::{FrameKind, ProtocolError, Refused, Reply, Request, Summary};

use super::{Format, Output};
use crate::{
    args::OutputArgs,
    client::Session,
    error::Error,
    process::Reader,
    render::{
        self,
        list::{Row, State},
    },
    survey::{Answer, survey},
};

/// What an agent says when it is asked for its line of the list.
enum Said {
    Summary(Summary),
    Refused(Refused),
}

/// Asks all agents at once and prints a line for each.
///
/// # Errors
/// When `/proc` can't be read or the output can't be written.
pub fn run(args: &OutputArgs) -> Result<(), Error> {
    let reader = Reader::new()?;
    let rows: Vec<Row> = survey(ask)?
        .into_iter()
        .filter_map(|surveyed| {
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
        })
        .collect();
    let mut output = Output::open(args)?;
    match output.format {
        Format::Json => render::list::json(&mut output.writer, &rows)?,
        Format::Text => render::list::text(&mut output.writer, output.style, &rows)?,
    }
    Ok(output.writer.flush()?)
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
