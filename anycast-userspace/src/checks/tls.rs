//! TLS for checks: the system's certificate authorities or a file's, and how long a certificate lasts.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::io_failure;
use super::probe::Failure;
use crate::config::check::Tls;
use crate::health::FailureKind;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The TLS side of a check. Certificate authorities are read at the first run that needs them, and
/// again at the next one if that fails.
pub(super) struct TlsProbe {
    settings: Tls,
    /// The protocol to be agreed on by ALPN (RFC 7301), if any.
    protocol: Option<&'static [u8]>,
    connector: OnceCell<TlsConnector>,
}

impl TlsProbe {
    /// `host` names the server where the settings do not.
    pub(super) fn new(settings: &Tls, host: Option<&str>) -> Self {
        let mut settings = settings.clone();
        settings.server_name = settings.server_name.or_else(|| host.map(str::to_owned));
        Self {
            settings,
            protocol: None,
            connector: OnceCell::new(),
        }
    }

    /// Offers the server this protocol and no other.
    pub(super) fn speaking(mut self, protocol: &'static [u8]) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// The name sent to the server, if it is sent one.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.settings.server_name.as_deref()
    }

    /// Completes the handshake over a fresh connection; `address` names the server where nothing else does.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        address: IpAddr,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        // A client's last handshake message and its first request are two writes without an answer
        // between them; without TLS the first write is the whole request.
        stream.set_nodelay(true)?;
        let connector = self
            .connector
            .get_or_try_init(|| async { connector(&self.settings, self.protocol) })
            .await?;
        let name = match &self.settings.server_name {
            None => ServerName::IpAddress(address.into()),
            Some(name) => ServerName::try_from(name.clone()).map_err(|_| {
                Failure::new(FailureKind::Tls, format!("`{name}` is no server name"))
            })?,
        };
        connector.connect(name, stream).await.map_err(|error| {
            let tls = matches!(error.get_ref(), Some(inner) if inner.is::<Error>());
            let kind = if tls {
                FailureKind::Tls
            } else {
                io_failure::kind(&error)
            };
            Failure::new(kind, format!("TLS handshake: {error}"))
        })
    }
}

fn connector(settings: &Tls, protocol: Option<&'static [u8]>) -> Result<TlsConnector, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(settings, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| resource(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A session that is resumed skips the verifier: an expired certificate would go on passing.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name in an authority or a Host header (RFC 9110 §7.2), without port and brackets.
pub(super) fn without_port(host: &str) -> &str {
    let authority: Result<http::uri::Authority, _> = host.parse();
    let Ok(authority) = authority else {
        return host;
    };
    let name = &host[..authority.host().len()];
    name.strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name)
}

fn verifier(
    settings: &Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    if !settings.verify {
        return Ok(Arc::new(Unverified {
            provider: Arc::clone(provider),
        }));
    }
    let chain: Arc<dyn ServerCertVerifier> = match &settings.ca_file {
        Some(path) => WebPkiServerVerifier::builder_with_provider(
            Arc::new(authorities(path)?),
            Arc::clone(provider),
        )
        .build()
        .map_err(|error| {
            Failure::new(
                FailureKind::Resource,
                format!("{}: {error}", path.display()),
            )
        })?,
        None => Arc::new(
            rustls_platform_verifier::Verifier::new(Arc::clone(provider))
                .map_err(|error| resource(&error))?,
        ),
    };
    Ok(match settings.min_days_left {
        None => chain,
        Some(days) => Arc::new(Lasting { chain, days }),
    })
}

fn authorities(path: &Path) -> Result<RootCertStore, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::new(
            FailureKind::Resource,
            format!("{}: {error}", path.display()),
        )
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failure(&error))? {
        let certificate = certificate.map_err(|error| failure(&error))?;
        roots.add(certificate).map_err(|error| failure(&error))?;
    }
    Ok(roots)
}

fn resource(error: &Error) -> Failure {
    Failure::new(FailureKind::Resource, error.to_string())
}

/// A verifier that also asks whether the chain would still be valid some days from now.
#[derive(Debug)]
struct Lasting {
    chain: Arc<dyn ServerCertVerifier>,
    days: u32,
}

impl ServerCertVerifier for Lasting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |at| {
            self.chain
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
        };
        let verified = verify(now)?;
        let then = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + DAY * self.days);
        match verify(then) {
            Ok(_) => Ok(verified),
            Err(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => Err(Error::General(format!(
                "the certificate chain expires within {} days",
                self.days
            ))),
            Err(other) => Err(other),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Takes every certificate (`verify = false`), but still requires that the server holds its key.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
