//! The sockets of a process: how many there are in each state, and who is at the other end.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use rtops_render::{
    section::{heading, section},
    style::{Paint, Style},
    table::{self, Column, Fit},
};
use rtops_report::{escape::escape, format};

use crate::proc::sockets::{Address, LISTEN, Protocol, Socket, Sockets};

const INDENT: &str = "  ";
/// How many groups to show.
const MAX_GROUPS: usize = 20;
/// A terminal with fewer columns has no room for both ends.
const ROOM_FOR_BOTH: usize = 60;

/// Which sockets to list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// Equal ones together, the most common first, and only some of them.
    Grouped,
    Each,
}

/// Prints a summary by state, then a table.
pub fn text(
    writer: &mut impl Write,
    style: Style,
    sockets: &Sockets,
    which: Which,
) -> io::Result<()> {
    let total = sockets.list.len().saturating_add(sockets.others);
    let title = format::count(total, "socket");
    if total == 0 {
        return heading(writer, style, "no sockets");
    }
    section(writer, style, &title, summary(sockets))?;
    if sockets.list.is_empty() {
        return Ok(());
    }
    writeln!(writer)?;
    match which {
        Which::Each => each(writer, style, &sockets.list),
        Which::Grouped => grouped(writer, style, &sockets.list),
    }
}

/// Counts the sockets in each state of each protocol.
pub fn by_state(list: &[Socket]) -> BTreeMap<(Protocol, &'static str), usize> {
    let mut states = BTreeMap::new();
    for socket in list {
        *states.entry((socket.protocol, socket.state)).or_default() += 1;
    }
    states
}

fn summary(sockets: &Sockets) -> Vec<(&'static str, String)> {
    let mut families: BTreeMap<Family, BTreeMap<&str, usize>> = BTreeMap::new();
    for ((protocol, state), count) in by_state(&sockets.list) {
        let states = families.entry(Family::of(protocol)).or_default();
        *states.entry(state).or_default() += count;
    }
    let mut lines: Vec<(&'static str, String)> = families
        .into_iter()
        .map(|(family, states)| {
            let mut states: Vec<_> = states.into_iter().collect();
            states.sort_by_key(|(state, count)| (*state != LISTEN, Reverse(*count)));
            let states = states
                .iter()
                .map(|(state, count)| format!("{count} {state}"));
            (family.name(), states.collect::<Vec<_>>().join(", "))
        })
        .collect();
    if sockets.others > 0 {
        let others = format!("{}, unbound or of another kind", sockets.others);
        lines.push(("others", others));
    }
    lines
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Family {
    Tcp,
    Udp,
    Unix,
}

impl Family {
    const fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp | Protocol::Tcp6 => Self::Tcp,
            Protocol::Udp | Protocol::Udp6 => Self::Udp,
            Protocol::UnixStream | Protocol::UnixDatagram | Protocol::UnixPackets => Self::Unix,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Unix => "Unix",
        }
    }
}

fn each(writer: &mut impl Write, style: Style, list: &[Socket]) -> io::Result<()> {
    let columns = [
        Column::new("FD", Fit::Text),
        Column::new("PROTOCOL", Fit::OptionalText(2)),
        Column::new("STATE", Fit::Text),
        Column::new("RECV-Q", Fit::OptionalNumber(0)),
        Column::new("SEND-Q", Fit::OptionalNumber(1)),
        Column::new("LOCAL", Fit::OptionalText(3)),
        Column::new("REMOTE OR PATH", Fit::Cut),
    ];
    let rows = list.iter().map(|socket| {
        let fds: Vec<String> = socket.fds.iter().map(ToString::to_string).collect();
        let queue = |level: Option<u32>| level.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let (local, remote) = Ends::of(socket).cells();
        vec![
            fds.join(","),
            socket.protocol.name().to_owned(),
            socket.state.to_owned(),
            queue(socket.queues.map(|queues| queues.receive)),
            queue(socket.queues.map(|queues| queues.send)),
            local,
            remote,
        ]
    });
    fitted(writer, style, &columns, rows.collect())
}

fn grouped(writer: &mut impl Write, style: Style, list: &[Socket]) -> io::Result<()> {
    let columns = [
        Column::new("COUNT", Fit::Number),
        Column::new("PROTOCOL", Fit::OptionalText(0)),
        Column::new("STATE", Fit::Text),
        Column::new("LOCAL", Fit::OptionalText(1)),
        Column::new("REMOTE OR PATH", Fit::Cut),
    ];
    let groups = groups(list);
    let rows = groups.iter().take(MAX_GROUPS).map(|group| {
        let (local, remote) = group.ends.cells();
        vec![
            group.count.to_string(),
            group.protocol.name().to_owned(),
            group.state.to_owned(),
            local,
            remote,
        ]
    });
    fitted(writer, style, &columns, rows.collect())?;
    match groups.len().saturating_sub(MAX_GROUPS) {
        0 => Ok(()),
        hidden => {
            let groups = format::count(hidden, "more group");
            let text = format!("({groups}; --sockets lists each)");
            writeln!(writer, "{INDENT}{}", style.paint(Paint::Faint, text))
        }
    }
}

