//! Finds what a connection is about among everything that it waits for.

use std::borrow::Cow;

use rtops_symbols::Serving;

use crate::{group::TaskGroup, tree::Chain};

impl TaskGroup<'_> {
    /// Returns the chains that show what the tasks are about. Connections also wait for a hang-up,
    /// a shutdown and, while they serve a request, for the next one.
    pub fn telling(&self) -> Cow<'_, [Chain]> {
        let is_aside = |serves: bool| {
            move |chain: &Chain| chain.wait.is_some_and(|wait| wait.is_aside(serves))
        };
        if !self.chains.iter().any(is_aside(true)) {
            return Cow::Borrowed(&self.chains);
        }
        let is_aside = is_aside(self.serving().is_some());
        // A chain for which the connection registered nothing does not count either.
        let tells = |chain: &&Chain| chain.wait.is_some() && !is_aside(chain);
        let telling: Vec<Chain> = self.chains.iter().filter(tells).cloned().collect();
        match telling.is_empty() {
            true => Cow::Borrowed(&self.chains),
            false => Cow::Owned(telling),
        }
    }

    /// Returns what is done for a request, if these are tasks of a server that is serving one.
    pub fn serving(&self) -> Option<Serving> {
        let mut chains = self.chains.iter();
        chains.find_map(|chain| {
            let is_aside = chain.wait.is_none_or(|wait| wait.is_aside(true));
            chain.serving.filter(|_| !is_aside)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{End, Reply, Stacks, Strings};
    use rtops_symbols::WaitReason;

    use super::*;
    use crate::{
        dump::fixtures::{receive, task},
        frames::fixtures::frames,
        group::group_tasks,
        selection::{Grouping, Selection},
        task::TaskKey,
    };

    #[test]
    fn a_connection_that_serves_waits_for_what_the_request_waits_for() {
        const READ: &str =
            "tokio::net::tcp::stream::TcpStream::poll_read hyper::proto::h1::conn::Conn";
        const DISPATCH: &str = "hyper::proto::h1::dispatch::Dispatcher";
        let stacks = [
            format!("{READ}::poll_read_head {DISPATCH}::poll_read serve"),
            format!("{READ}::mid_message_detect_eof {DISPATCH}::poll_read serve"),
            format!(
                "tokio::time::sleep::Sleep::poll shop::order \
                 hyper::proto::h1::dispatch::Server::poll_msg {DISPATCH}::poll_write serve"
            ),
            "tokio::sync::notify::Notified::poll tokio::sync::watch::Sender::closed \
             axum::serve::handle_connection serve"
                .to_owned(),
        ];
        let stacks: Vec<&str> = stacks.iter().map(String::as_str).collect();
        let dump = receive(vec![
            Reply::Strings(Strings(vec!["conn".to_owned()])),
            Reply::Stacks(Stacks((1..=4).map(|number| vec![number]).collect())),
            Reply::Tasks(vec![task(1, 1, &[0, 3]), task(2, 1, &[1, 2, 3])]),
            Reply::End(End { gaps: Vec::new() }),
        ])
        .unwrap();
        let everything = Selection::default();
        let groups = group_tasks(&dump, &frames(&stacks), &everything, Grouping::Equal);
        let told = |group: &TaskGroup| (group.waits(), group.serving(), group.is_idle());
        let of = |id: u64| {
            let is_it = |group: &&TaskGroup| {
                group
                    .tasks
                    .iter()
                    .any(|task| task.key == TaskKey::Tracked(id))
            };
            told(groups.iter().find(is_it).unwrap())
        };
        assert_eq!(of(1), (vec![WaitReason::Request], None, true));
        let serves = (vec![WaitReason::Sleep], Some(Serving::Handler), false);
        assert_eq!(of(2), serves);
    }
}
