//! Served ports: `"udp/53"`, `"tcp/8000-8080"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        use anycast_common::iana::protocol;
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Sctp => protocol::SCTP,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A served port or range of ports: `"udp/53"`, `"tcp/8000-8080"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The protocol.
    pub transport: Transport,
    /// The first port.
    pub first: u16,
    /// The last port; the first again if it is one port alone.
    pub last: u16,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || {
            format!(
                "`{text}` is not a port: write \"udp/53\" or \"tcp/8000-8080\"; protocols are tcp, udp and sctp"
            )
        };
        let (transport, ports) = text.split_once('/').ok_or_else(shape)?;
        let transport = [Transport::Tcp, Transport::Udp, Transport::Sctp]
            .into_iter()
            .find(|known| known.name() == transport)
            .ok_or_else(shape)?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let number = |digits: &str| {
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits.is_empty() {
                return Err(shape());
            }
            digits
                .parse::<u16>()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("`{text}`: ports go from 1 to 65535"))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("`{text}`: the range ends before it starts"));
        }
        Ok(Self {
            transport,
            first,
            last,
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport.name(), self.first)?;
        if self.last != self.first {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(tcp|udp|sctp)/[0-9]{1,5}(-[0-9]{1,5})?$",
            "description": "A port or a range of ports: \"udp/53\", \"tcp/8000-8080\"."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_and_written_alike() {
        for text in ["udp/53", "tcp/8000-8080", "sctp/1-65535"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
        assert_eq!("tcp/7-7".parse::<Port>().unwrap().to_string(), "tcp/7");
    }

    #[test]
    fn what_is_not_a_port_is_refused_with_the_reason() {
        for (text, why) in [
            ("53", "is not a port"),
            ("icmp/53", "is not a port"),
            ("udp/", "is not a port"),
            ("udp/+5", "is not a port"),
            ("udp/dns", "is not a port"),
            ("udp/0", "from 1 to 65535"),
            ("udp/65536", "from 1 to 65535"),
            ("udp/10-9", "ends before it starts"),
        ] {
            let error = text.parse::<Port>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
