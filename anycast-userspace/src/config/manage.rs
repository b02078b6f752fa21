//! How the Service Addresses come onto the host.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether anycast puts the addresses on the host, and how. It takes away what it put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManageAddresses {
    /// `true`: each as an address of the interface.
    #[default]
    Addresses,
    /// `"routes"`: by `local` routes, as few as hold the addresses and no others. 10,000 take less than half a
    /// second, where the kernel needs over two for as many addresses.
    Routes,
    /// `false`: they come there by other means.
    No,
}

const ROUTES: &str = "routes";

impl Serialize for ManageAddresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Addresses => serializer.serialize_bool(true),
            Self::Routes => serializer.serialize_str(ROUTES),
            Self::No => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for ManageAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = ManageAddresses;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("true, false or \"routes\"")
    }

    fn visit_bool<E>(self, addresses: bool) -> Result<ManageAddresses, E> {
        Ok(if addresses {
            ManageAddresses::Addresses
        } else {
            ManageAddresses::No
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ManageAddresses, E> {
        if text == ROUTES {
            return Ok(ManageAddresses::Routes);
        }
        Err(E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl JsonSchema for ManageAddresses {
    fn schema_name() -> Cow<'static, str> {
        "ManageAddresses".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [true, false, ROUTES] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Holder {
        manage: ManageAddresses,
    }

    #[test]
    fn it_is_true_false_or_routes_and_is_written_as_it_was_read() {
        let good = [
            ("true", ManageAddresses::Addresses),
            ("false", ManageAddresses::No),
            ("\"routes\"", ManageAddresses::Routes),
        ];
        for (text, want) in good {
            let line = format!("manage = {text}\n");
            let read: Holder = toml::from_str(&line).expect(text);
            assert_eq!(read.manage, want);
            assert_eq!(toml::to_string(&read).expect(text), line);
        }
        for text in ["\"route\"", "1", "[]"] {
            let read = toml::from_str::<Holder>(&format!("manage = {text}\n"));
            let error = read.expect_err(text).to_string();
            assert!(error.contains("true, false or \"routes\""), "{error}");
        }
    }
}
