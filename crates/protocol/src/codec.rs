//! The only file that names bincode, so that another codec can take its place.
//!
//! Two rules keep decoding bounded. bincode checks a claimed length against the limit below before
//! it allocates. And no message has a list of zero-sized items: such a list takes no bytes and
//! could state any length.

use serde::{Serialize, de::DeserializeOwned};

use crate::{FrameKind, MAX_REPLY, ProtocolError};

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<{ MAX_REPLY as usize }>()
}

/// Encodes a body.
pub(crate) fn encode(kind: FrameKind, message: &impl Serialize) -> Result<Vec<u8>, ProtocolError> {
    bincode::serde::encode_to_vec(message, config()).map_err(|error| ProtocolError::Malformed {
        kind: kind.0,
        reason: error.to_string(),
    })
}

/// Decodes a body; bytes left over are an error.
pub(crate) fn decode<T: DeserializeOwned>(
    kind: FrameKind,
    body: &[u8],
) -> Result<T, ProtocolError> {
    let malformed = |reason: String| ProtocolError::Malformed {
        kind: kind.0,
        reason,
    };
    let (message, used) = bincode::serde::decode_from_slice(body, config())
        .map_err(|error| malformed(error.to_string()))?;
    if used != body.len() {
        return Err(malformed(format!("{} bytes too many", body.len() - used)));
    }
    Ok(message)
}
