//! Clients that may trace this process where the kernel would let only its ancestors do so, as Yama's
//! default has it.
#![expect(unsafe_code, reason = "prctl")]

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::{descriptor::Kept, listener::Stream};

/// The processes of the clients that may, the latest last: the kernel remembers one.
static ADMITTED: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// A client's process may trace this one until this is dropped.
pub(crate) struct Admitted(i32);

impl Admitted {
    /// Lets the client at the other end trace this process, if it can be named: that of another PID
    /// namespace may have no number here.
    ///
    /// # Errors
    /// When the service has closed the connection.
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

/// Names the process that may trace this one; 0 is none.
fn set(pid: i32) {
    let pid = libc::c_ulong::try_from(pid).unwrap_or(0);
    // SAFETY: this option takes a number and touches no memory. A kernel without Yama does not know it and
    // refuses nobody, so an error is as good as success.
    let _no_yama = unsafe { libc::prctl(libc::PR_SET_PTRACER, pid, 0, 0, 0) };
}