/// Prints both ends if there is room for them, else the one that says more, in the last column.
fn fitted(
    writer: &mut impl Write,
    style: Style,
    columns: &[Column],
    mut rows: Vec<Vec<String>>,
) -> io::Result<()> {
    if style.width.is_none_or(|width| width >= ROOM_FOR_BOTH) {
        return table::write(writer, style, INDENT, columns, rows);
    }
    for row in &mut rows {
        if let Some(remote) = row.pop()
            && let Some(last) = row.last_mut()
            && remote != NOTHING
        {
            *last = remote;
        }
    }
    let kept = columns.len().saturating_sub(1);
    let mut columns: Vec<Column> = columns.iter().take(kept).copied().collect();
    if let Some(last) = columns.last_mut() {
        *last = Column::new("ADDRESS", Fit::Cut);
    }
    table::write(writer, style, INDENT, &columns, rows)
}

const NOTHING: &str = "-";

/// Sockets that differ at most in a meaningless port.
struct Group {
    count: usize,
    protocol: Protocol,
    state: &'static str,
    ends: Ends,
}

/// The two ends of a socket as they are shown.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Ends {
    local: Option<String>,
    remote: Option<String>,
    path: Option<String>,
}

impl Ends {
    fn of(socket: &Socket) -> Self {
        let mut ends = Self::default();
        match &socket.local {
            Some(Address::Internet(address)) => ends.local = Some(canonical(*address).to_string()),
            Some(Address::Path(path)) => ends.path = Some(path.clone()),
            None => {}
        }
        match &socket.remote {
            Some(Address::Internet(address)) => ends.remote = Some(canonical(*address).to_string()),
            Some(Address::Path(path)) => ends.path = Some(path.clone()),
            None => {}
        }
        ends
    }

    /// Returns the ends without the port that the system chose for the connecting side.
    fn of_many(socket: &Socket, listening: &HashSet<u16>) -> Self {
        let (Some(Address::Internet(local)), Some(Address::Internet(remote))) =
            (&socket.local, &socket.remote)
        else {
            return Self::of(socket);
        };
        let (local, remote) = (canonical(*local), canonical(*remote));
        let (local, remote) = if listening.contains(&local.port()) {
            (local.to_string(), host(remote.ip()))
        } else {
            (host(local.ip()), remote.to_string())
        };
        Self {
            local: Some(local),
            remote: Some(remote),
            path: None,
        }
    }

    fn cells(&self) -> (String, String) {
        let cell = |end: &Option<String>| {
            end.as_deref()
                .map_or_else(|| NOTHING.to_owned(), |end| escape(end).into_owned())
        };
        let far = if self.remote.is_some() {
            &self.remote
        } else {
            &self.path
        };
        (cell(&self.local), cell(far))
    }
}

/// Groups sockets: those that listen come first, then the largest groups.
fn groups(list: &[Socket]) -> Vec<Group> {
    let listening: HashSet<u16> = list
        .iter()
        .filter(|socket| socket.state == LISTEN)
        .filter_map(|socket| match &socket.local {
            Some(Address::Internet(address)) => Some(address.port()),
            _ => None,
        })
        .collect();
    let mut groups: BTreeMap<_, (usize, &Socket)> = BTreeMap::new();
    for socket in list {
        let ends = Ends::of_many(socket, &listening);
        let key = (socket.protocol, socket.state, ends);
        groups.entry(key).or_insert((0, socket)).0 += 1;
    }
    let group = |((protocol, state, ends), (count, socket)): (_, (usize, &Socket))| Group {
        count,
        protocol,
        state,
        // A single socket can be shown in full.
        ends: if count == 1 { Ends::of(socket) } else { ends },
    };
    let mut groups: Vec<Group> = groups.into_iter().map(group).collect();
    groups.sort_by_key(|group| (group.state != LISTEN, Reverse(group.count)));
    groups
}

