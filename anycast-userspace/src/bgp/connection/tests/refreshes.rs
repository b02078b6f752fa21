//! ROUTE-REFRESH: what ends the session, and what is ignored (RFC 7313 §5).

use super::*;

/// An OPEN that offers route refresh (2), and where wanted the markers of RFC 7313 (70).
fn refreshing(markers: bool) -> Vec<u8> {
    let parameters: &[u8] = if markers {
        &[2, 4, 2, 0, 70, 0]
    } else {
        &[2, 2, 2, 0]
    };
    open(4, 65001, 90, [10, 0, 0, 2], parameters)
}

#[test]
fn a_marker_of_a_wrong_length_ends_the_session_where_markers_were_agreed_on() {
    let long = [&[0, 1, 1, 1][..], &[0; 4073]].concat();
    // Without the markers, what follows a family is read as ORFs (RFC 5291).
    // The body, and what it earns with and without the markers: code, subcode.
    type Case<'a> = (&'a str, &'a [u8], Option<(u8, u8)>, Option<(u8, u8)>);
    let cases: [Case<'_>; 10] = [
        ("BoRR", &[0, 1, 1, 1], None, None),
        ("EoRR", &[0, 1, 2, 1], None, None),
        ("a request", &[0, 1, 0, 1], None, None),
        ("an unknown subtype", &[0, 1, 9, 1], None, None),
        (
            "BoRR with more",
            &[0, 1, 1, 1, 0, 0],
            Some((7, 1)),
            Some((1, 2)),
        ),
        (
            "EoRR with ORFs",
            &[0, 1, 2, 1, 1, 64, 0, 0],
            Some((7, 1)),
            None,
        ),
        ("BoRR cut short", &[0, 1, 1], Some((7, 1)), Some((1, 2))),
        ("the longest BoRR", &long, Some((7, 1)), Some((1, 2))),
        (
            "a request cut short",
            &[0, 1, 0],
            Some((1, 2)),
            Some((1, 2)),
        ),
        ("without a subtype", &[0, 1], Some((1, 2)), Some((1, 2))),
    ];
    let now = Instant::now();
    for (name, body, with, without) in cases {
        for (markers, want) in [(true, with), (false, without)] {
            let mut connection = connection(now);
            feed(
                &mut connection,
                &[refreshing(markers), keepalive()].concat(),
                now,
            );
            assert_eq!(connection.state(), State::Established, "{name}");
            let octets = message(5, body);
            let got = sent(&feed(&mut connection, &octets, now));
            let codes = got.as_ref().map(|(code, subcode, _)| (*code, *subcode));
            assert_eq!(codes, want, "{name}, markers: {markers}");
            if let Some((7, _, data)) = got {
                assert_eq!(
                    data,
                    octets[..octets.len().min(4075)],
                    "{name}: the whole message"
                );
                assert!(connection.outbox.ends_with(&data), "{name}: it is sent");
            }
        }
    }
}

#[test]
fn a_marker_before_the_session_is_up_is_an_unexpected_message() {
    let now = Instant::now();
    let mut confirming = connection(now);
    feed(&mut confirming, &refreshing(true), now);
    let octets = message(5, &[0, 1, 1, 1, 0]);
    let got = sent(&feed(&mut confirming, &octets, now));
    assert_eq!(got.map(|(code, ..)| code), Some(5));
}
