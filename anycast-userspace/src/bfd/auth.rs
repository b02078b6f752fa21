//! Authentication of control packets (RFC 5880 §4.2 to §4.4 and §6.7): the section that goes with our
//! packets, and the check of the peer's.
//!
//! Pure: `now` is an argument, and a packet is octets. It never changes a session; what fails its check is
//! for the caller to discard and count.

use std::fmt;
use std::time::{Duration, Instant};

use md5::Md5;
use sha1::{Digest as _, Sha1};
use thiserror::Error;

use super::packet::{Control, LEN, Parsed};
use crate::config::bfd::AuthType;

/// Octets of type, length and key id, which every section begins with.
const HEAD: usize = 3;
/// Where a digest begins in its section: after the head, a reserved octet and the sequence number.
const DIGEST_AT: usize = 8;
/// Octets of a digest.
const MD5_LEN: usize = 16;
const SHA1_LEN: usize = 20;

/// A shared secret, and how it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    kind: AuthType,
    id: u8,
    secret: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {} (hidden)", self.kind, self.id)
    }
}

/// A secret that the type of authentication cannot use.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the secret has {length} octets: {kind} takes 1 to {most}")]
pub struct KeyError {
    kind: AuthType,
    length: usize,
    most: usize,
}

impl Key {
    /// A key of 1 to 16 octets, or 20 for SHA-1.
    ///
    /// # Errors
    /// The secret is empty or too long.
    pub fn new(kind: AuthType, id: u8, secret: &[u8]) -> Result<Self, KeyError> {
        let (length, most) = (secret.len(), kind.longest_secret());
        if !(1..=most).contains(&length) {
            return Err(KeyError { kind, length, most });
        }
        Ok(Self {
            kind,
            id,
            secret: secret.to_vec(),
        })
    }

    /// How it is used.
    pub fn kind(&self) -> AuthType {
        self.kind
    }

    /// Octets of the section (RFC 5880 §4.2 to §4.4).
    fn section_len(&self) -> usize {
        match self.kind {
            AuthType::Simple => HEAD + self.secret.len(),
            AuthType::KeyedMd5 | AuthType::MeticulousKeyedMd5 => DIGEST_AT + MD5_LEN,
            AuthType::KeyedSha1 | AuthType::MeticulousKeyedSha1 => DIGEST_AT + SHA1_LEN,
        }
    }

    /// The digest of a packet in whose place for it anything may stand (RFC 5880 §6.7.3, §6.7.4).
    fn digest(&self, packet: &[u8]) -> Vec<u8> {
        let mut octets = packet.to_vec();
        let place = &mut octets[LEN + DIGEST_AT..];
        place.fill(0);
        place[..self.secret.len()].copy_from_slice(&self.secret);
        match self.kind {
            AuthType::KeyedMd5 | AuthType::MeticulousKeyedMd5 => Md5::digest(&octets).to_vec(),
            AuthType::KeyedSha1 | AuthType::MeticulousKeyedSha1 => Sha1::digest(&octets).to_vec(),
            AuthType::Simple => Vec::new(),
        }
    }
}

/// Why a packet is discarded (RFC 5880 §6.7 and §6.8.6).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AuthError {
    /// The A bit is set, and this session uses no authentication.
    #[error("the peer authenticates its packets, and no key is configured here")]
    Unexpected,
    /// The A bit is clear, and this session uses authentication.
    #[error("the peer does not authenticate its packets")]
    Missing,
    /// Another type than ours.
    #[error("the peer uses authentication type {0}")]
    Type(u8),
    /// Another key id than ours.
    #[error("the peer uses key id {0}")]
    KeyId(u8),
    /// The section has not the length of its type.
    #[error("an authentication section of {0} octets")]
    Length(usize),
    /// Played again, or lost track of.
    #[error("sequence number {got} after {last}")]
    Sequence {
        /// What the packet says.
        got: u32,
        /// The last that was accepted.
        last: u32,
    },
    /// The password or the digest is wrong.
    #[error("the peer has another secret, or the packet was changed on its way")]
    Secret,
}

/// The peer's sequence numbers.
#[derive(Clone, Copy, Debug)]
struct Received {
    sequence: u32,
    /// After twice the Detection Time in silence any number is taken (RFC 5880 §6.8.1, bfd.AuthSeqKnown).
    forgotten_at: Instant,
}

