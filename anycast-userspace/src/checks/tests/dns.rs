//! DNS answers: right, wrong, malformed and truncated.

use std::net::SocketAddr;

use domain::base::iana::Rcode;
use domain::base::opt::Nsid;
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::rdata::{A, Soa, Txt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::{LOOPBACK, assert_fails, first_outcome};
use crate::health::FailureKind;

type Query = Message<Vec<u8>>;
/// The datagrams that answer a query.
type Responder = fn(&Query) -> Vec<Vec<u8>>;

/// A server on one port, over UDP and TCP alike.
async fn server(udp: Responder, tcp: Responder) -> u16 {
    let (socket, listener) = loop {
        let socket = UdpSocket::bind((LOOPBACK, 0)).await.expect("a socket");
        let address: SocketAddr = socket.local_addr().expect("its address");
        if let Ok(listener) = TcpListener::bind(address).await {
            break (socket, listener);
        }
    };
    let port = socket.local_addr().expect("its address").port();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_octets(buffer[..length].to_vec()).expect("a query");
            for answer in udp(&query) {
                let _ = socket.send_to(&answer, client).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Ok(length) = stream.read_u16().await else {
                continue;
            };
            let mut buffer = vec![0; usize::from(length)];
            let _ = stream.read_exact(&mut buffer).await;
            for answer in tcp(&Message::from_octets(buffer).expect("a query")) {
                let length = u16::try_from(answer.len()).expect("a short answer");
                let _ = stream
                    .write_all(&[&length.to_be_bytes()[..], &answer].concat())
                    .await;
            }
        }
    });
    port
}

fn answer(query: &Query, rcode: Rcode) -> Vec<u8> {
    let builder = MessageBuilder::new_vec()
        .start_answer(query, rcode)
        .expect("an answer");
    builder.finish()
}

fn right(query: &Query) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec()
        .start_answer(query, Rcode::NOERROR)
        .expect("an answer");
    let name: Name<Vec<u8>> = "city.example".parse().expect("a name");
    let text: Txt<Vec<u8>> = Txt::build_from_slice(b"city-a").expect("a TXT");
    builder.push((&name, 60, text)).expect("room");
    builder
        .push((&name, 60, A::from_octets(192, 0, 2, 1)))
        .expect("room");
    builder.finish()
}

fn with(mut message: Vec<u8>, change: fn(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut message);
    message
}

fn to_another_question(query: &Query) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(query.header().id());
    builder.header_mut().set_qr(true);
    let mut builder = builder.question();
    let name: Name<Vec<u8>> = "town.example".parse().expect("a name");
    builder.push((&name, Rtype::A)).expect("room");
    builder.finish()
}

fn only_recursive(query: &Query) -> Vec<Vec<u8>> {
    vec![if query.header().rd() {
        right(query)
    } else {
        answer(query, Rcode::REFUSED)
    }]
}

fn silence(_: &Query) -> Vec<Vec<u8>> {
    Vec::new()
}

