//! Who may be at the other end of a session: one AS number, some, or all but ours.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rule;

/// The AS numbers that a peer may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteAs {
    /// Any but ours.
    External,
    /// Ours.
    Internal,
    /// Any of these; never empty.
    OneOf(Vec<RangeInclusive<u32>>),
}

impl RemoteAs {
    /// Just this one.
    pub fn number(asn: u32) -> Self {
        Self::OneOf(vec![asn..=asn])
    }

    /// The number, where only one is possible.
    pub fn single(&self, local_as: u32) -> Option<u32> {
        match self {
            Self::External => None,
            Self::Internal => Some(local_as),
            Self::OneOf(ranges) => match &ranges[..] {
                [only] if only.start() == only.end() => Some(*only.start()),
                _ => None,
            },
        }
    }

    /// Whether a peer with this number may have a session.
    pub fn accepts(&self, asn: u32, local_as: u32) -> bool {
        match self {
            Self::External => asn != local_as,
            Self::Internal => asn == local_as,
            Self::OneOf(ranges) => ranges.iter().any(|range| range.contains(&asn)),
        }
    }

    /// Whether the session is with another AS. A list that mixes both is refused by validation.
    pub fn is_external(&self, local_as: u32) -> bool {
        match self {
            Self::External => true,
            Self::Internal => false,
            Self::OneOf(ranges) => !ranges.iter().any(|range| range.contains(&local_as)),
        }
    }

    /// What is wrong with it.
    pub(super) fn fault(&self, local_as: u32) -> Option<String> {
        let Self::OneOf(ranges) = self else {
            return None;
        };
        if ranges.is_empty() {
            return Some("names no AS".to_owned());
        }
        for range in ranges {
            if range.is_empty() {
                let (start, end) = (range.start(), range.end());
                return Some(format!("the range {start}-{end} is empty"));
            }
            for asn in [range.start(), range.end()] {
                if let Err(error) = rule::as_number(asn, &()) {
                    return Some(error.to_string());
                }
            }
        }
        let ours = self.accepts(local_as, local_as);
        (ours && self.single(local_as).is_none()).then(|| {
            format!("holds our own AS {local_as} beside others: a session is internal or external")
        })
    }
}

impl fmt::Display for RemoteAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External => f.write_str("external"),
            Self::Internal => f.write_str("internal"),
            Self::OneOf(ranges) => {
                for (at, range) in ranges.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", written(range))?;
                }
                Ok(())
            }
        }
    }
}

fn written(range: &RangeInclusive<u32>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

impl Serialize for RemoteAs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::External | Self::Internal => serializer.collect_str(self),
            Self::OneOf(ranges) => match &ranges[..] {
                [only] if only.start() == only.end() => serializer.serialize_u32(*only.start()),
                _ => {
                    let mut list = serializer.serialize_seq(Some(ranges.len()))?;
                    for range in ranges {
                        list.serialize_element(&written(range))?;
                    }
                    list.end()
                }
            },
        }
    }
}

impl<'de> Deserialize<'de> for RemoteAs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// One entry of a list: a number, or a range as text.
struct Entry(RangeInclusive<u32>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Written)? {
            RemoteAs::OneOf(ranges) => match <[_; 1]>::try_from(ranges) {
                Ok([range]) => Ok(Self(range)),
                Err(_) => Err(de::Error::custom("a list of AS numbers holds no lists")),
            },
            RemoteAs::External | RemoteAs::Internal => Err(de::Error::custom(
                "a list holds AS numbers and ranges, not \"external\" or \"internal\"",
            )),
        }
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = RemoteAs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an AS number, a range such as \"64512-65534\", a list of them, \"external\" or \"internal\"",
        )
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RemoteAs, E> {
        let asn = u32::try_from(value)
            .map_err(|_| E::custom(format!("{value} is not an AS number: they have 32 bits")))?;
        Ok(RemoteAs::number(asn))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RemoteAs, E> {
        let asn = u32::try_from(value)
            .map_err(|_| E::custom(format!("{value} is not an AS number: they have 32 bits")))?;
        Ok(RemoteAs::number(asn))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RemoteAs, E> {
        match text {
            "external" => return Ok(RemoteAs::External),
            "internal" => return Ok(RemoteAs::Internal),
            _ => {}
        }
        let ends = match text.split_once('-') {
            Some((start, end)) => (start.trim().parse(), end.trim().parse()),
            None => (text.parse(), text.parse()),
        };
        match ends {
            (Ok(start), Ok(end)) => Ok(RemoteAs::OneOf(vec![start..=end])),
            (Err(_), _) | (_, Err(_)) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RemoteAs, A::Error> {
        let mut ranges = Vec::new();
        while let Some(Entry(range)) = list.next_element()? {
            ranges.push(range);
        }
        Ok(RemoteAs::OneOf(ranges))
    }
}

impl JsonSchema for RemoteAs {
    fn schema_name() -> Cow<'static, str> {
        "RemoteAs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 4_294_967_294_u32 },
            { "type": "string", "pattern": "^[0-9]+(-[0-9]+)?$" },
        ]});
        json_schema!({
            "description": "An AS number, a range, a list of both, \"external\" (any but ours) or \"internal\" (ours).",
            "anyOf": [
                one,
                { "enum": ["external", "internal"] },
                { "type": "array", "items": one, "minItems": 1 },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct Holder {
        remote_as: RemoteAs,
    }

    const OURS: u32 = 64512;

    #[test]
    fn every_way_to_write_it_is_understood() {
        let cases: [(&str, &[u32], &[u32], bool); 6] = [
            ("65001", &[65001], &[65002, OURS], true),
            ("64512", &[OURS], &[65001], false),
            ("\"external\"", &[65001, 4_200_000_000], &[OURS], true),
            ("\"internal\"", &[OURS], &[65001], false),
            ("\"65001-65003\"", &[65001, 65003], &[65004, OURS], true),
            ("[65001, \"65005-65006\"]", &[65001, 65006], &[65002], true),
        ];
        for (text, accepted, refused, external) in cases {
            let Holder { remote_as } = toml::from_str(&format!("remote_as = {text}")).unwrap();
            assert_eq!(remote_as.fault(OURS), None, "{text}");
            assert_eq!(remote_as.is_external(OURS), external, "{text}");
            assert!(
                accepted.iter().all(|asn| remote_as.accepts(*asn, OURS)),
                "{text}"
            );
            assert!(
                !refused.iter().any(|asn| remote_as.accepts(*asn, OURS)),
                "{text}"
            );
            let again = toml::to_string(&Holder {
                remote_as: remote_as.clone(),
            })
            .unwrap();
            let read: Holder = toml::from_str(&again).unwrap();
            assert_eq!(read.remote_as, remote_as, "{again}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        for (text, want) in [
            ("\"outside\"", "external"),
            ("-1", "32 bits"),
            ("4294967296", "32 bits"),
            ("[\"external\"]", "list holds AS numbers"),
            ("true", "an AS number"),
        ] {
            let error = toml::from_str::<Holder>(&format!("remote_as = {text}")).unwrap_err();
            assert!(error.to_string().contains(want), "{text}: {error}");
        }
        for (text, want) in [
            ("[]", "names no AS"),
            ("\"65003-65001\"", "is empty"),
            ("[65001, 0]", "RFC 7607"),
            ("\"64000-65000\"", "our own AS"),
        ] {
            let Holder { remote_as } = toml::from_str(&format!("remote_as = {text}")).unwrap();
            let fault = remote_as.fault(OURS).unwrap();
            assert!(fault.contains(want), "{text}: {fault}");
        }
    }
}
