//! Addresses, files and the time. Pings take privileges: they are tested in the crate `tests`.

use std::net::IpAddr;

use tokio::net::UdpSocket;

use super::{LOOPBACK, assert_fails, check, first_outcome, start};
use crate::health::{FailureKind, Outcome};

async fn outcome_at(toml: &str, addresses: &[&str]) -> Outcome {
    let addresses: Vec<IpAddr> = addresses
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    let (_running, mut reports) = start(&check(toml), &addresses);
    reports.recv().await.expect("a report").outcome
}

#[tokio::test]
async fn every_service_address_must_be_local() {
    let toml = "type = \"address\"\ntimeout = \"5s\"";
    let outcome = outcome_at(toml, &["127.0.0.1", "127.9.9.9", "::1"]).await;
    assert!(outcome.passed(), "{outcome:?}");
    let outcome = outcome_at(toml, &["127.0.0.1", "192.0.2.77"]).await;
    assert_fails(
        &outcome,
        FailureKind::Unreachable,
        "192.0.2.77 is not on this host",
    );
    let outcome = outcome_at(toml, &["::1", "2001:db8::77"]).await;
    assert_fails(
        &outcome,
        FailureKind::Unreachable,
        "2001:db8::77 is not on this host",
    );
}

#[tokio::test]
async fn of_ten_thousand_addresses_the_one_that_is_not_local_is_named() {
    let mut addresses: Vec<IpAddr> = (0..10_000_u32)
        .map(|number| std::net::Ipv4Addr::from(0x7f00_0001 + number).into())
        .collect();
    let check = check("type = \"address\"\ntimeout = \"10s\"\ninterval = \"10s\"");
    let (_running, mut reports) = start(&check, &addresses);
    let outcome = reports.recv().await.expect("a report").outcome;
    assert!(outcome.passed(), "{outcome:?}");
    addresses[9_000] = "192.0.2.77".parse().expect("an address");
    addresses[9_001] = "2001:db8::77".parse().expect("an address");
    let (_running, mut reports) = start(&check, &addresses);
    let outcome = reports.recv().await.expect("a report").outcome;
    assert_fails(
        &outcome,
        FailureKind::Unreachable,
        "192.0.2.77 is not on this host",
    );
}

#[tokio::test]
async fn a_file_passes_while_it_is_as_expected() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("switch");
    let asked = async |expect: &str| {
        let path = path.display();
        first_outcome(&format!("type = \"file\"\npath = \"{path}\"\n{expect}")).await
    };
    for (there, default_passes) in [(false, true), (true, false)] {
        if there {
            std::fs::write(&path, "").expect("the file");
        }
        for (expect, passes) in [
            ("", default_passes),
            ("expect = \"absent\"", default_passes),
            ("expect = \"present\"", !default_passes),
        ] {
            let outcome = asked(expect).await;
            assert_eq!(outcome.passed(), passes, "{expect}: {outcome:?}");
            if !passes {
                let words = if there { "is there" } else { "is not there" };
                assert_fails(&outcome, FailureKind::Mismatch, words);
            }
        }
    }
}

/// What a time server answers to a query: leap indicator, stratum, reference, seconds ahead; and
/// whether it repeats the query's timestamp.
#[derive(Clone, Copy)]
struct Answer(u8, u8, &'static [u8; 4], u32, bool);

async fn time_server(answer: Answer) -> u16 {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.expect("a socket");
    let port = socket.local_addr().expect("its address").port();
    tokio::spawn(async move {
        let mut query = [0; 48];
        while let Ok((_, client)) = socket.recv_from(&mut query).await {
            let Answer(leap, stratum, reference, ahead, repeats) = answer;
            let mut reply = [0; 48];
            reply[0] = leap << 6 | 4 << 3 | 4;
            reply[1] = stratum;
            reply[12..16].copy_from_slice(reference);
            if repeats {
                reply[24..32].copy_from_slice(&query[40..48]);
            }
            let now = u64::from_be_bytes(*query[40..48].first_chunk().expect("eight bytes"));
            let time = now.wrapping_add(u64::from(ahead) << 32);
            reply[32..40].copy_from_slice(&time.to_be_bytes());
            reply[40..48].copy_from_slice(&time.to_be_bytes());
            let _ = socket.send_to(&reply, client).await;
        }
    });
    port
}

#[tokio::test]
async fn a_time_server_is_judged_by_synchronization_stratum_and_offset() {
    use FailureKind::{Mismatch, Timeout};
    let good = Answer(0, 2, b"TEST", 0, true);
    let cases = [
        (good, "", None),
        (good, "max_stratum = 2\nmax_offset = \"1s\"", None),
        (good, "max_stratum = 1", Some((Mismatch, "stratum 2"))),
        (
            Answer(3, 2, b"TEST", 0, true),
            "",
            Some((Mismatch, "not synchronized")),
        ),
        (
            Answer(0, 16, b"TEST", 0, true),
            "",
            Some((Mismatch, "not synchronized")),
        ),
        (
            Answer(0, 0, b"RATE", 0, true),
            "",
            Some((Mismatch, "kiss-o'-death `RATE`")),
        ),
        (Answer(0, 2, b"TEST", 10, true), "", None),
        (
            Answer(0, 2, b"TEST", 10, true),
            "max_offset = \"1s\"",
            Some((Mismatch, "the clocks differ by 9.9")),
        ),
        (
            Answer(0, 2, b"TEST", 0, false),
            "",
            Some((Timeout, "no result")),
        ),
    ];
    for (answer, settings, want) in cases {
        let port = time_server(answer).await;
        let timeout = if matches!(want, Some((Timeout, _))) {
            "100ms"
        } else {
            "5s"
        };
        let outcome = first_outcome(&format!(
            "type = \"ntp\"\nport = {port}\ntimeout = \"{timeout}\"\n{settings}"
        ))
        .await;
        match want {
            None => assert!(outcome.passed(), "{outcome:?}"),
            Some((kind, words)) => {
                assert!(!outcome.passed(), "`{words}` passed: {outcome:?}");
                assert_fails(&outcome, kind, words);
            }
        }
    }
}
