//! Leaks that well-known Go projects had.
//!
//! Each reproduces a public bug: who holds what and who waits for whom is taken from its
//! description in the GoBench collection (`GoKer`, blocking bugs) and in the pull request of that
//! number. The code is new, and as small as the bug allows.

pub(crate) mod cockroach;
pub(crate) mod etcd;
pub(crate) mod grpc;
pub(crate) mod hugo;
pub(crate) mod istio;
pub(crate) mod kubernetes;
pub(crate) mod moby;
pub(crate) mod serving;
pub(crate) mod syncthing;
