//! Clients that may trace this process where the kernel would allow only its ancestors,
//! as with Yama's default.
#![expect(unsafe_code, reason = "prctl")]

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::{descriptor::Kept, listener::Stream};

/// The processes of the clients that may trace, latest last: the kernel remembers only one.
static ADMITTED: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Lets a client's process trace this one until it is dropped.
pub(crate) struct Admitted(i32);

impl Admitted {
    /// Lets the client at the other end trace this process, if it has a PID here. A client in
    /// another PID namespace may have none.
    ///
    /// # Errors
    /// If the service has closed the connection.
    pub(crate) fn admit(stream: &Kept<Stream>) -> io::Result<Self> {
        let peer = getsockopt(stream.get()?, PeerCredentials);
        let pid = peer.map_or(0, |peer| peer.pid());
        if pid > 0 {
            let mut admitted = admitted();
            admitted.push(pid);
            set(pid);
        }
        Ok(Self(pid))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.0 > 0 {
            let mut admitted = admitted();
            if let Some(place) = admitted.iter().rposition(|pid| *pid == self.0) {
                admitted.remove(place);
            }
            set(admitted.last().copied().unwrap_or(0));
        }
    }
}

fn admitted() -> MutexGuard<'static, Vec<i32>> {
    ADMITTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names the process that may trace this one; 0 for none.
fn set(pid: i32) {
    let pid = libc::c_ulong::try_from(pid).unwrap_or(0);
    // SAFETY: this option takes a number and touches no memory. A kernel without Yama does not know
    // it and refuses nobody, so an error is as good as success.
    let _no_yama = unsafe { libc::prctl(libc::PR_SET_PTRACER, pid, 0, 0, 0) };
}
