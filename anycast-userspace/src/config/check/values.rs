//! Small values that are written as strings: HTTP status ranges, patterns and authorities.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An HTTP status, `"204"`, or a range of them, `"200-299"` (RFC 9110 §15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// Every status from `first` to `last`, both included.
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, last }
    }

    /// Whether the status lies in the range.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if 100 <= first && first <= last && last <= 599 => {
                Ok(Self { first, last })
            }
            _ => Err(format!(
                "`{text}` is not an HTTP status: write \"200\" or \"200-299\", from 100 to 599"
            )),
        }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A regular expression, in the syntax of the `regex` crate.
#[derive(Debug, Clone)]
pub struct Pattern(pub regex::bytes::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        regex::bytes::Regex::new(text)
            .map(Self)
            .map_err(|error| format!("`{text}` is not a regular expression: {error}"))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// A host, with a port if it matters (RFC 9110 §7.2).
pub(super) fn is_authority<C>(text: &str, _: &C) -> garde::Result {
    let parsed: Result<http::uri::Authority, _> = text.parse();
    match parsed {
        Ok(authority) if !text.contains('@') && !authority.host().is_empty() => Ok(()),
        Ok(_) | Err(_) => Err(garde::Error::new(format!(
            "`{text}` is not an authority: write a name or an address, with a port if it matters"
        ))),
    }
}

macro_rules! as_string {
    ($type:ident, $description:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description })
            }
        }
    };
}

as_string!(
    StatusRange,
    "An HTTP status, \"204\", or a range of them, \"200-299\"."
);
as_string!(Pattern, "A regular expression.");
