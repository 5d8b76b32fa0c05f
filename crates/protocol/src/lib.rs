//! The protocol between the rtops agent and the `rtops` command, and the
//! path of the agent's socket.
//!
//! A conversation is short: the client connects to the agent's Unix socket, the agent sends a
//! [`Hello`], the client sends a [`Request`], and the agent answers with a stream of [`Reply`]
//! frames that ends with [`Reply::End`] or [`Reply::Refused`]. `docs/develop/protocol.md` describes
//! the bytes.
//!
//! Each side treats what the other sends as hostile: lengths are checked before anything is
//! allocated, and every error is a [`ProtocolError`], never a panic.
#![forbid(unsafe_code)]

mod build;
mod codec;
mod core_file;
mod error;
mod evidence;
mod frame;
mod hello;
mod memory;
mod message;
mod outside;
mod reply;
mod request;
mod shared;
mod socket_path;
mod untracked;

pub use build::{Build, Fact, Package};
pub use core_file::{Access, CoreHead, Sender, Signal};
pub use error::ProtocolError;
pub use evidence::{
    Call, Claim, ClaimMode, ClaimRole, EndedSite, HandleSeen, Resource, ResourceKind, Saved, Trace,
    TraceEnd, TraceId, TraceOrder, Visit,
};
pub use frame::{FrameKind, MAX_REPLY, MAX_REQUEST, WireFrame, read_frame, write_frame};
pub use hello::{Capabilities, Hello, cut};
pub use memory::{Allocator, Counted, Figure, Memory, SizeClass, TrimCall, Trimmed, Unit};
pub use message::{receive_message, send_message};
pub use outside::{NotAttached, Outside};
pub use reply::{
    Afterwards, End, Leaf, LeafEnd, Obtained, Process, Refusal, Refused, Reply, Runtime,
    RuntimeFlavor, SourceLocation, StackId, Stacks, Stats, StringId, Strings, Summary, Task,
    TaskKind, TaskState, Thread, ThreadCapture, Tracking, WakerState, Worker,
};
pub use request::{Ask, DumpRequest, HeapWalk, Request, StackParts};
pub use rtops_types::{Module, ModuleKind};
pub use shared::{OnRuntime, Party, Shared, SharedKind};
pub use socket_path::{SocketFile, directory_name, socket_directory};
pub use untracked::{FoundBy, Unresolved, Untracked, UntrackedLeaf, UntrackedState};

/// The kernel's name for an agent's thread that serves a client. The thread exists only during a
/// dump, and is not part of what the dump shows.
pub const CLIENT_THREAD: &str = "rtops-client";
/// The newest protocol version that this build speaks.
pub const VERSION: u16 = 1;
/// The oldest protocol version that this build speaks.
pub const OLDEST_VERSION: u16 = 1;
