//! The table of Unix sockets, read with suspicion: a name may contain spaces, line breaks and
//! whatever else its owner put there, and the kernel prints it as it is.

use std::{
    collections::{HashMap, HashSet},
    io::BufRead,
};

use procfs::{ProcResult, process::Process};

use super::{
    proc_files::open_table,
    sockets::{Address, LISTEN, Protocol, Socket},
};

/// The flag of a listening socket, `__SO_ACCEPTCON` in the kernel.
const ACCEPTS: u32 = 0x1_0000;

/// Returns the sockets in the process's network namespace, with their inodes.
///
/// # Errors
/// If the table can't be read.
pub fn of(process: &Process) -> ProcResult<Vec<(u64, Socket)>> {
    read(open_table(process, "unix")?).map_err(procfs::ProcError::from)
}

fn read(table: impl BufRead) -> std::io::Result<Vec<(u64, Socket)>> {
    let mut sockets: HashMap<u64, Socket> = HashMap::new();
    let mut forged = HashSet::new();
    for line in table.split(b'\n') {
        // A line that can't belong to the table is the rest of a name.
        if let Some((inode, socket)) = parse(&String::from_utf8_lossy(&line?))
            && sockets.insert(inode, socket).is_some()
        {
            forged.insert(inode);
        }
    }
    // If an inode has two lines, a name forged one of them, and it is unknown which.
    for inode in forged {
        if let Some(socket) = sockets.get_mut(&inode) {
            socket.local = None;
            socket.state = "unknown";
        }
    }
    Ok(sockets.into_iter().collect())
}

/// Parses `address: users protocol flags type state inode [name]`, all hexadecimal but the inode.
fn parse(line: &str) -> Option<(u64, Socket)> {
    let (address, rest) = line.split_once(": ")?;
    if !address.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut rest = rest;
    let mut field = || {
        let (field, tail) = rest
            .trim_start()
            .split_once(' ')
            .unwrap_or((rest.trim_start(), ""));
        rest = tail;
        field
    };
    let mut hexadecimal = || u32::from_str_radix(field(), 16).ok();
    let (_users, _protocol) = (hexadecimal()?, hexadecimal()?);
    let (flags, kind, state) = (hexadecimal()?, hexadecimal()?, hexadecimal()?);
    let inode = field().parse().ok()?;
    let protocol = match kind {
        1 => Protocol::UnixStream,
        2 => Protocol::UnixDatagram,
        5 => Protocol::UnixPackets,
        _ => return None,
    };
    let state = match state {
        1 if flags & ACCEPTS != 0 => LISTEN,
        1 => "unconnected",
        2 => "connecting",
        3 => "connected",
        4 => "disconnecting",
        _ => return None,
    };
    Some((
        inode,
        Socket {
            fds: Vec::new(),
            protocol,
            state,
            local: (!rest.is_empty()).then(|| Address::Path(rest.to_owned())),
            remote: None,
            queues: None,
        },
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEADER: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n";

    fn read_text(lines: &str) -> Vec<(u64, &'static str, Option<Address>)> {
        let mut read: Vec<_> = read(format!("{HEADER}{lines}").as_bytes())
            .unwrap()
            .into_iter()
            .map(|(inode, socket)| (inode, socket.state, socket.local))
            .collect();
        read.sort();
        read
    }

    fn path(path: &str) -> Option<Address> {
        Some(Address::Path(path.to_owned()))
    }

    #[test]
    fn the_lines_of_the_kernel_are_read() {
        let lines = "\
0000000000000000: 00000002 00000000 00010000 0001 01  1234 /run/a path
0000000000000000: 00000003 00000000 00000000 0001 03 123456 @abstract
0000000000000000: 00000003 00000000 00000000 0002 01    77
";
        assert_eq!(
            read_text(lines),
            [
                (77, "unconnected", None),
                (1234, "listen", path("/run/a path")),
                (123_456, "connected", path("@abstract")),
            ]
        );
    }

    #[test]
    fn a_name_with_line_breaks_spoils_no_other_line() {
        let lines = "\
0000000000000000: 00000002 00000000 00010000 0001 01 1 /x
rest: of 00000002 the name

0: zz
0000000000000000: 00000002 00000000 00010000 0001 01 2 /y
";
        assert_eq!(
            read_text(lines),
            [(1, "listen", path("/x")), (2, "listen", path("/y"))]
        );
    }

    #[test]
    fn a_forged_line_is_not_believed() {
        let lines = "\
0000000000000000: 00000002 00000000 00010000 0001 01 1 /real
0000000000000000: 00000003 00000000 00000000 0001 03 1 /forged
";
        assert_eq!(read_text(lines), [(1, "unknown", None)]);
    }
}
