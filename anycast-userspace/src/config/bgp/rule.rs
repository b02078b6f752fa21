//! What a single field of `[bgp]` must keep.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::Password;
use crate::config::Span;

/// Stands for an AS number that does not fit two octets (RFC 6793 §9): nobody's own.
const AS_TRANS: u32 = 23456;
/// The kernel takes 80 octets (TCP_MD5SIG_MAXKEYLEN, TCP_AO_MAXKEYLEN).
const MAX_SECRET: usize = 80;

pub(super) fn as_number(asn: &u32, _: &()) -> garde::Result {
    match *asn {
        0 => Err(garde::Error::new("0 is not an AS number (RFC 7607)")),
        AS_TRANS => Err(garde::Error::new("23456 is reserved (AS_TRANS, RFC 6793)")),
        u32::MAX => Err(garde::Error::new("4294967295 is reserved (RFC 7300)")),
        _ => Ok(()),
    }
}

pub(super) fn router_id(id: &Ipv4Addr, _: &()) -> garde::Result {
    if id.is_unspecified() {
        return Err(garde::Error::new(
            "0.0.0.0 is not a BGP Identifier (RFC 6286)",
        ));
    }
    Ok(())
}

pub(super) fn can_be_reached(listen: &SocketAddr, _: &()) -> garde::Result {
    if listen.port() == 0 {
        return Err(garde::Error::new(format!(
            "`{listen}`: nobody could find port 0; the port of BGP is 179"
        )));
    }
    Ok(())
}

pub(super) fn hold_time(time: &Span, _: &()) -> garde::Result {
    let secs = time.0.as_secs();
    if time.0.subsec_nanos() != 0 || secs == 1 || secs == 2 || secs > u64::from(u16::MAX) {
        return Err(garde::Error::new(
            "must be whole seconds: 0, or from 3 to 65535 (RFC 4271 §4.2)",
        ));
    }
    Ok(())
}

/// RFC 9687 §4.4: while the peer is held to be alive, it must be allowed to be slow.
pub(super) fn longer_than(hold_time: &Span) -> impl FnOnce(&Span, &()) -> garde::Result + '_ {
    move |send_hold_time, ()| {
        if send_hold_time <= hold_time {
            return Err(garde::Error::new("must be longer than `hold_time`"));
        }
        if send_hold_time.0 < Duration::from_secs(1) {
            return Err(garde::Error::new("must be at least 1s"));
        }
        Ok(())
    }
}

pub(super) fn positive(span: &Span, _: &()) -> garde::Result {
    if span.0.is_zero() {
        return Err(garde::Error::new("must be longer than 0"));
    }
    Ok(())
}

pub(super) fn host(interface: &Option<String>) -> impl FnOnce(&IpAddr, &()) -> garde::Result + '_ {
    move |address, ()| {
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            return Err(garde::Error::new(format!(
                "is IPv4 written as IPv6: write {v4}"
            )));
        }
        let broadcast = *address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.is_unspecified() || address.is_multicast() || broadcast {
            return Err(garde::Error::new("is not the address of one host"));
        }
        if is_link_local(*address) && interface.is_none() {
            return Err(garde::Error::new(
                "is link-local: `interface` must say where",
            ));
        }
        Ok(())
    }
}

pub(super) fn many_hosts(prefix: &IpNet, _: &()) -> garde::Result {
    if *prefix != prefix.trunc() {
        return Err(garde::Error::new(format!(
            "has host bits set: write {}",
            prefix.trunc()
        )));
    }
    if prefix.prefix_len() == prefix.max_prefix_len() {
        return Err(garde::Error::new("is one host: write `address`"));
    }
    if is_link_local(prefix.addr()) {
        return Err(garde::Error::new(
            "is link-local: write the `interface` instead",
        ));
    }
    Ok(())
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// A secret that may stand in a file instead; `file_field` is the name of that field.
pub(super) fn secret<'a>(
    file: &'a Option<PathBuf>,
    file_field: &'a str,
) -> impl FnOnce(&Option<Password>, &()) -> garde::Result + 'a {
    move |secret, ()| match secret {
        Some(_) if file.is_some() => Err(garde::Error::new(format!(
            "is given twice: also by `{file_field}`"
        ))),
        Some(secret) if secret.reveal().is_empty() || secret.reveal().len() > MAX_SECRET => {
            Err(garde::Error::new("must have 1 to 80 octets"))
        }
        Some(_) | None => Ok(()),
    }
}

/// A secret that must be given, here or by its file.
pub(super) fn either(
    file: &Option<PathBuf>,
) -> impl FnOnce(&Option<Password>, &()) -> garde::Result + '_ {
    move |secret, ()| {
        if secret.is_none() && file.is_none() {
            return Err(garde::Error::new("is missing: give it, or `secret_file`"));
        }
        Ok(())
    }
}

pub(super) fn ttl_security(multihop: &Option<u8>) -> impl FnOnce(&bool, &()) -> garde::Result + '_ {
    move |on, ()| match multihop {
        Some(255) if *on => Err(garde::Error::new(
            "means nothing with `multihop = 255`: every packet would pass",
        )),
        Some(_) | None => Ok(()),
    }
}
