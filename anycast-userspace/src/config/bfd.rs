//! `[bgp.peers.bfd]`: how a peer's liveness is watched by BFD.
//!
//! It only describes; `crate::bfd` runs the sessions.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

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
    fn what_makes_no_sense_is_refused_by_name() {
        let table = [
            ("interval = \"9ms\"", "interval"),
            ("interval = \"61s\"", "interval"),
            ("transmit_interval = \"1ms\"", "transmit_interval"),
            ("receive_interval = \"0s\"", "receive_interval"),
            ("multiplier = 0", "multiplier"),
            ("minimum_ttl = 254", "minimum_ttl"),
            ("multihop = true\nminimum_ttl = 0", "minimum_ttl"),
        ];
        for (text, field) in table {
            let bfd: Bfd = toml::from_str(text).unwrap();
            let report = bfd.validate().expect_err(text).to_string();
            assert!(report.starts_with(field), "{text}: {report}");
        }
        assert!(toml::from_str::<Bfd>("intervall = \"50ms\"").is_err());
    }
}
