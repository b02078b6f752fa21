//! What an OPEN may hold, and what is agreed on from it.

use rustbgpd_wire::BgpRole;

use super::*;

/// Capabilities as one parameter.
fn capabilities(octets: &[u8]) -> Vec<u8> {
    let length = u8::try_from(octets.len()).unwrap();
    [&[2, length][..], octets].concat()
}

fn with(octets: &[u8]) -> Vec<u8> {
    open(4, 65001, 90, [10, 0, 0, 2], &capabilities(octets))
}

/// IPv4 and IPv6 unicast, and AS 65001 in four octets.
const USUAL: [u8; 18] = [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4, 0, 0, 0xFD, 0xE9];

fn agreed(config: PeerConfig, open: &[u8]) -> Result<NegotiatedSession, (u8, u8)> {
    let now = Instant::now();
    let mut connection = Connection::new(config, Origin::Ours, Random::new(1), now);
    let happenings = feed(&mut connection, open, now);
    match sent(&happenings) {
        Some((code, subcode, _)) => Err((code, subcode)),
        None => Ok(connection.negotiated().unwrap().clone()),
    }
}

#[test]
fn parameters_longer_than_255_octets_are_read() {
    // RFC 9072 §2: length 255, type 255, the extended length, then parameters with lengths of two octets.
    let unknown = [&[200, 250][..], &[0; 250]].concat();
    let all = [&USUAL[..], &unknown, &unknown].concat();
    let length = u16::try_from(all.len()).unwrap();
    let parameter = [&[2][..], &length.to_be_bytes(), &all].concat();
    let extended = u16::try_from(parameter.len()).unwrap();
    let body = [
        &[4, 0xFD, 0xE9, 0, 90, 10, 0, 0, 2, 255, 255][..],
        &extended.to_be_bytes(),
        &parameter,
    ]
    .concat();
    let negotiated = agreed(config(), &message(1, &body)).unwrap();
    assert!(negotiated.four_octet_as);
    assert_eq!(negotiated.negotiated_families.len(), 2);
}

#[test]
fn what_is_unknown_is_ignored_and_what_is_missing_is_not_used() {
    let negotiated = agreed(config(), &with(&[&USUAL[..], &[200, 1, 7]].concat())).unwrap();
    assert_eq!(negotiated.negotiated_families.len(), 2);
    assert!(!negotiated.peer_route_refresh);
    assert!(!negotiated.peer_enhanced_route_refresh);
    // RFC 4760 §8 and RFC 6793 §4.2.3: a peer without capabilities speaks IPv4, and AS numbers of two octets.
    let old = agreed(config(), &good_open()).unwrap();
    assert_eq!(old.negotiated_families, [(Afi::Ipv4, Safi::Unicast)]);
    assert!(!old.four_octet_as);
}

#[test]
fn capabilities_of_one_kind_may_come_in_parameters_of_their_own() {
    // RFC 5492 §4.
    let apart = [capabilities(&USUAL[..6]), capabilities(&USUAL[6..])].concat();
    let negotiated = agreed(config(), &open(4, 65001, 90, [10, 0, 0, 2], &apart)).unwrap();
    assert_eq!(negotiated.negotiated_families.len(), 2);
}

#[test]
fn a_peer_without_a_family_of_ours_is_told_which_are_missing() {
    let mut only_ipv6 = config();
    only_ipv6.families = vec![(Afi::Ipv6, Safi::Unicast)];
    only_ipv6.disable_ipv4_unicast = true;
    let outcome = agreed(only_ipv6, &with(&USUAL[..6]));
    assert_eq!(outcome.unwrap_err(), (2, 7), "RFC 5492 §5");
}

#[test]
fn an_identifier_must_be_unique_in_the_as_alone() {
    // RFC 6286 §2.2.
    let ours = [10, 0, 0, 1];
    let same_identifier = |asn| open(4, asn, 90, ours, &[]);
    assert!(agreed(config(), &same_identifier(65001)).is_ok());
    let mut internal = config();
    internal.remote_asn = internal.local_asn;
    let outcome = agreed(internal, &same_identifier(64512));
    assert_eq!(outcome.unwrap_err(), (2, 3));
}

#[test]
fn as_0_is_nobody_in_either_field() {
    // RFC 7607 §2.
    let four_octets = [65, 4, 0, 0, 0, 0];
    for octets in [open(4, 0, 90, [10, 0, 0, 2], &[]), with(&four_octets)] {
        let mut anybody = config();
        anybody.remote_asn = 0;
        anybody.remote_asn_external = true;
        for config in [config(), anybody] {
            assert_eq!(agreed(config, &octets).unwrap_err(), (2, 2));
        }
    }
}

#[test]
fn any_other_as_is_external_and_ours_is_not() {
    let mut any = config();
    any.remote_asn = 0;
    any.remote_asn_external = true;
    assert!(agreed(any.clone(), &open(4, 65007, 90, [10, 0, 0, 2], &[])).is_ok());
    let ours = open(4, 64512, 90, [10, 0, 0, 2], &[]);
    assert_eq!(agreed(any, &ours).unwrap_err(), (2, 2));
}

#[test]
fn only_roles_that_go_together_get_a_session() {
    // RFC 9234 §4.2: provider 0, route server 1, its client 2, customer 3, peer 4.
    let pairs = [(0, 3), (1, 2), (2, 1), (3, 0), (4, 4)];
    let roles = [
        (0, BgpRole::Provider),
        (1, BgpRole::RouteServer),
        (2, BgpRole::RouteServerClient),
        (3, BgpRole::Customer),
        (4, BgpRole::Peer),
    ];
    for (ours, role) in roles {
        for theirs in 0..=4 {
            let mut config = config();
            config.local_role = Some(role);
            let open = with(&[&USUAL[..], &[9, 1, theirs]].concat());
            match agreed(config, &open) {
                Ok(_) => assert!(pairs.contains(&(ours, theirs)), "{ours} and {theirs}"),
                Err(refusal) => {
                    assert_eq!(refusal, (2, 11), "{ours} and {theirs}");
                    assert!(!pairs.contains(&(ours, theirs)), "{ours} and {theirs}");
                }
            }
        }
    }
    let mut strict = config();
    strict.local_role = Some(BgpRole::Customer);
    assert!(agreed(strict.clone(), &with(&USUAL)).is_ok());
    strict.strict_role = true;
    assert_eq!(agreed(strict, &with(&USUAL)).unwrap_err(), (2, 11));
}

#[test]
fn the_lower_hold_time_holds_and_keepalives_come_at_a_third_of_it() {
    for (theirs, want) in [(30, 30), (180, 90), (0, 0)] {
        let open = open(4, 65001, theirs, [10, 0, 0, 2], &[]);
        let negotiated = agreed(config(), &open).unwrap();
        assert_eq!(negotiated.hold_time, want);
        assert_eq!(negotiated.keepalive_interval, want / 3);
    }
}
