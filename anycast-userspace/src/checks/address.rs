//! The `address` check: is each Service Address local in the kernel's routing?

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::route::RouteType;
use rtnetlink::{Handle, RouteMessageBuilder};

use super::Subject;
use super::io_failure;
use crate::health::{FailureKind, Outcome};

pub(super) struct AddressProbe {
    addresses: Vec<IpAddr>,
}

impl AddressProbe {
    pub(super) fn new(subject: &Subject<'_>) -> Self {
        Self {
            addresses: subject.addresses.to_vec(),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        let (connection, handle, _) = match rtnetlink::new_connection() {
            Ok(opened) => opened,
            Err(error) => {
                return Outcome::fail(io_failure::kind(&error), format!("netlink: {error}"));
            }
        };
        let lookups = async {
            for address in &self.addresses {
                if !is_local(&handle, *address).await {
                    return Outcome::fail(
                        FailureKind::Unreachable,
                        format!("{address} is not on this host"),
                    );
                }
            }
            Outcome::pass("on this host")
        };
        tokio::select! {
            outcome = lookups => outcome,
            () = connection => Outcome::fail(FailureKind::Resource, "netlink: the connection ended"),
        }
    }
}

/// One route lookup, whatever the number of addresses on the host. No route at all is an error of the
/// lookup, and means the same.
async fn is_local(handle: &Handle, address: IpAddr) -> bool {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let Ok(route) = RouteMessageBuilder::<IpAddr>::new().destination_prefix(address, prefix) else {
        return false;
    };
    let mut routes = handle.route().get(route.build()).execute();
    matches!(routes.try_next().await, Ok(Some(route)) if route.header.kind == RouteType::Local)
}