/// Shows an IPv4 address that an IPv6 socket talks to as it looks elsewhere.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proc::sockets::Queues;

    fn tcp(state: &'static str, local: &str, remote: &str) -> Socket {
        let address = |text: &str| text.parse().ok().map(Address::Internet);
        Socket {
            fds: vec![5],
            protocol: Protocol::Tcp,
            state,
            local: address(local),
            remote: address(remote),
            queues: Some(Queues {
                receive: 0,
                send: 9,
            }),
        }
    }

    fn unix(path: &str) -> Socket {
        Socket {
            fds: vec![7, 8],
            protocol: Protocol::UnixStream,
            state: "connected",
            local: Some(Address::Path(path.to_owned())),
            remote: None,
            queues: None,
        }
    }

    fn sockets() -> Sockets {
        let mut list = vec![tcp(LISTEN, "0.0.0.0:8080", "")];
        for port in 0..30 {
            let remote = format!("10.0.0.{}:5{port:03}", 7 + port % 2);
            list.push(tcp("established", "10.0.0.1:8080", &remote));
        }
        for port in 0..3 {
            let local = format!("10.0.0.1:4{port:03}");
            list.push(tcp("established", &local, "10.0.0.9:5432"));
        }
        list.push(tcp("close-wait", "10.0.0.1:4999", "10.0.0.9:80"));
        list.push(unix("/run/gateway/with a long name\u{1b}[2J.sock"));
        Sockets { list, others: 2 }
    }

    fn shown(width: Option<usize>, which: Which) -> String {
        let mut style = Style::PLAIN;
        style.width = width;
        let mut written = Vec::new();
        text(&mut written, style, &sockets(), which).unwrap();
        let shown = String::from_utf8(written).unwrap();
        let fits = |line: &str| width.is_none_or(|width| line.chars().count() <= width);
        assert!(shown.lines().all(fits), "{shown}");
        shown
    }

    #[test]
    fn equal_sockets_are_grouped_in_a_file() {
        insta::assert_snapshot!(shown(None, Which::Grouped), @r"

        38 sockets
          TCP     1 listen, 33 established, 1 close-wait
          Unix    1 connected
          others  2, unbound or of another kind

          COUNT  PROTOCOL  STATE        LOCAL          REMOTE OR PATH
              1  tcp       listen       0.0.0.0:8080   -
             15  tcp       established  10.0.0.1:8080  10.0.0.7
             15  tcp       established  10.0.0.1:8080  10.0.0.8
              3  tcp       established  10.0.0.1       10.0.0.9:5432
              1  tcp       close-wait   10.0.0.1:4999  10.0.0.9:80
              1  unix      connected    -              /run/gateway/with a long name\u{1b}[2J.sock
        ");
    }

    #[test]
    fn eighty_columns_show_both_ends() {
        insta::assert_snapshot!(shown(Some(80), Which::Grouped), @r"

        38 sockets
          TCP     1 listen, 33 established, 1 close-wait
          Unix    1 connected
          others  2, unbound or of another kind

          COUNT  PROTOCOL  STATE        LOCAL          REMOTE OR PATH
              1  tcp       listen       0.0.0.0:8080   -
             15  tcp       established  10.0.0.1:8080  10.0.0.7
             15  tcp       established  10.0.0.1:8080  10.0.0.8
              3  tcp       established  10.0.0.1       10.0.0.9:5432
              1  tcp       close-wait   10.0.0.1:4999  10.0.0.9:80
              1  unix      connected    -              /run/gateway/with a long name\u{…
        ");
    }

    #[test]
    fn forty_columns_show_one_end() {
        insta::assert_snapshot!(shown(Some(40), Which::Grouped), @r"

        38 sockets
          TCP     1 listen, 33 established, 1
                  close-wait
          Unix    1 connected
          others  2, unbound or of another kind

          COUNT  STATE        ADDRESS
              1  listen       0.0.0.0:8080
             15  established  10.0.0.7
             15  established  10.0.0.8
              3  established  10.0.0.9:5432
              1  close-wait   10.0.0.9:80
              1  connected    /run/gateway/with…
        ");
    }

    #[test]
    fn each_socket_has_a_line_if_wanted() {
        let shown = shown(Some(80), Which::Each);
        assert_eq!(
            shown.lines().filter(|line| line.contains("tcp")).count(),
            35
        );
        let table = shown.lines().skip_while(|line| !line.contains("RECV-Q"));
        let ends: Vec<_> = table
            .enumerate()
            .filter(|(n, _)| !(2..33).contains(n))
            .collect();
        let ends: Vec<_> = ends.into_iter().map(|(_, line)| line).collect();
        insta::assert_snapshot!(ends.join("\n"), @r"
        FD   PROTOCOL  STATE        RECV-Q  SEND-Q  LOCAL          REMOTE OR PATH
        5    tcp       listen            0       9  0.0.0.0:8080   -
        5    tcp       established       0       9  10.0.0.1:4001  10.0.0.9:5432
        5    tcp       established       0       9  10.0.0.1:4002  10.0.0.9:5432
        5    tcp       close-wait        0       9  10.0.0.1:4999  10.0.0.9:80
        7,8  unix      connected         -       -  -              /run/gateway/with …
        ");
    }

    #[test]
    fn many_groups_are_cut_and_say_so() {
        let peers =
            (0..30).map(|peer| tcp("established", "10.0.0.1:1", &format!("10.1.0.{peer}:80")));
        let sockets = Sockets {
            list: peers.collect(),
            others: 0,
        };
        let mut written = Vec::new();
        text(&mut written, Style::PLAIN, &sockets, Which::Grouped).unwrap();
        let shown = String::from_utf8(written).unwrap();
        assert!(
            shown.ends_with("(10 more groups; --sockets lists each)\n"),
            "{shown}"
        );
    }

    #[test]
    fn addresses_look_the_same_from_either_kind_of_socket() {
        let mapped = "[::ffff:10.0.0.1]:80".parse().unwrap();
        assert_eq!(canonical(mapped).to_string(), "10.0.0.1:80");
        assert_eq!(host("fe80::1".parse().unwrap()), "[fe80::1]");
    }
}
