//! Checks of a host's network side: `address`, `icmp` and `ntp`.

use std::net::IpAddr;

use super::check_type;
use crate::config::Span;

check_type! {
    /// All Service Addresses must be local to this host, in the routing that the kernel does: on an
    /// interface, or by a local route.
    pub struct AddressCheck {}
}

check_type! {
    /// One ICMP or ICMPv6 echo (RFC 792, RFC 4443 §4). Toward an address of this host it only shows that
    /// the host's own stack answers; it is of more use toward a `target`, such as a gateway.
    pub struct IcmpCheck {
        /// Address to ping instead of the service's own.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub target: Option<IpAddr>,
    }
}

check_type! {
    /// One NTP query (RFC 5905) that a synchronized server must answer.
    pub struct NtpCheck {
        /// Port to ask (default 123).
        #[garde(range(min = 1))]
        #[serde(default = "ntp_port")]
        pub port: u16,
        /// Address to ask instead of the service's own.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub target: Option<IpAddr>,
        /// Highest stratum that passes (default 15, the highest of a synchronized server).
        #[garde(range(min = 1, max = 15))]
        #[serde(default = "highest_stratum")]
        pub max_stratum: u8,
        /// Most by which the server's clock may differ from this host's.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_offset: Option<Span>,
    }
}

fn ntp_port() -> u16 {
    123
}

fn highest_stratum() -> u8 {
    15
}
