//! The `http` check, and the TLS settings that other checks share with it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_type;
use super::values::{Pattern, StatusRange, is_authority};

check_type! {
    /// One HTTP/1.1 request over a connection of its own. Redirections are not followed.
    pub struct HttpCheck {
        /// Port to connect to (default 80, with `tls` 443).
        #[garde(inner(range(min = 1)))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub port: Option<u16>,
        /// Address to connect to instead of the service's own.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub target: Option<IpAddr>,
        /// Request method (default `"GET"`).
        #[garde(custom(is_method))]
        #[serde(default = "get")]
        pub method: String,
        /// Request target: path and query (default `"/"`).
        #[garde(custom(is_path))]
        #[serde(default = "root")]
        pub path: String,
        /// The Host header (default: the address).
        #[garde(inner(custom(is_authority)))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub host: Option<String>,
        /// Further request headers.
        #[garde(custom(are_headers))]
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub headers: BTreeMap<String, String>,
        /// Statuses that pass (default `["200-299"]`).
        #[garde(length(min = 1))]
        #[serde(default = "success")]
        pub status: Vec<StatusRange>,
        /// Text that each named response header must contain.
        #[garde(custom(are_headers))]
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub expect_headers: BTreeMap<String, String>,
        /// Text that the body must contain within its first 64 KiB. Without it and `body_matches` the
        /// body is not read.
        #[garde(inner(length(bytes, min = 1)))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub body_contains: Option<String>,
        /// Regular expression that the first 64 KiB of the body must match.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub body_matches: Option<Pattern>,
        /// Speak HTTPS; `tls = {}` takes the defaults.
        #[garde(dive)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tls: Option<Tls>,
    }
}

/// How a check speaks TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Name sent as SNI and expected in the certificate (default: the `host` of an http check or the
    /// `authority` of a grpc check without its port, else the address).
    #[garde(inner(custom(is_server_name)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether the certificate must be valid (default true).
    #[garde(skip)]
    #[serde(default = "yes")]
    pub verify: bool,
    /// PEM file with the certificate authorities to trust instead of the system's.
    #[garde(inner(custom(crate::config::paths::absolute)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Fail when a certificate of the chain expires within this many days.
    #[garde(inner(range(min = 1, max = 3650)), custom(|days: &Option<u32>, _: &()| only_if_verified(*days, self.verify)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_days_left: Option<u32>,
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

fn success() -> Vec<StatusRange> {
    vec![StatusRange::new(200, 299)]
}

fn yes() -> bool {
    true
}

fn is_method<C>(method: &str, _: &C) -> garde::Result {
    http::Method::from_bytes(method.as_bytes())
        .map(drop)
        .map_err(|_| garde::Error::new(format!("`{method}` is not an HTTP method")))
}

fn is_path<C>(path: &str, _: &C) -> garde::Result {
    let parsed: Result<http::uri::PathAndQuery, _> = path.parse();
    match parsed {
        Ok(_) if path.starts_with('/') => Ok(()),
        _ => Err(garde::Error::new(format!(
            "`{path}` is not a request path: it starts with `/`"
        ))),
    }
}

fn is_header_value<C>(value: &str, _: &C) -> garde::Result {
    http::HeaderValue::from_str(value)
        .map(drop)
        .map_err(|_| garde::Error::new(format!("`{value}` cannot be sent in a header")))
}

fn are_headers<C>(headers: &BTreeMap<String, String>, context: &C) -> garde::Result {
    for (name, value) in headers {
        http::HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| garde::Error::new(format!("`{name}` is not a header name")))?;
        is_header_value(value, context)?;
    }
    Ok(())
}

fn is_server_name<C>(name: &str, _: &C) -> garde::Result {
    rustls::pki_types::ServerName::try_from(name)
        .map(drop)
        .map_err(|_| garde::Error::new(format!("`{name}` is neither a DNS name nor an address")))
}

fn only_if_verified(days: Option<u32>, verify: bool) -> garde::Result {
    if days.is_some() && !verify {
        return Err(garde::Error::new(
            "needs `verify = true`: an unverified chain has no end date",
        ));
    }
    Ok(())
}
