//! What a peer can do wrong: by clause, at which stage, what it sends, and what that earns.

use crate::scripted::{KEEPALIVE, OPEN, UPDATE, message, open};

pub(super) const ROUTE_REFRESH: u8 = 5;
pub(super) const IDENTIFIER: [u8; 4] = [10, 0, 1, 2];

/// How far the session is when the error comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// We have sent our OPEN.
    OpenSent,
    /// We have accepted the peer's.
    OpenConfirm,
    Established,
}
use Stage::{Established, OpenConfirm, OpenSent};

/// A name with its source, when, what is sent, and code, subcode and data of the answer.
pub(super) type Case = (&'static str, Stage, Vec<u8>, &'static [u8]);

/// An OPEN with these fields and optional parameters.
fn open_with(version: u8, asn: u16, hold: u16, identifier: [u8; 4], parameters: &[u8]) -> Vec<u8> {
    let length = u8::try_from(parameters.len()).unwrap();
    let mut body = vec![version];
    body.extend(asn.to_be_bytes());
    body.extend(hold.to_be_bytes());
    body.extend(identifier);
    body.push(length);
    body.extend(parameters);
    message(OPEN, &body)
}

/// A KEEPALIVE with two octets of its header changed.
fn header(at: usize, octets: [u8; 2]) -> Vec<u8> {
    let mut keepalive = message(KEEPALIVE, &[]);
    keepalive[at..at + 2].copy_from_slice(&octets);
    keepalive
}

pub(super) fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
    let body = [
        &length(withdrawn)[..],
        withdrawn,
        &length(attributes)[..],
        attributes,
        nlri,
    ];
    message(UPDATE, &body.concat())
}

/// RFC 4271 §6.1.
pub(super) fn header_errors() -> Vec<Case> {
    vec![
        ("marker (§6.1)", OpenSent, header(4, [0, 0]), &[1, 1]),
        ("marker (§6.1)", Established, header(4, [0, 0]), &[1, 1]),
        (
            "length 18 (§6.1)",
            OpenSent,
            header(16, [0, 18]),
            &[1, 2, 0, 18],
        ),
        (
            "length 4097 (§6.1)",
            Established,
            header(16, [0x10, 1]),
            &[1, 2, 0x10, 1],
        ),
        (
            "length 65535 (§6.1)",
            Established,
            header(16, [255, 255]),
            &[1, 2, 255, 255],
        ),
        (
            "OPEN of 28 (§6.1)",
            OpenSent,
            message(OPEN, &[4; 9]),
            &[1, 2, 0, 28],
        ),
        (
            "UPDATE of 22 (§6.1)",
            Established,
            message(UPDATE, &[0; 3]),
            &[1, 2, 0, 22],
        ),
        (
            "KEEPALIVE of 20 (§6.1)",
            Established,
            message(KEEPALIVE, &[0]),
            &[1, 2, 0, 20],
        ),
        (
            "ROUTE-REFRESH of 22 (§6.1)",
            Established,
            message(ROUTE_REFRESH, &[0, 1, 0]),
            &[1, 2, 0, 22],
        ),
        ("type 0 (§6.1)", Established, message(0, &[]), &[1, 3, 0]),
        ("type 6 (§6.1)", OpenSent, message(6, &[]), &[1, 3, 6]),
        (
            "type 255 (§6.1)",
            Established,
            message(255, &[1, 2, 3]),
            &[1, 3, 255],
        ),
    ]
}

/// RFC 4271 §6.2, with RFC 5492, 6286, 7607 and 9234.
pub(super) fn open_errors() -> Vec<Case> {
    let with = |parameters: &[u8]| open_with(4, 65001, 90, IDENTIFIER, parameters);
    vec![
        (
            "version 3 (§6.2)",
            OpenSent,
            open_with(3, 65001, 90, IDENTIFIER, &[]),
            &[2, 1, 0, 4],
        ),
        (
            "version 5 (§6.2)",
            OpenSent,
            open_with(5, 65001, 90, IDENTIFIER, &[]),
            &[2, 1, 0, 4],
        ),
        (
            "another AS (§6.2)",
            OpenSent,
            open_with(4, 65002, 90, IDENTIFIER, &[]),
            &[2, 2],
        ),
        (
            "AS 0 (RFC 7607)",
            OpenSent,
            open_with(4, 0, 90, IDENTIFIER, &[]),
            &[2, 2],
        ),
        (
            "AS 0 in the capability (RFC 7607)",
            OpenSent,
            open_with(4, 23456, 90, IDENTIFIER, &[2, 6, 65, 4, 0, 0, 0, 0]),
            &[2, 2],
        ),
        (
            "another AS in the capability (RFC 6793)",
            OpenSent,
            open_with(4, 65001, 90, IDENTIFIER, &[2, 6, 65, 4, 0, 1, 0, 0]),
            &[2, 2],
        ),
        (
            "identifier 0.0.0.0 (RFC 6286)",
            OpenSent,
            open_with(4, 65001, 90, [0; 4], &[]),
            &[2, 3],
        ),
        (
            "unknown parameter (§6.2)",
            OpenSent,
            with(&[99, 1, 0]),
            &[2, 4],
        ),
        (
            "deprecated parameter 1 (§6.2)",
            OpenSent,
            with(&[1, 1, 0]),
            &[2, 4],
        ),
        (
            "parameter cut short (§6.2)",
            OpenSent,
            with(&[2, 9, 0]),
            &[2, 0],
        ),
        ("half a parameter (§6.2)", OpenSent, with(&[2]), &[2, 0]),
        (
            "capability cut short (RFC 5492)",
            OpenSent,
            with(&[2, 3, 65, 4, 0]),
            &[2, 0],
        ),
        (
            "Hold Time 1 (§6.2)",
            OpenSent,
            open_with(4, 65001, 1, IDENTIFIER, &[]),
            &[2, 6],
        ),
        (
            "Hold Time 2 (§6.2)",
            OpenSent,
            open_with(4, 65001, 2, IDENTIFIER, &[]),
            &[2, 6],
        ),
        // We are customer; so is the peer.
        (
            "the same role (RFC 9234)",
            OpenSent,
            with(&[2, 3, 9, 1, 3]),
            &[2, 11],
        ),
    ]
}

