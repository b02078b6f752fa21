//! TCP connections and TLS handshakes.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert, WantsServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{LOOPBACK, assert_fails, check, first_outcome, start};
use crate::health::FailureKind;

/// A port that nothing listens on.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    listener.local_addr().expect("its address").port()
}

#[tokio::test]
async fn a_refused_connection_fails_at_once_and_names_the_target() {
    let port = closed_port().await;
    let outcome = first_outcome(&format!("type = \"tcp\"\nport = {port}\ntimeout = \"5s\"")).await;
    assert_fails(&outcome, FailureKind::Refused, &format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn a_service_on_two_families_passes_only_when_both_accept() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let both = [LOOPBACK, IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let check = check(&format!("type = \"tcp\"\nport = {port}"));
    let (_running, mut reports) = start(&check, &both);
    let outcome = reports.recv().await.expect("a report").outcome;
    assert_fails(&outcome, FailureKind::Refused, &format!("[::1]:{port}"));
    let _second = TcpListener::bind((Ipv6Addr::LOCALHOST, port))
        .await
        .expect("the same port on IPv6");
    let (_running, mut reports) = start(&check, &both);
    assert!(reports.recv().await.expect("a report").outcome.passed());
}

struct TlsServer {
    port: u16,
    directory: TempDir,
}

impl TlsServer {
    fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }
}

/// A certificate authority, and a certificate of it with its key.
pub(super) struct Certificates {
    pub(super) ca_pem: String,
    pub(super) certificate: rcgen::Certificate,
    pub(super) key: KeyPair,
}

/// A certificate for `city.example` that is valid from `days.0` to `days.1` days from now.
pub(super) fn certificates(days: (i64, i64)) -> Certificates {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let now = std::time::SystemTime::now();
    let at = |days: i64| {
        let distance = std::time::Duration::from_secs(days.unsigned_abs() * 86_400);
        let time = if days < 0 {
            now - distance
        } else {
            now + distance
        };
        time.into()
    };
    let mut leaf = CertificateParams::new(vec!["city.example".to_owned()]).expect("parameters");
    leaf.not_before = at(days.0);
    leaf.not_after = at(days.1);
    let key = KeyPair::generate().expect("a key");
    let certificate = leaf
        .signed_by(&key, &Issuer::new(ca, ca_key))
        .expect("a signed certificate");
    Certificates {
        ca_pem,
        certificate,
        key,
    }
}

/// A server for `city.example` whose certificate is valid from `days.0` to `days.1` days from now.
async fn tls_server(days: (i64, i64)) -> TlsServer {
    let Certificates {
        ca_pem,
        certificate,
        key,
    } = certificates(days);
    let config = server_config(rustls::DEFAULT_VERSIONS)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a server configuration");
    let port = serve(config).await;
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("ca.pem"), ca_pem).expect("the CA's file");
    TlsServer { port, directory }
}

fn server_config(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ServerConfig, WantsServerCert> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("protocol versions")
        .with_no_client_auth()
}

/// A server that answers everything with `city-a`; gives its port.
async fn serve(config: ServerConfig) -> u16 {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncity-a")
                        .await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    port
}

/// Shows the first certificate until it is told to change, then the second.
#[derive(Debug)]
struct Changing {
    keys: [Arc<CertifiedKey>; 2],
    changed: AtomicBool,
}

impl Changing {
    fn new(certificates: [&Certificates; 2]) -> Arc<Self> {
        let keys = certificates.map(
            |Certificates {
                 certificate, key, ..
             }| {
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
                Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))
            },
        );
        Arc::new(Self {
            keys,
            changed: AtomicBool::new(false),
        })
    }

    fn change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }
}

impl ResolvesServerCert for Changing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let index = usize::from(self.changed.load(Ordering::Relaxed));
        Some(Arc::clone(&self.keys[index]))
    }
}

#[tokio::test]
async fn a_certificate_is_verified_in_every_run_though_the_server_would_resume_the_session() {
    let trusted = certificates((-1, 30));
    let unknown = certificates((-1, 30));
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, &trusted.ca_pem).expect("the CA's file");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let shown = Changing::new([&trusted, &unknown]);
        let config = server_config(&[version]).with_cert_resolver(Arc::clone(&shown) as _);
        let port = serve(config).await;
        let check = check(&format!(
            "type = \"http\"\nport = {port}\nhost = \"city.example\"\ninterval = \"20ms\"\ntimeout = \"5s\"\n\
             [tls]\nca_file = \"{}\"",
            ca_file.display()
        ));
        let (_running, mut reports) = start(&check, &[LOOPBACK]);
        for _ in 0..3 {
            let outcome = reports.recv().await.expect("a report").outcome;
            assert!(outcome.passed(), "{version:?}: {outcome:?}");
        }
        shown.change();
        let failed = async {
            loop {
                let outcome = reports.recv().await.expect("a report").outcome;
                if !outcome.passed() {
                    return outcome;
                }
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(10), failed)
            .await
            .unwrap_or_else(|_| panic!("{version:?}: the new certificate is not looked at"));
        assert_fails(&outcome, FailureKind::Tls, "invalid peer certificate");
    }
}

