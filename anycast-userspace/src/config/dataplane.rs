//! `[dataplane]`, and what a service's configuration says about packets.

mod port;
mod prefix;

use std::num::NonZeroU32;
use std::path::PathBuf;

use anycast_common::abi::Limit;
use garde::Validate;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::interface_name;
pub use port::{Port, Transport};
pub use prefix::{network, prefix, prefixes};

/// Where the XDP program runs, and how large its tables are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct DataPlane {
    /// Interfaces whose received packets are judged, such as `["eth0"]`.
    #[garde(
        length(min = 1),
        inner(length(min = 1, max = 15), custom(interface_name)),
        custom(no_repetition)
    )]
    pub interfaces: Vec<String>,
    /// Native runs in the driver, generic in the stack; `"auto"` takes generic where the driver has no
    /// native mode, and says so. Default: `"auto"`.
    #[garde(skip)]
    #[serde(default)]
    pub mode: Mode,
    /// Directory of the pinned maps, on a bpf file system. Default: `"/sys/fs/bpf/anycast"`.
    #[garde(custom(super::paths::absolute))]
    #[serde(default = "default_pin")]
    pub pin: PathBuf,
    /// Room for Service Addresses, for each of IPv4 and IPv6. Default: 65536.
    #[garde(range(min = 1, max = 16_777_216))]
    #[serde(default = "default_max_addresses")]
    pub max_addresses: u32,
    /// Room for services. Default: 256.
    #[garde(range(min = 1, max = 65_535))]
    #[serde(default = "default_max_services")]
    pub max_services: u32,
    /// Sources that are never denied, such as `["10.0.0.0/8"]`: what is allowed wins over what is denied.
    #[garde(inner(custom(network)))]
    #[serde(
        default,
        deserialize_with = "prefixes",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub allow: Vec<IpNet>,
    /// Sources whose packets to any Service Address are dropped.
    #[garde(inner(custom(network)))]
    #[serde(
        default,
        deserialize_with = "prefixes",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub deny: Vec<IpNet>,
    /// Sources that no source limit applies to.
    #[garde(inner(custom(network)))]
    #[serde(
        default,
        deserialize_with = "prefixes",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exempt: Vec<IpNet>,
    /// Room for listed prefixes, for each of IPv4 and IPv6. Default: 65536.
    #[garde(range(min = 1, max = 16_777_216))]
    #[serde(default = "default_max_addresses")]
    pub max_prefixes: u32,
    /// How many sources the limits remember, for each of IPv4 and IPv6; the longest unseen is forgotten
    /// first. Default: 65536.
    #[garde(range(min = 1, max = 16_777_216))]
    #[serde(default = "default_max_addresses")]
    pub max_sources: u32,
    /// Room for interfaces. Default: 64.
    #[garde(range(min = 1, max = 65_535))]
    #[serde(default = "default_max_interfaces")]
    pub max_interfaces: u32,
    /// Count packets and bytes by Service Address too, as passed, dropped and answered: `anycast status
    /// --addresses` shows them. Takes 96 bytes on each CPU for each address of `max_addresses`.
    /// Default: false.
    #[garde(skip)]
    #[serde(default)]
    pub address_counters: bool,
    /// Accept frames that span several buffers, as jumbo frames do in many drivers. Default: false.
    #[garde(skip)]
    #[serde(default)]
    pub multi_buffer: bool,
}

impl DataPlane {
    /// The defaults, on `interfaces`.
    pub fn on(interfaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            mode: Mode::default(),
            pin: default_pin(),
            max_addresses: default_max_addresses(),
            max_services: default_max_services(),
            allow: Vec::new(),
            deny: Vec::new(),
            exempt: Vec::new(),
            max_prefixes: default_max_addresses(),
            max_sources: default_max_addresses(),
            max_interfaces: default_max_interfaces(),
            address_counters: false,
            multi_buffer: false,
        }
    }
}

fn default_pin() -> PathBuf {
    PathBuf::from("/sys/fs/bpf/anycast")
}

const fn default_max_addresses() -> u32 {
    65_536
}

const fn default_max_services() -> u32 {
    256
}

const fn default_max_interfaces() -> u32 {
    64
}

fn no_repetition(interfaces: &[String], _: &()) -> garde::Result {
    let mut seen = std::collections::BTreeSet::new();
    match interfaces.iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(garde::Error::new(format!("{name} is listed twice"))),
        None => Ok(()),
    }
}

/// Where XDP runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Native, or generic where the driver has no native mode.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the stack.
    Generic,
}

/// What becomes of packets that a service does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Drop, without a word.
    #[default]
    Drop,
    /// Pass to the stack.
    Pass,
    /// Answer with TCP RST or ICMP port unreachable, within the limit `reject`; what can have neither
    /// is dropped.
    Reject,
}

