//! gRPC health: a real server, servers that are none, and servers that break off.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::service::Routes;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::tcp_and_tls::{Certificates, certificates};
use super::{LOOPBACK, assert_fails, check, first_outcome, start};
use crate::health::FailureKind;

/// A free port, for a server that binds by itself.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    listener.local_addr().expect("its address")
}

/// A real gRPC health server that knows `city.Api`.
struct Health {
    port: u16,
    reporter: HealthReporter,
}

impl Health {
    async fn start(tls: Option<ServerTlsConfig>) -> Self {
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Self::serve(tls, Routes::new(service)).await;
        reporter
            .set_service_status("city.Api", ServingStatus::Serving)
            .await;
        Self {
            reporter,
            port: health,
        }
    }

    /// Starts a server and waits until it accepts; gives its port.
    async fn serve(tls: Option<ServerTlsConfig>, routes: Routes) -> u16 {
        let address = free().await;
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).expect("a TLS configuration");
        }
        tokio::spawn(server.add_routes(routes).serve(address));
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        address.port()
    }
}

fn asking(port: u16, settings: &str) -> String {
    format!("type = \"grpc\"\nport = {port}\ntimeout = \"5s\"\n{settings}")
}

#[tokio::test]
async fn only_serving_passes_and_other_answers_are_told_by_name() {
    let server = Health::start(None).await;
    let asked = |settings: &'static str| first_outcome_of(server.port, settings);
    let cases = [
        (ServingStatus::Serving, Ok("`city.Api` is SERVING")),
        (ServingStatus::NotServing, Err("`city.Api` is NOT_SERVING")),
        (ServingStatus::Unknown, Err("`city.Api` is UNKNOWN")),
        (ServingStatus::Serving, Ok("`city.Api` is SERVING")),
    ];
    for (status, want) in cases {
        server.reporter.set_service_status("city.Api", status).await;
        let outcome = asked("service = \"city.Api\"").await;
        match want {
            Ok(words) => assert!(
                outcome.passed() && outcome.detail().contains(words),
                "{outcome:?}"
            ),
            Err(words) => assert_fails(&outcome, FailureKind::Mismatch, words),
        }
    }
    let whole = asked("").await;
    assert!(
        whole.passed() && whole.detail().contains("the server is SERVING"),
        "{whole:?}"
    );
    let unknown = asked("service = \"town.Api\"").await;
    assert_fails(
        &unknown,
        FailureKind::Mismatch,
        "the server knows no service `town.Api`",
    );
}

async fn first_outcome_of(port: u16, settings: &str) -> crate::health::Outcome {
    first_outcome(&asking(port, settings)).await
}

#[tokio::test]
async fn a_check_follows_a_server_that_stops_and_resumes_serving() {
    let server = Health::start(None).await;
    let check = check(&format!(
        "type = \"grpc\"\nport = {}\nservice = \"city.Api\"\ninterval = \"20ms\"\ntimeout = \"5s\"",
        server.port
    ));
    let (_running, mut reports) = start(&check, &[LOOPBACK]);
    for (status, passes) in [
        (ServingStatus::Serving, true),
        (ServingStatus::NotServing, false),
        (ServingStatus::Serving, true),
    ] {
        server.reporter.set_service_status("city.Api", status).await;
        let turned =
            async { while reports.recv().await.expect("a report").outcome.passed() != passes {} };
        tokio::time::timeout(Duration::from_secs(20), turned)
            .await
            .unwrap_or_else(|_| panic!("never {status:?}"));
    }
}

#[tokio::test]
async fn a_server_without_the_health_service_is_said_to_have_none() {
    let port = Health::serve(None, Routes::default()).await;
    let outcome = first_outcome_of(port, "").await;
    assert_fails(
        &outcome,
        FailureKind::Mismatch,
        "does not serve grpc.health.v1.Health",
    );
}

