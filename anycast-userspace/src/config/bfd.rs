//! `[bgp.peers.bfd]`: how a peer's liveness is watched by BFD.
//!
//! It only describes; `crate::bfd` runs the sessions.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use super::bgp::Password;

const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_INTERVAL: Span = Span::from_millis(50);
const DEFAULT_MULTIPLIER: u8 = 3;

/// Bidirectional Forwarding Detection towards a peer (RFC 5880, RFC 5882).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Bfd {
    /// Time between two packets in either direction, once the session is up (default `"50ms"`, `"10ms"` to
    /// `"60s"`). The slower of both systems sets the pace in each direction.
    #[garde(custom(sensible_interval))]
    #[serde(default = "default_interval")]
    pub interval: Span,
    /// The fastest that we send, where it differs from `interval`.
    #[garde(inner(custom(sensible_interval)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit_interval: Option<Span>,
    /// The fastest that the peer may send, where it differs from `interval`.
    #[garde(inner(custom(sensible_interval)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_interval: Option<Span>,
    /// How many of our intervals the peer waits before it takes us for dead (default 3).
    #[garde(range(min = 1))]
    #[serde(default = "default_multiplier")]
    pub multiplier: u8,
    /// The peer is not on the same link: UDP port 4784 (RFC 5883) instead of 3784 (default false).
    #[garde(skip)]
    #[serde(default)]
    pub multihop: bool,
    /// The least TTL or hop limit that a packet may arrive with: 255 minus the routers between. Only with
    /// `multihop`; without it a packet must arrive with 255 (RFC 5881, GTSM).
    #[garde(inner(range(min = 1)), custom(only_with(&self.multihop)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_ttl: Option<u8>,
    /// Send nothing until the peer was heard (default false). One side at least must not be passive.
    #[garde(skip)]
    #[serde(default)]
    pub passive: bool,
    /// Authenticate packets (RFC 5880 §6.7); both sides need the same. Default: none.
    #[garde(dive)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

/// The secret that both sides of a BFD session share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// `"simple"`, `"keyed-md5"`, `"meticulous-keyed-md5"`, `"keyed-sha1"` or `"meticulous-keyed-sha1"`.
    /// The meticulous ones never take a packet twice.
    #[garde(skip)]
    #[serde(rename = "type")]
    pub kind: AuthType,
    /// The key's number, 0 to 255 (default 1).
    #[garde(skip)]
    #[serde(default = "default_key_id")]
    pub key_id: u8,
    /// The secret: up to 16 octets, with SHA-1 up to 20.
    #[garde(custom(fitting_secret(self.kind, &self.secret_file)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Password>,
    /// File that holds the secret: its first line.
    #[garde(inner(custom(super::paths::absolute)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
}

/// How packets are authenticated (RFC 5880 §4.1, Auth Type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthType {
    /// The secret itself is sent: it protects against mistakes only.
    Simple,
    /// An MD5 digest of packet and secret.
    KeyedMd5,
    /// The same; the sequence number must grow with every packet.
    MeticulousKeyedMd5,
    /// A SHA-1 digest of packet and secret.
    KeyedSha1,
    /// The same; the sequence number must grow with every packet.
    MeticulousKeyedSha1,
}

impl AuthType {
    /// The number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Simple => 1,
            Self::KeyedMd5 => 2,
            Self::MeticulousKeyedMd5 => 3,
            Self::KeyedSha1 => 4,
            Self::MeticulousKeyedSha1 => 5,
        }
    }

    /// The most octets that a secret may have.
    pub const fn longest_secret(self) -> usize {
        match self {
            Self::Simple | Self::KeyedMd5 | Self::MeticulousKeyedMd5 => 16,
            Self::KeyedSha1 | Self::MeticulousKeyedSha1 => 20,
        }
    }

    /// Whether a sequence number is never taken twice.
    pub const fn is_meticulous(self) -> bool {
        match self {
            Self::MeticulousKeyedMd5 | Self::MeticulousKeyedSha1 => true,
            Self::Simple | Self::KeyedMd5 | Self::KeyedSha1 => false,
        }
    }
}

impl fmt::Display for AuthType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simple => "simple password",
            Self::KeyedMd5 => "keyed MD5",
            Self::MeticulousKeyedMd5 => "meticulous keyed MD5",
            Self::KeyedSha1 => "keyed SHA-1",
            Self::MeticulousKeyedSha1 => "meticulous keyed SHA-1",
        })
    }
}