/// What a packet gets while its service is not up.
pub use Policy as OnDown;
/// What a packet to a port that is not listed gets.
pub use Policy as Unlisted;

/// What becomes of fragments that do not carry the ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fragments {
    /// Pass to the stack, which reassembles them.
    #[default]
    Pass,
    /// Drop.
    Drop,
}

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Packets a second.
    #[garde(range(min = 1, max = 1_000_000_000))]
    pub rate: u32,
    /// Packets at once. Default: as many as `rate`. From a rate of 10 on, at least what it admits in 10 ms, which is
    /// the grain of the limits' clock, and one more: with fewer, the rate would not be reached.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
}

/// Of the slowest clock that Linux is built with (CONFIG_HZ): the limits' clock is read in ticks.
const TICKS_PER_SECOND: u32 = 100;

/// The burst with which no tick finds a limit idle that has more to admit. Slower rates than these lose less than a
/// tenth by the clock, and a burst of one can be meant.
const fn least_burst(rate: u32) -> u32 {
    if rate < TICKS_PER_SECOND / 10 {
        1
    } else {
        rate.div_ceil(TICKS_PER_SECOND) + 1
    }
}

impl Rate {
    /// So many a second, and as many at once.
    pub const fn per_second(rate: u32) -> Self {
        Self { rate, burst: None }
    }

    /// As maps carry it, with the least burst that lets the rate be reached.
    pub(crate) fn limit(self) -> Limit {
        let burst = self.burst.map_or(self.rate, NonZeroU32::get);
        Limit::new(self.rate, burst.max(least_burst(self.rate)))
    }
}

/// A rate limit for each source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct SourceLimit {
    /// Packets a second.
    #[garde(range(min = 1, max = 1_000_000_000))]
    pub rate: u32,
    /// Packets at once. Default: as many as `rate`. From a rate of 10 on, at least what it admits in 10 ms, which is
    /// the grain of the limits' clock, and one more: with fewer, the rate would not be reached.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
    /// IPv4 addresses with this prefix in common are one source. Default: 32.
    #[garde(range(max = 32))]
    #[serde(default = "whole_v4")]
    pub v4_prefix: u8,
    /// IPv6 addresses with this prefix in common are one source. Default: 64.
    #[garde(range(max = 128))]
    #[serde(default = "one_link")]
    pub v6_prefix: u8,
}

const fn whole_v4() -> u8 {
    32
}

const fn one_link() -> u8 {
    64
}

/// The limits of a service. Those but `source` hold on each CPU that receives packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Echo replies. Default: no limit.
    #[garde(dive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Rate>,
    /// Rejections, and answers about the node's identity. Default: 1000 a second.
    #[garde(dive)]
    pub reject: Rate,
    /// Packets of any kind. Default: no limit.
    #[garde(dive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<Rate>,
    /// Packets of each source. Default: no limit.
    #[garde(dive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceLimit>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            echo: None,
            reject: Rate::per_second(1000),
            packets: None,
            source: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_as_configured_but_for_what_a_tick_of_the_clock_takes() {
        for (rate, burst, wanted) in [
            (1000, None, 1000),
            (1000, Some(1), 11),
            (1000, Some(11), 11),
            (1000, Some(12), 12),
            (150, Some(1), 3),
            (100, Some(1), 2),
            (99, Some(1), 2),
            (9, Some(1), 1),
            (1, Some(1), 1),
            (1_000_000_000, Some(1), 10_000_001),
        ] {
            let burst = burst.and_then(NonZeroU32::new);
            assert_eq!(Rate { rate, burst }.limit(), Limit::new(rate, wanted));
        }
    }

    #[test]
    fn a_rate_is_reached_whatever_the_burst_on_the_slowest_clock() {
        const TICK: u64 = 10_000_000;
        for rate in [10, 49, 99, 100, 101, 150, 1000, 123_456] {
            let limit = Rate {
                rate,
                burst: NonZeroU32::new(1),
            }
            .limit();
            let mut arrival = 0;
            let mut admitted = 0_u64;
            for tick in 1..=1000 {
                while anycast_common::limit::admit(&mut arrival, tick * TICK, &limit) {
                    admitted += 1;
                }
            }
            let (wanted, burst) = (
                u64::from(rate) * 10,
                limit.window_ns / limit.interval_ns + 1,
            );
            // An interval is a whole number of nanoseconds.
            let most = wanted + wanted / 10_000 + burst;
            assert!((wanted..=most).contains(&admitted), "{rate}: {admitted}");
        }
    }

    #[test]
    fn an_interface_listed_twice_is_refused() {
        let config = DataPlane::on(["eth0", "eth1", "eth0"]);
        let report = config.validate().unwrap_err().to_string();
        assert!(report.contains("eth0 is listed twice"), "{report}");
    }
}