/// The authentication of one session, in both directions.
#[derive(Debug)]
pub struct Authenticator {
    key: Option<Key>,
    /// bfd.XmitAuthSeq: of the next packet.
    sequence: u32,
    received: Option<Received>,
}

impl Authenticator {
    /// `sequence` is random (RFC 5880 §6.8.1).
    pub fn new(key: Option<Key>, sequence: u32) -> Self {
        Self {
            key,
            sequence,
            received: None,
        }
    }

    /// The type in use.
    pub fn kind(&self) -> Option<AuthType> {
        self.key.as_ref().map(Key::kind)
    }

    /// The octets of a packet, with its authentication section if one is in use. The sequence number grows
    /// with every packet, which the types that are not meticulous allow (RFC 5880 §6.7.3).
    pub fn encode(&mut self, packet: &Control) -> Vec<u8> {
        let Some(key) = &self.key else {
            return packet.encode().to_vec();
        };
        let mut octets = packet.encode_with_auth(key.section_len());
        octets.extend([key.kind.code(), section_octet(key.section_len()), key.id]);
        match key.kind {
            AuthType::Simple => octets.extend_from_slice(&key.secret),
            AuthType::KeyedMd5
            | AuthType::MeticulousKeyedMd5
            | AuthType::KeyedSha1
            | AuthType::MeticulousKeyedSha1 => {
                octets.push(0);
                octets.extend_from_slice(&self.sequence.to_be_bytes());
                octets.resize(LEN + key.section_len(), 0);
                let digest = key.digest(&octets);
                octets[LEN + DIGEST_AT..].copy_from_slice(&digest);
                self.sequence = self.sequence.wrapping_add(1);
            }
        }
        octets
    }

    /// Whether a packet of the peer may be used. `detection_time`: what it will be once it is.
    ///
    /// # Errors
    /// Why it must be discarded.
    pub fn check(
        &mut self,
        parsed: &Parsed<'_>,
        detection_time: Duration,
        now: Instant,
    ) -> Result<(), AuthError> {
        let (key, section) = match (&self.key, parsed.authentication) {
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(AuthError::Unexpected),
            (Some(_), None) => return Err(AuthError::Missing),
            (Some(key), Some(section)) => (key, section),
        };
        let [kind, length, id, ..] = *section else {
            return Err(AuthError::Length(section.len()));
        };
        if kind != key.kind.code() {
            return Err(AuthError::Type(kind));
        }
        if usize::from(length) != section.len() {
            return Err(AuthError::Length(length.into()));
        }
        if id != key.id {
            return Err(AuthError::KeyId(id));
        }
        // The peer's password may have another length; of a digest, every octet counts.
        if key.kind == AuthType::Simple {
            let same = same_octets(&section[HEAD..], &key.secret);
            return same.then_some(()).ok_or(AuthError::Secret);
        }
        if section.len() != key.section_len() {
            return Err(AuthError::Length(section.len()));
        }
        let sequence = u32::from_be_bytes([section[4], section[5], section[6], section[7]]);
        if let Some(received) = self.received.filter(|received| now < received.forgotten_at) {
            let window = 3 * u32::from(parsed.control.multiplier.get());
            in_order(key.kind, sequence, received.sequence, window)?;
        }
        if !same_octets(&section[DIGEST_AT..], &key.digest(parsed.packet)) {
            return Err(AuthError::Secret);
        }
        // DEVIATION: RFC 5880 §6.7.3 takes the first number before it looks at the digest; then anybody
        // could shut the peer out with one packet.
        self.received = Some(Received {
            sequence,
            forgotten_at: now + 2 * detection_time,
        });
        Ok(())
    }
}

/// RFC 5880 §6.7.3 and §6.7.4, on a circle of 32 bits.
fn in_order(kind: AuthType, got: u32, last: u32, window: u32) -> Result<(), AuthError> {
    let ahead = got.wrapping_sub(last);
    let least = u32::from(kind.is_meticulous());
    if (least..=window).contains(&ahead) {
        return Ok(());
    }
    Err(AuthError::Sequence { got, last })
}

/// Takes as long wherever the first difference is.
fn same_octets(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && difference == 0
}

/// The length of a section as its second octet carries it: at most 28.
fn section_octet(length: usize) -> u8 {
    u8::try_from(length).expect("a section is shorter than 256 octets")
}

#[cfg(test)]
mod tests;