impl Default for Bfd {
    fn default() -> Self {
        Self {
            interval: DEFAULT_INTERVAL,
            transmit_interval: None,
            receive_interval: None,
            multiplier: DEFAULT_MULTIPLIER,
            multihop: false,
            minimum_ttl: None,
            passive: false,
            auth: None,
        }
    }
}

impl Bfd {
    /// The fastest that we send.
    pub fn transmit(&self) -> Duration {
        self.transmit_interval.unwrap_or(self.interval).0
    }

    /// The fastest that the peer may send.
    pub fn receive(&self) -> Duration {
        self.receive_interval.unwrap_or(self.interval).0
    }
}

fn default_interval() -> Span {
    DEFAULT_INTERVAL
}

fn default_key_id() -> u8 {
    1
}

fn default_multiplier() -> u8 {
    DEFAULT_MULTIPLIER
}

fn sensible_interval<C>(interval: &Span, _: &C) -> garde::Result {
    if (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval.0) {
        return Ok(());
    }
    Err(garde::Error::new(format!(
        "{interval} is not between {} and {}",
        Span(SHORTEST_INTERVAL),
        Span(LONGEST_INTERVAL)
    )))
}

fn fitting_secret<C>(
    kind: AuthType,
    file: &Option<PathBuf>,
) -> impl FnOnce(&Option<Password>, &C) -> garde::Result {
    let has_file = file.is_some();
    move |secret, _| {
        let most = kind.longest_secret();
        match secret {
            None if !has_file => Err(garde::Error::new("is missing, and so is `secret_file`")),
            Some(_) if has_file => Err(garde::Error::new("is given twice: also by `secret_file`")),
            Some(secret) if !(1..=most).contains(&secret.reveal().len()) => Err(garde::Error::new(
                format!("must have 1 to {most} octets for {kind}"),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

fn only_with<C>(multihop: &bool) -> impl FnOnce(&Option<u8>, &C) -> garde::Result {
    let multihop = *multihop;
    move |minimum, _| match minimum {
        Some(_) if !multihop => Err(garde::Error::new(
            "needs `multihop = true`: a peer on the same link must arrive with 255",
        )),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use garde::Validate as _;

    use super::*;

    #[test]
    fn an_empty_section_means_50_ms_times_3_on_the_same_link() {
        let bfd: Bfd = toml::from_str("").unwrap();
        assert_eq!(bfd, Bfd::default());
        assert!(bfd.validate().is_ok());
        assert_eq!(
            (bfd.transmit(), bfd.receive()),
            (bfd.interval.0, bfd.interval.0)
        );
    }

    #[test]
    fn each_direction_may_have_its_own_interval() {
        let text = "transmit_interval = \"100ms\"\nreceive_interval = \"300ms\"";
        let bfd: Bfd = toml::from_str(text).unwrap();
        assert_eq!(bfd.transmit(), Duration::from_millis(100));
        assert_eq!(bfd.receive(), Duration::from_millis(300));
    }

    #[test]
    fn a_secret_may_be_here_or_in_a_file_and_is_not_shown() {
        for secret in ["secret = \"sesame\"", "secret_file = \"/etc/anycast/bfd\""] {
            let text = format!("[auth]\ntype = \"meticulous-keyed-sha1\"\n{secret}");
            let bfd: Bfd = toml::from_str(&text).unwrap();
            bfd.validate().unwrap();
            assert!(!format!("{bfd:?}").contains("sesame"));
            assert_eq!(bfd.auth.unwrap().key_id, 1);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let table = [
            ("interval = \"9ms\"", "interval"),
            ("interval = \"61s\"", "interval"),
            ("transmit_interval = \"1ms\"", "transmit_interval"),
            ("receive_interval = \"0s\"", "receive_interval"),
            ("multiplier = 0", "multiplier"),
            ("minimum_ttl = 254", "minimum_ttl"),
            ("multihop = true\nminimum_ttl = 0", "minimum_ttl"),
            ("[auth]\ntype = \"simple\"", "auth.secret"),
            ("[auth]\ntype = \"simple\"\nsecret = \"\"", "auth.secret"),
            (
                "[auth]\ntype = \"keyed-md5\"\nsecret = \"seventeen octets.\"",
                "auth.secret",
            ),
            (
                "[auth]\ntype = \"keyed-sha1\"\nsecret = \"x\"\nsecret_file = \"/x\"",
                "auth.secret",
            ),
        ];
        for (text, field) in table {
            let bfd: Bfd = toml::from_str(text).unwrap();
            let report = bfd.validate().expect_err(text).to_string();
            assert!(report.starts_with(field), "{text}: {report}");
        }
        assert!(toml::from_str::<Bfd>("intervall = \"50ms\"").is_err());
    }
}
