//! Communities as people write them: `"64512:100"`, `"64512:1:2"`, `"rt:64512:100"`.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A standard community (RFC 1997): `"64512:100"`, or the name of a well-known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

/// A large community (RFC 8092): `"64512:1:2"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// The AS number that gives the two data parts their meaning.
    pub global_administrator: u32,
    /// First local data part.
    pub local_data_1: u32,
    /// Second local data part.
    pub local_data_2: u32,
}

/// An extended community (RFC 4360): `"rt:64512:100"`, `"ro:10.0.0.1:5"`, or `"0x"` and 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub u64);

/// The registry of well-known communities, with the RFC that defines each.
const WELL_KNOWN: [(&str, u32); 6] = [
    ("graceful-shutdown", 0xFFFF_0000),   // RFC 8326 §4
    ("blackhole", 0xFFFF_029A),           // RFC 7999 §5
    ("no-export", 0xFFFF_FF01),           // RFC 1997
    ("no-advertise", 0xFFFF_FF02),        // RFC 1997
    ("no-export-subconfed", 0xFFFF_FF03), // RFC 1997
    ("nopeer", 0xFFFF_FF04),              // RFC 3765
];

/// Type octets of the transitive extended communities (RFC 4360 §3, RFC 5668 §2).
const TWO_OCTET_AS: u8 = 0x00;
const IPV4_ADDRESS: u8 = 0x01;
const FOUR_OCTET_AS: u8 = 0x02;
/// Subtype octets (RFC 4360 §4 and §5).
const ROUTE_TARGET: u8 = 0x02;
const ROUTE_ORIGIN: u8 = 0x03;

impl Community {
    /// RFC 8326: the peer is asked to prefer any other path.
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
}

fn number<T: FromStr>(text: &str, whole: &str, wants: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("`{whole}`: `{text}` is not {wants}"))
}

impl FromStr for Community {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, value)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*value));
        }
        let (high, low) = text.split_once(':').ok_or_else(|| {
            let names: Vec<&str> = WELL_KNOWN.iter().map(|(name, _)| *name).collect();
            format!(
                "`{text}` is not a community: write \"64512:100\" or one of {}",
                names.join(", ")
            )
        })?;
        let wants = "a number from 0 to 65535";
        let high: u16 = number(high, text, wants)?;
        let low: u16 = number(low, text, wants)?;
        Ok(Self(u32::from(high) << 16 | u32::from(low)))
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WELL_KNOWN.iter().find(|(_, value)| *value == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF),
        }
    }
}

impl FromStr for LargeCommunity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [global, first, second] = parts[..] else {
            return Err(format!(
                "`{text}` is not a large community: write three numbers, such as \"64512:1:2\""
            ));
        };
        let wants = "a number from 0 to 4294967295";
        Ok(Self {
            global_administrator: number(global, text, wants)?,
            local_data_1: number(first, text, wants)?,
            local_data_2: number(second, text, wants)?,
        })
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            global_administrator,
            local_data_1,
            local_data_2,
        } = self;
        write!(f, "{global_administrator}:{local_data_1}:{local_data_2}")
    }
}

impl FromStr for ExtendedCommunity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(digits) = text.strip_prefix("0x") {
            let value = u64::from_str_radix(digits, 16)
                .ok()
                .filter(|_| digits.len() == 16);
            return value
                .map(Self)
                .ok_or_else(|| format!("`{text}`: write 16 hex digits after 0x"));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let [kind, administrator, value] = parts[..] else {
            return Err(format!(
                "`{text}` is not an extended community: write \"rt:64512:100\", \"ro:64512:100\" or 0x and 16 hex digits"
            ));
        };
        let subtype = match kind {
            "rt" => ROUTE_TARGET,
            "ro" => ROUTE_ORIGIN,
            other => return Err(format!("`{text}`: `{other}` is neither rt nor ro")),
        };
        let small = "a number from 0 to 65535";
        if let Ok(address) = administrator.parse::<Ipv4Addr>() {
            let value: u16 = number(value, text, small)?;
            return Ok(Self::build(IPV4_ADDRESS, subtype, address.into(), value));
        }
        let asn: u32 = number(administrator, text, "an AS number or an IPv4 address")?;
        match u16::try_from(asn) {
            Ok(asn) => {
                let value: u32 = number(value, text, "a number from 0 to 4294967295")?;
                let head = u64::from(TWO_OCTET_AS) << 56 | u64::from(subtype) << 48;
                Ok(Self(head | u64::from(asn) << 32 | u64::from(value)))
            }
            Err(_) => {
                let value: u16 = number(value, text, small)?;
                Ok(Self::build(FOUR_OCTET_AS, subtype, asn, value))
            }
        }
    }
}

