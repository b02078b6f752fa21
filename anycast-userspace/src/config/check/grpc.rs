//! The `grpc` check.

use std::net::IpAddr;

use super::Tls;
use super::check_type;
use super::values::is_authority;

check_type! {
    /// One call of `grpc.health.v1.Health/Check` (gRPC Health Checking Protocol) over a connection of its
    /// own. Only the answer SERVING passes.
    pub struct GrpcCheck {
        /// Port to connect to.
        #[garde(range(min = 1))]
        pub port: u16,
        /// Address to connect to instead of the service's own.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub target: Option<IpAddr>,
        /// Name of the gRPC service that is asked for (default: empty, the server as a whole).
        #[garde(length(bytes, max = 1024))]
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub service: String,
        /// The request's `:authority` (default: the `server_name` of `tls`, else the address).
        #[garde(inner(custom(is_authority)))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub authority: Option<String>,
        /// Speak TLS; `tls = {}` takes the defaults.
        #[garde(dive)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tls: Option<Tls>,
    }
}