#[tokio::test]
async fn certificates_are_judged_by_authority_name_and_time() {
    struct Case {
        name: &'static str,
        days: (i64, i64),
        tls: &'static str,
        trusted: bool,
        want: Result<(), &'static str>,
    }
    let cases = [
        Case {
            name: "a valid certificate of a trusted authority passes",
            days: (-1, 30),
            tls: "server_name = \"city.example\"",
            trusted: true,
            want: Ok(()),
        },
        Case {
            name: "an unknown authority fails",
            days: (-1, 30),
            tls: "server_name = \"city.example\"",
            trusted: false,
            want: Err("UnknownIssuer"),
        },
        Case {
            name: "another name fails",
            days: (-1, 30),
            tls: "server_name = \"town.example\"",
            trusted: true,
            want: Err("town.example"),
        },
        Case {
            name: "an expired certificate fails",
            days: (-30, -1),
            tls: "server_name = \"city.example\"",
            trusted: true,
            want: Err("expired"),
        },
        Case {
            name: "a certificate that lasts long enough passes",
            days: (-1, 30),
            tls: "server_name = \"city.example\"\nmin_days_left = 29",
            trusted: true,
            want: Ok(()),
        },
        Case {
            name: "a certificate that expires too soon fails",
            days: (-1, 30),
            tls: "server_name = \"city.example\"\nmin_days_left = 31",
            trusted: true,
            want: Err("expires within 31 days"),
        },
        Case {
            name: "without verification an expired certificate of nobody passes",
            days: (-30, -1),
            tls: "verify = false",
            trusted: false,
            want: Ok(()),
        },
    ];
    for case in cases {
        let server = tls_server(case.days).await;
        let ca_file = if case.trusted {
            format!("ca_file = \"{}\"", server.ca_file().display())
        } else {
            String::new()
        };
        for kind in ["tcp", "http"] {
            let outcome = first_outcome(&format!(
                "type = \"{kind}\"\nport = {}\ntimeout = \"5s\"\n[tls]\n{}\n{ca_file}",
                server.port, case.tls
            ))
            .await;
            match case.want {
                Ok(()) => assert!(outcome.passed(), "{} ({kind}): {outcome:?}", case.name),
                Err(words) => {
                    assert!(!outcome.passed(), "{} ({kind}) passed", case.name);
                    assert_fails(&outcome, FailureKind::Tls, words);
                }
            }
        }
    }
}

#[tokio::test]
async fn an_https_check_takes_the_server_name_from_its_host() {
    let server = tls_server((-1, 30)).await;
    let outcome = first_outcome(&format!(
        "type = \"http\"\nport = {}\nhost = \"city.example:8443\"\nbody_contains = \"city-a\"\ntimeout = \"5s\"\n\
         [tls]\nca_file = \"{}\"",
        server.port,
        server.ca_file().display()
    ))
    .await;
    assert!(outcome.passed(), "{outcome:?}");
}

#[tokio::test]
async fn a_missing_authority_file_is_named() {
    let server = tls_server((-1, 30)).await;
    let outcome = first_outcome(&format!(
        "type = \"tcp\"\nport = {}\ntimeout = \"5s\"\n[tls]\nca_file = \"/nonexistent/ca.pem\"",
        server.port
    ))
    .await;
    assert_fails(&outcome, FailureKind::Resource, "/nonexistent/ca.pem");
}

#[tokio::test]
async fn a_file_of_authorities_that_is_replaced_is_honoured_and_one_that_breaks_changes_nothing() {
    let server = tls_server((-1, 30)).await;
    let ca_file = server.ca_file();
    let trusted = std::fs::read(&ca_file).expect("the CA's file");
    let other = certificates((-1, 30)).ca_pem;
    std::fs::write(&ca_file, &other).expect("another CA");
    let check = check(&format!(
        "type = \"tcp\"\nport = {}\ninterval = \"20ms\"\ntimeout = \"5s\"\n\
         [tls]\nserver_name = \"city.example\"\nca_file = \"{}\"",
        server.port,
        ca_file.display()
    ));
    let (_running, mut reports) = start(&check, &[LOOPBACK]);
    let mut wait_for = async |passes: bool, when: &str| {
        let turned =
            async { while reports.recv().await.expect("a report").outcome.passed() != passes {} };
        let turned = tokio::time::timeout(Duration::from_secs(10), turned).await;
        assert!(turned.is_ok(), "{when}");
    };
    wait_for(false, "the server's authority is unknown").await;
    std::fs::write(&ca_file, &trusted).expect("the server's CA");
    wait_for(true, "its authority is known").await;
    let written = std::fs::metadata(&ca_file).expect("the file").len();
    assert_eq!(written, u64::try_from(trusted.len()).expect("its length"));

    std::fs::remove_file(&ca_file).expect("the file goes");
    let until = tokio::time::Instant::now() + Duration::from_millis(2500);
    while tokio::time::Instant::now() < until {
        wait_for(true, "the file is gone").await;
    }
    std::fs::write(&ca_file, &other).expect("another CA");
    wait_for(false, "its authority is unknown again").await;
}
