//! Shared secrets of sessions: TCP MD5 signatures (RFC 2385) and TCP-AO keys (RFC 5925).

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::rule;

/// A secret: it is read from the file, and shown nowhere.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the socket option.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

/// One TCP-AO key (a Master Key Tuple of RFC 5925 §3.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct AoKey {
    /// The key's number in segments that we send (SendID).
    #[garde(skip)]
    pub send_id: u8,
    /// The key's number in segments from the peer (RecvID). Default: as `send_id`.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_id: Option<u8>,
    /// How traffic keys are derived and segments signed (RFC 5926). Default: `"hmac-sha-1-96"`.
    #[garde(skip)]
    #[serde(default)]
    pub algorithm: AoAlgorithm,
    /// The shared secret.
    #[garde(custom(rule::secret(&self.secret_file, "secret_file")), custom(rule::either(&self.secret_file)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Password>,
    /// File that holds the shared secret: its first line.
    #[garde(inner(custom(crate::config::paths::absolute)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
}

impl AoKey {
    /// The key's number in segments from the peer.
    pub fn received_as(&self) -> u8 {
        self.receive_id.unwrap_or(self.send_id)
    }
}

/// The algorithms that every implementation has (RFC 5926 §2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AoAlgorithm {
    /// KDF_HMAC_SHA1 and HMAC-SHA-1-96.
    #[default]
    #[serde(rename = "hmac-sha-1-96")]
    HmacSha1,
    /// KDF_AES_128_CMAC and AES-128-CMAC-96.
    #[serde(rename = "aes-128-cmac-96")]
    Aes128Cmac,
}