impl ExtendedCommunity {
    /// A community whose administrator takes four octets and whose value takes two.
    fn build(kind: u8, subtype: u8, administrator: u32, value: u16) -> Self {
        Self(
            u64::from(kind) << 56
                | u64::from(subtype) << 48
                | u64::from(administrator) << 16
                | u64::from(value),
        )
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.0.to_be_bytes();
        let [kind, subtype, a, b, c, d, e, g] = octets;
        let name = match subtype {
            ROUTE_TARGET => "rt",
            ROUTE_ORIGIN => "ro",
            _ => return write!(f, "{:#018x}", self.0),
        };
        let short = u16::from_be_bytes([e, g]);
        match kind {
            TWO_OCTET_AS => {
                let asn = u16::from_be_bytes([a, b]);
                write!(f, "{name}:{asn}:{}", u32::from_be_bytes([c, d, e, g]))
            }
            IPV4_ADDRESS => write!(f, "{name}:{}:{short}", Ipv4Addr::new(a, b, c, d)),
            FOUR_OCTET_AS => write!(f, "{name}:{}:{short}", u32::from_be_bytes([a, b, c, d])),
            _ => write!(f, "{:#018x}", self.0),
        }
    }
}

/// Serde and schema by `FromStr` and `Display`: the text is the only form that a file or JSON shows.
macro_rules! as_text {
    ($type:ty, $name:literal, $description:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": $description})
            }
        }
    };
}

as_text!(
    Community,
    "Community",
    "\"64512:100\", or a well-known name such as \"no-export\"."
);
as_text!(
    LargeCommunity,
    "LargeCommunity",
    "Three numbers: \"64512:1:2\"."
);
as_text!(
    ExtendedCommunity,
    "ExtendedCommunity",
    "\"rt:64512:100\", \"ro:10.0.0.1:5\", or 0x and 16 hex digits."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_read_and_print_the_same_text() {
        for text in [
            "64512:100",
            "0:0",
            "65535:65535",
            "graceful-shutdown",
            "no-export",
            "nopeer",
        ] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        for text in ["64512:1:2", "4294967295:0:4294967295"] {
            assert_eq!(text.parse::<LargeCommunity>().unwrap().to_string(), text);
        }
        for text in [
            "rt:64512:4294967295",
            "ro:10.0.0.1:5",
            "rt:4200000000:7",
            "0x4004fde800000001",
        ] {
            assert_eq!(text.parse::<ExtendedCommunity>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_well_known_community_has_its_registered_value() {
        assert_eq!(
            "65535:0".parse::<Community>().unwrap(),
            Community::GRACEFUL_SHUTDOWN
        );
        assert_eq!(
            "blackhole".parse::<Community>().unwrap(),
            Community(0xFFFF_029A)
        );
    }

    #[test]
    fn what_is_not_a_community_is_named_in_the_error() {
        for text in ["", "64512", "64512:65536", "-1:0", "a:b", "no_export"] {
            let error = text.parse::<Community>().unwrap_err();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
        for text in ["1:2", "1:2:3:4", "1:2:4294967296"] {
            assert!(text.parse::<LargeCommunity>().is_err(), "{text}");
        }
        for text in [
            "rt:1",
            "xx:1:2",
            "rt:4200000000:65536",
            "0x12",
            "rt:10.0.0.1:65536",
        ] {
            assert!(text.parse::<ExtendedCommunity>().is_err(), "{text}");
        }
    }
}
