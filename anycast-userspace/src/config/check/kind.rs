//! The type of a check, by which its table is read again when something in it is wrong.
//!
//! `Check` is a tagged enum: serde reads it by way of a copy that has forgotten where its values stand, so
//! its errors have no place. The table read as its own type alone has the same errors with their places.

use serde::de::{Error as _, IntoDeserializer as _};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeValue, Error, ValueDeserializer};

use super::{
    AddressCheck, DnsCheck, ExecCheck, FileCheck, GrpcCheck, HttpCheck, IcmpCheck, ListenerCheck,
    NtpCheck, TcpCheck,
};

/// The key that says the type.
const TAG: &str = "type";

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Tcp,
    Http,
    Grpc,
    Dns,
    Exec,
    File,
    Address,
    Icmp,
    Ntp,
    Listener,
}

/// What is wrong with the shape of a check, and where; nothing if it can be read.
pub(in crate::config) fn fault(check: &Spanned<DeValue<'_>>) -> Option<Error> {
    shape(check.clone()).err()
}

fn shape(mut check: Spanned<DeValue<'_>>) -> Result<(), Error> {
    let tag = match check.get_mut() {
        DeValue::Table(table) => table.remove(TAG),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => return Err(Error::custom("is not a table with a `type`")),
    };
    let tag = tag.ok_or_else(|| Error::missing_field(TAG))?;
    String::deserialize(ValueDeserializer::from(tag.clone()))?;
    let kind = Kind::deserialize(ValueDeserializer::from(tag))?;
    let settings = check.into_deserializer();
    match kind {
        Kind::Tcp => read::<TcpCheck>(settings),
        Kind::Http => read::<HttpCheck>(settings),
        Kind::Grpc => read::<GrpcCheck>(settings),
        Kind::Dns => read::<DnsCheck>(settings),
        Kind::Exec => read::<ExecCheck>(settings),
        Kind::File => read::<FileCheck>(settings),
        Kind::Address => read::<AddressCheck>(settings),
        Kind::Icmp => read::<IcmpCheck>(settings),
        Kind::Ntp => read::<NtpCheck>(settings),
        Kind::Listener => read::<ListenerCheck>(settings),
    }
}

fn read<'de, T: Deserialize<'de>>(
    settings: impl Deserializer<'de, Error = Error>,
) -> Result<(), Error> {
    T::deserialize(settings).map(drop)
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::config::Check;

    #[test]
    fn every_type_of_check_can_be_read_again() {
        let schema = serde_json::to_value(schemars::schema_for!(Check)).expect("a schema");
        let variants = schema["oneOf"].as_array().expect("variants");
        for variant in variants {
            let kind = variant["properties"]["type"]["const"]
                .as_str()
                .expect("a type");
            let text = format!("check = {{ type = {kind:?}, unheard_of = 1 }}");
            let table = DeTable::parse(&text).expect("TOML");
            let error = fault(&table.get_ref()["check"]).expect(kind);
            assert!(
                error.message().starts_with("unknown field `unheard_of`"),
                "{kind}: {error}"
            );
        }
        assert_eq!(variants.len(), 10);
    }
}
