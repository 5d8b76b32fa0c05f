//! What there is to say of untracked tasks where tokio is compiled out.

use std::{io::Write, time::Instant};

use rtops_protocol::{CopyOutcome, CopyReport, CopyRequest, ProtocolError, Reply};
use rtops_tasks::Probed;

use crate::{Host, collect::Collector, steps::Traces};

/// What came of the wish for a copy: nothing.
pub(super) struct FoundUntracked;

/// Makes no copy.
pub(super) fn find(
    _: &dyn Host,
    _: &mut Collector<'_>,
    _: CopyRequest,
    _: &[Probed],
    _: Instant,
) -> FoundUntracked {
    FoundUntracked
}

impl FoundUntracked {
    /// Says why there are no records.
    pub(super) fn send<'a>(
        &'a self,
        _: &mut Traces<'a>,
        client: &mut impl Write,
    ) -> Result<(), ProtocolError> {
        let why = "this agent was built without tokio";
        let report = CopyReport {
            outcome: CopyOutcome::Unsupported(why.to_owned()),
            pause_ns: 0,
            lived_ns: 0,
            tasks: 0,
            tracked: 0,
            stepped: 0,
        };
        Reply::CopyReport(report).send(client)
    }
}