#[tokio::test]
async fn tls_is_judged_by_authority_and_name() {
    let Certificates {
        ca_pem,
        certificate,
        key,
    } = certificates((-1, 30));
    let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
    let server = Health::start(Some(ServerTlsConfig::new().identity(identity))).await;
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, ca_pem).expect("the CA's file");
    let ca = format!("ca_file = \"{}\"", ca.display());
    let named = "server_name = \"city.example\"";
    type Case<'a> = (&'a str, String, Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (
            "a trusted certificate of this name passes",
            format!("[tls]\n{named}\n{ca}"),
            None,
        ),
        (
            "the authority names the server where nothing else does",
            format!("authority = \"city.example:50051\"\n[tls]\n{ca}"),
            None,
        ),
        (
            "an unknown authority fails",
            format!("[tls]\n{named}"),
            Some("UnknownIssuer"),
        ),
        (
            "another name fails",
            format!("[tls]\nserver_name = \"town.example\"\n{ca}"),
            Some("town.example"),
        ),
        (
            "a certificate that expires too soon fails",
            format!("[tls]\n{named}\n{ca}\nmin_days_left = 31"),
            Some("expires within 31 days"),
        ),
        (
            "without verification any certificate passes",
            "[tls]\nverify = false".to_owned(),
            None,
        ),
    ];
    for (name, settings, want) in cases {
        let outcome = first_outcome(&asking(server.port, settings)).await;
        match want {
            None => assert!(outcome.passed(), "{name}: {outcome:?}"),
            Some(words) => assert_fails(&outcome, FailureKind::Tls, words),
        }
    }
    let plain = first_outcome(&asking(server.port, "")).await;
    assert!(!plain.passed(), "plain text to a TLS server: {plain:?}");
    let tls_to_plain = Health::start(None).await;
    let outcome = first_outcome(&asking(tls_to_plain.port, "[tls]\nverify = false")).await;
    assert!(!outcome.passed(), "TLS to a plain server: {outcome:?}");
}

/// What a server does with a connection instead of speaking gRPC.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Reads, and never answers.
    Silent,
    /// Begins HTTP/2, and never answers the call.
    HalfOpen,
    /// Closes as soon as it has read something.
    Close,
    /// Resets the connection.
    Reset,
    /// Answers like a web server of old.
    Http1,
    /// Begins HTTP/2, then sends a frame larger than was agreed.
    Oversized,
}

/// An empty SETTINGS frame, and one that acknowledges the client's (RFC 9113 §6.5).
const SETTINGS: [u8; 18] = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];

async fn faulty(fault: Fault) -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(misbehave(stream, fault));
        }
    });
    port
}

async fn misbehave(mut stream: TcpStream, fault: Fault) {
    let mut read = [0; 4096];
    let _ = stream.read(&mut read).await;
    match fault {
        Fault::Silent => std::future::pending().await,
        Fault::HalfOpen => {
            let _ = stream.write_all(&SETTINGS).await;
            std::future::pending::<()>().await;
        }
        Fault::Close => {}
        Fault::Reset => drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
        Fault::Http1 => {
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
            while matches!(stream.read(&mut read).await, Ok(length) if length > 0) {}
        }
        Fault::Oversized => {
            let _ = stream.write_all(&SETTINGS).await;
            let _ = stream
                .write_all(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])
                .await;
            while matches!(stream.read(&mut read).await, Ok(length) if length > 0) {}
        }
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_cancelled_at_the_timeout() {
    for fault in [Fault::Silent, Fault::HalfOpen] {
        let port = faulty(fault).await;
        let outcome = first_outcome(&format!(
            "type = \"grpc\"\nport = {port}\ntimeout = \"200ms\"\nsplay = \"0s\""
        ))
        .await;
        assert_fails(&outcome, FailureKind::Timeout, "no result within 200ms");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_fails_at_once_and_says_how() {
    let cases: &[(Fault, &[FailureKind])] = &[
        (Fault::Close, &[FailureKind::Closed]),
        (Fault::Reset, &[FailureKind::Closed]),
        (Fault::Http1, &[FailureKind::Protocol]),
        (Fault::Oversized, &[FailureKind::Protocol]),
    ];
    for (fault, kinds) in cases {
        let port = faulty(*fault).await;
        match first_outcome(&asking(port, "")).await {
            crate::health::Outcome::Fail { kind, detail } => {
                assert!(kinds.contains(&kind), "{fault:?}: {kind}: {detail}");
                assert!(detail.contains("HTTP/2"), "{fault:?}: {detail}");
            }
            crate::health::Outcome::Pass(detail) => panic!("{fault:?} passed: {detail}"),
        }
    }
    let refused = first_outcome(&asking(free().await.port(), "")).await;
    assert_fails(&refused, FailureKind::Refused, "127.0.0.1");
}

#[tokio::test]
async fn nothing_of_a_run_is_left_when_it_has_ended() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    // Begins HTTP/2 with everybody, and answers nobody.
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&SETTINGS).await;
            held.push(stream);
        }
    });
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let check = check(&format!(
        "type = \"grpc\"\nport = {port}\ninterval = \"20ms\"\ntimeout = \"20ms\"\nsplay = \"0s\""
    ));
    let (running, mut reports) = start(&check, &[LOOPBACK]);
    for _ in 0..3 {
        reports.recv().await.expect("a report");
    }
    running.stop().await;
    let left = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), left)
        .await
        .unwrap_or_else(|_| panic!("{} tasks are left of {before}", tasks()));
}