#[tokio::test]
async fn answers_pass_or_fail_by_id_question_rcode_and_data() {
    use FailureKind::{Closed, Mismatch, Protocol, Timeout};
    type Case = (
        &'static str,
        Responder,
        Responder,
        &'static str,
        Option<(FailureKind, &'static str)>,
    );
    let cases: &[Case] = &[
        ("a plain answer", |q| vec![right(q)], silence, "", None),
        (
            "no answer",
            silence,
            silence,
            "",
            Some((Timeout, "no result within")),
        ),
        (
            "an unexpected rcode",
            |q| vec![answer(q, Rcode::SERVFAIL)],
            silence,
            "",
            Some((Mismatch, "rcode SERVFAIL")),
        ),
        (
            "an expected rcode",
            |q| vec![answer(q, Rcode::REFUSED)],
            silence,
            "rcode = [\"NOERROR\", \"REFUSED\"]",
            None,
        ),
        (
            "the data holds the text",
            |q| vec![right(q)],
            silence,
            "answer = \"city-a\"",
            None,
        ),
        (
            "the data of a later record matches",
            |q| vec![right(q)],
            silence,
            "answer_matches = '^192\\.0\\.2\\.\\d$'",
            None,
        ),
        (
            "the data is another node's",
            |q| vec![right(q)],
            silence,
            "answer = \"city-b\"",
            Some((Mismatch, "city-a")),
        ),
        (
            "no data where some is expected",
            |q| vec![answer(q, Rcode::NOERROR)],
            silence,
            "answer = \"city-a\"",
            Some((Mismatch, "no records")),
        ),
        (
            "another id is passed over, then silence",
            |q| vec![with(right(q), |m| m[0] ^= 1)],
            silence,
            "",
            Some((Timeout, "no result within")),
        ),
        (
            "another id is passed over, then the answer",
            |q| vec![with(right(q), |m| m[0] ^= 1), right(q)],
            silence,
            "",
            None,
        ),
        (
            "another question",
            |q| vec![to_another_question(q)],
            silence,
            "",
            Some((Protocol, "another question: town.example")),
        ),
        (
            "the same question in another class",
            |q| vec![with(right(q), |m| m[29] = 3)],
            silence,
            "",
            Some((Protocol, "another question")),
        ),
        (
            "recursion is asked for by default",
            only_recursive,
            silence,
            "",
            None,
        ),
        (
            "recursion is not asked for where it is off",
            only_recursive,
            silence,
            "recursion = false",
            Some((Mismatch, "rcode REFUSED")),
        ),
        (
            "a query instead of an answer",
            |q| vec![q.as_slice().to_vec()],
            silence,
            "",
            Some((Protocol, "not an answer")),
        ),
        (
            "too short for a header",
            |q| vec![right(q)[..7].to_vec()],
            silence,
            "",
            Some((Protocol, "7 bytes")),
        ),
        (
            "cut within the question",
            |q| vec![right(q)[..14].to_vec()],
            silence,
            "",
            Some((Protocol, "malformed")),
        ),
        (
            "a name that points at itself",
            |q| vec![with(right(q), |m| m[12..14].copy_from_slice(&[0xc0, 12]))],
            silence,
            "",
            Some((Protocol, "malformed")),
        ),
        (
            "more records promised than there are",
            |q| vec![with(right(q), |m| m[7] = 9)],
            silence,
            "answer = \"nothing\"",
            Some((Protocol, "malformed")),
        ),
        (
            "truncated, and whole over TCP",
            |q| vec![with(answer(q, Rcode::NOERROR), |m| m[2] |= 2)],
            |q| vec![right(q)],
            "answer = \"city-a\"",
            None,
        ),
        (
            "truncated, and closed over TCP",
            |q| vec![with(answer(q, Rcode::NOERROR), |m| m[2] |= 2)],
            silence,
            "",
            Some((Closed, "")),
        ),
        (
            "TCP alone",
            silence,
            |q| vec![right(q)],
            "transport = \"tcp\"\nanswer = \"city-a\"",
            None,
        ),
        (
            "TCP with another id",
            silence,
            |q| vec![with(right(q), |m| m[0] ^= 1)],
            "transport = \"tcp\"",
            Some((Protocol, "id")),
        ),
    ];
    for (name, udp, tcp, settings, want) in cases {
        let port = server(*udp, *tcp).await;
        let timeout = if matches!(want, Some((Timeout, _))) {
            "150ms"
        } else {
            "5s"
        };
        let outcome = first_outcome(&format!(
            "type = \"dns\"\nport = {port}\nquery = \"city.example.\"\ntimeout = \"{timeout}\"\n{settings}"
        ))
        .await;
        match want {
            None => assert!(outcome.passed(), "{name}: {outcome:?}"),
            Some((kind, words)) => {
                assert!(!outcome.passed(), "{name} passed: {outcome:?}");
                assert_fails(&outcome, *kind, words);
            }
        }
    }
}

#[tokio::test]
async fn a_closed_udp_port_is_told_at_once_not_at_the_timeout() {
    let port = {
        let socket = UdpSocket::bind((LOOPBACK, 0)).await.expect("a socket");
        socket.local_addr().expect("its address").port()
    };
    let outcome = first_outcome(&format!("type = \"dns\"\nport = {port}\ntimeout = \"10s\"")).await;
    assert_fails(&outcome, FailureKind::Refused, "refused");
}

/// A SOA answer with a serial, and with a name server identifier when one was asked for.
fn soa(query: &Query, serial: u32) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec()
        .start_answer(query, Rcode::NOERROR)
        .expect("an answer");
    let name: Name<Vec<u8>> = "city.example".parse().expect("a name");
    let [refresh, retry, expire, minimum] = [Ttl::from_secs(60); 4];
    let data = Soa::new(&name, &name, serial.into(), refresh, retry, expire, minimum);
    builder.push((&name, 60, data)).expect("room");
    let mut builder = builder.additional();
    if query.opt().is_some_and(|opt| opt.opt().nsid().is_some()) {
        builder
            .opt(|opt| opt.push(Nsid::from_slice(b"city-a").expect("a short name")))
            .expect("room");
    }
    builder.finish()
}

#[tokio::test]
async fn a_serial_may_lag_behind_a_reference_that_answers_and_no_further_than_allowed() {
    let own = server(|q| vec![soa(q, 7)], silence).await;
    let newer = server(|q| vec![soa(q, 9)], silence).await;
    let mute = server(silence, silence).await;
    let cases = [
        (newer, 2, Ok("serial 7")),
        (newer, 1, Err("serial 7 is 2 behind 9")),
        (own, 0, Ok("serial 7")),
        (mute, 0, Ok("does not say")),
    ];
    for (reference, max_lag, want) in cases {
        let outcome = first_outcome(&format!(
            "type = \"dns\"\nport = {own}\nquery = \"city.example.\"\nrecord = \"SOA\"\ntimeout = \"1s\"\n\
             serial = {{ server = \"127.0.0.1:{reference}\", max_lag = {max_lag} }}"
        ))
        .await;
        match want {
            Ok(words) => {
                assert!(outcome.passed(), "{outcome:?}");
                assert!(outcome.detail().contains(words), "{outcome:?}");
            }
            Err(words) => assert_fails(&outcome, FailureKind::Mismatch, words),
        }
    }
}

#[tokio::test]
async fn an_answer_of_another_node_is_told_by_its_name_server_identifier() {
    let named = server(|q| vec![soa(q, 7)], silence).await;
    let nameless = server(|q| vec![right(q)], silence).await;
    for (port, nsid, want) in [
        (named, "city-a", None),
        (named, "city-b", Some("comes from `city-a`")),
        (nameless, "city-a", Some("no name server identifier")),
    ] {
        let outcome = first_outcome(&format!(
            "type = \"dns\"\nport = {port}\nquery = \"city.example.\"\nnsid = \"{nsid}\"\ntimeout = \"5s\""
        ))
        .await;
        match want {
            None => assert!(outcome.passed(), "{outcome:?}"),
            Some(words) => assert_fails(&outcome, FailureKind::Mismatch, words),
        }
    }
}
