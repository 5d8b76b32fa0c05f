//! What the command knows itself, as text and JSON; `rtops-render` has what is known of a dump. Nothing here
//! asks anybody anything.

mod figures_json;
pub mod info;
pub mod info_json;
pub mod list;
pub mod list_json;
mod memory_json;
pub mod memstats;
pub mod memstats_json;
pub mod rates;
mod rustc_json;
pub mod several;
mod sockets;
pub mod stats;
pub mod tree;
pub mod trim;
pub mod version;
pub mod version_json;