/// RFC 4271 §6.3 as far as RFC 7606 leaves it: the prefixes cannot be told.
pub(super) fn update_errors() -> Vec<Case> {
    vec![
        (
            "withdrawn beyond the end (§6.3)",
            Established,
            message(UPDATE, &[0, 9, 0, 0]),
            &[3, 1],
        ),
        (
            "attributes beyond the end (§6.3)",
            Established,
            message(UPDATE, &[0, 0, 0, 9]),
            &[3, 1],
        ),
        (
            "a prefix of 33 bits (§6.3)",
            Established,
            update(&[], &[], &[33, 10, 0, 0, 0, 0]),
            &[3, 10],
        ),
        (
            "a withdrawn prefix of 33 bits (§6.3)",
            Established,
            update(&[33, 10, 0, 0, 0, 0], &[], &[]),
            &[3, 10],
        ),
        (
            "half a prefix (§6.3)",
            Established,
            update(&[], &[], &[24, 10]),
            &[3, 10],
        ),
    ]
}

/// RFC 4271 §6.6, with the subcodes of RFC 6608.
pub(super) fn state_errors() -> Vec<Case> {
    let keepalive = message(KEEPALIVE, &[]);
    let refresh = message(ROUTE_REFRESH, &[0, 1, 0, 1]);
    vec![
        (
            "KEEPALIVE in OpenSent (RFC 6608)",
            OpenSent,
            keepalive,
            &[5, 1],
        ),
        (
            "UPDATE in OpenSent (RFC 6608)",
            OpenSent,
            update(&[], &[], &[]),
            &[5, 1],
        ),
        (
            "ROUTE-REFRESH in OpenSent (RFC 6608)",
            OpenSent,
            refresh.clone(),
            &[5, 1],
        ),
        (
            "UPDATE in OpenConfirm (RFC 6608)",
            OpenConfirm,
            update(&[], &[], &[]),
            &[5, 2],
        ),
        (
            "OPEN in OpenConfirm (RFC 6608)",
            OpenConfirm,
            open(IDENTIFIER, 90),
            &[5, 2],
        ),
        (
            "ROUTE-REFRESH in OpenConfirm (RFC 6608)",
            OpenConfirm,
            refresh,
            &[5, 2],
        ),
        (
            "OPEN in Established (RFC 6608)",
            Established,
            open(IDENTIFIER, 90),
            &[5, 3],
        ),
    ]
}

/// Attributes in error, each with its place in RFC 7606: the routes would be unusable, and we use none.
pub(super) const BAD_ATTRIBUTES: [(&str, &[u8]); 19] = [
    (
        "unknown well-known attribute (§3 b of RFC 4271 §6.3)",
        &[0x40, 99, 1, 0],
    ),
    ("ORIGIN as optional (§3 c)", &[0xC0, 1, 1, 0]),
    ("ORIGIN 3 (§7.1)", &[0x40, 1, 1, 3]),
    ("ORIGIN of two octets (§7.1)", &[0x40, 1, 2, 0, 0]),
    (
        "AS_PATH of an unknown segment (§7.2)",
        &[0x40, 2, 6, 9, 1, 0, 0, 0xFD, 0xE9],
    ),
    ("AS_PATH cut short (§7.2)", &[0x40, 2, 3, 2, 1, 0]),
    ("NEXT_HOP of three octets (§7.3)", &[0x40, 3, 3, 10, 0, 1]),
    ("MED of three octets (§7.4)", &[0x80, 4, 3, 0, 0, 1]),
    (
        "LOCAL_PREF from an external peer (§7.5)",
        &[0x40, 5, 4, 0, 0, 0, 1],
    ),
    ("ATOMIC_AGGREGATE with a value (§7.6)", &[0x40, 6, 1, 0]),
    (
        "AGGREGATOR of five octets (§7.7)",
        &[0xC0, 7, 5, 0, 0, 0, 0, 0],
    ),
    ("COMMUNITIES of three octets (§7.8)", &[0xC0, 8, 3, 0, 0, 1]),
    (
        "EXTENDED COMMUNITIES of seven octets (§7.14)",
        &[0xC0, 16, 7, 0, 2, 0, 0, 0, 0, 0],
    ),
    (
        "LARGE_COMMUNITY of eleven octets (RFC 8092 §6)",
        &[0xC0, 32, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ),
    ("MP_REACH_NLRI of one octet (§7.11)", &[0x80, 14, 1, 0]),
    (
        "MP_UNREACH_NLRI of two octets (§7.12)",
        &[0x80, 15, 2, 0, 2],
    ),
    (
        "MP_UNREACH_NLRI with a prefix of 129 bits (§5.3)",
        &[0x80, 15, 5, 0, 2, 1, 129, 0],
    ),
    (
        "MP_REACH_NLRI beyond the attributes (§4)",
        &[0x80, 14, 9, 0],
    ),
    ("ORIGIN twice (§3 g)", &[0x40, 1, 1, 0, 0x40, 1, 1, 0]),
];
