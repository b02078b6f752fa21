//! The `dns` check.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use domain::base::Name;
use domain::base::iana::{Class, OptRcode, Rtype};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_type;
use super::values::Pattern;

check_type! {
    /// One DNS query with EDNS (RFC 1035, RFC 6891). Only an answer with the query's id counts; it must
    /// repeat the question. A truncated answer over UDP is asked for again over TCP.
    pub struct DnsCheck {
        /// Port to ask (default 53).
        #[garde(range(min = 1))]
        #[serde(default = "dns_port")]
        pub port: u16,
        /// Address to ask instead of the service's own.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub target: Option<IpAddr>,
        /// `"udp"` (default) or `"tcp"`.
        #[garde(skip)]
        #[serde(default)]
        pub transport: DnsTransport,
        /// Name to ask for (default `"."`).
        #[garde(custom(is_name))]
        #[serde(default = "root")]
        pub query: String,
        /// Record type to ask for (default `"A"`).
        #[garde(custom(is_record_type))]
        #[serde(default = "address")]
        pub record: String,
        /// Class to ask for: `"IN"` (default), `"CH"` or `"HS"`.
        #[garde(custom(is_class))]
        #[serde(default = "internet")]
        pub class: String,
        /// Whether to ask for recursion (default true, as `dig` does).
        #[garde(skip)]
        #[serde(default = "yes")]
        pub recursion: bool,
        /// Response codes that pass (default `["NOERROR"]`).
        #[garde(length(min = 1), inner(custom(is_rcode)))]
        #[serde(default = "no_error")]
        pub rcode: Vec<String>,
        /// Text that the data of a record of the answer section must contain, as `dig` would print it.
        #[garde(inner(length(bytes, min = 1)))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub answer: Option<String>,
        /// Regular expression that the data of a record of the answer section must match.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub answer_matches: Option<Pattern>,
        /// The name server identifier (RFC 5001) that the answer must carry: tells this node's answer
        /// from another's.
        #[garde(inner(length(bytes, min = 1, max = 255)))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub nsid: Option<String>,
        /// Compare the zone's serial with another server's; needs `record = "SOA"`.
        #[garde(dive)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub serial: Option<SerialReference>,
    }
}

/// What a DNS check compares a zone's serial with.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, garde::Validate,
)]
#[serde(deny_unknown_fields)]
pub struct SerialReference {
    /// The server to ask for the same SOA record, as `"192.0.2.53:53"`. While it does not answer, the
    /// serial is not judged: a reference must not take every node out of service.
    #[garde(skip)]
    #[schemars(with = "String")]
    pub server: SocketAddr,
    /// By how much the zone's serial may lag behind the reference's (RFC 1982; default 0).
    #[garde(range(max = 1_000_000))]
    #[serde(default)]
    pub max_lag: u32,
}

/// What carries a DNS query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsTransport {
    /// Datagrams.
    #[default]
    Udp,
    /// A connection of its own for each query.
    Tcp,
}

fn dns_port() -> u16 {
    53
}

fn root() -> String {
    ".".to_owned()
}

fn address() -> String {
    "A".to_owned()
}

fn internet() -> String {
    "IN".to_owned()
}

fn no_error() -> Vec<String> {
    vec!["NOERROR".to_owned()]
}

fn yes() -> bool {
    true
}

fn parses<T: FromStr>(text: &str, what: &str) -> garde::Result {
    T::from_str(text)
        .map(drop)
        .map_err(|_| garde::Error::new(format!("`{text}` is not {what}")))
}

fn is_name<C>(text: &str, _: &C) -> garde::Result {
    parses::<Name<Vec<u8>>>(text, "a domain name")
}

fn is_record_type<C>(text: &str, _: &C) -> garde::Result {
    parses::<Rtype>(text, "a DNS record type")
}

fn is_class<C>(text: &str, _: &C) -> garde::Result {
    parses::<Class>(text, "a DNS class: `IN`, `CH` or `HS`")
}

fn is_rcode<C>(text: &str, _: &C) -> garde::Result {
    parses::<OptRcode>(text, "a DNS response code, such as `NOERROR` or `NXDOMAIN`")
}

/// No other record holds a serial.
pub(super) fn serial_needs_soa<C>(check: &DnsCheck, _: &C) -> garde::Result {
    if check.serial.is_some() && !check.record.eq_ignore_ascii_case("SOA") {
        return Err(garde::Error::new("`serial` needs `record = \"SOA\"`"));
    }
    Ok(())
}
