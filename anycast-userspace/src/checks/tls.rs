//! TLS for checks: who is believed, and for how long a certificate must last.

mod authorities;
mod verifiers;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::io_failure;
use super::probe::Failure;
use super::prompt::Prompt;
use crate::config::check::Tls;
use crate::health::FailureKind;
use authorities::{Authorities, Chain};
use verifiers::{Lasting, Unverified};

/// The TLS side of a check.
pub(super) struct TlsProbe {
    settings: Tls,
    /// The protocol to be agreed on by ALPN (RFC 7301), if any.
    protocol: Option<&'static [u8]>,
    /// None where every certificate is taken.
    authorities: Option<Arc<Authorities>>,
    made: Mutex<Option<Made>>,
}

impl TlsProbe {
    /// `host` names the server where the settings do not.
    pub(super) fn new(settings: &Tls, host: Option<&str>) -> Self {
        let mut settings = settings.clone();
        settings.server_name = settings.server_name.or_else(|| host.map(str::to_owned));
        let authorities = settings
            .verify
            .then(|| Authorities::of(settings.ca_file.as_deref()));
        Self {
            settings,
            protocol: None,
            authorities,
            made: Mutex::default(),
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
        stream: Prompt,
        address: IpAddr,
    ) -> Result<TlsStream<Prompt>, Failure> {
        let connector = self.connector().await?;
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

    async fn connector(&self) -> Result<TlsConnector, Failure> {
        let chain = match &self.authorities {
            None => None,
            Some(authorities) => Some(authorities.chain().await?),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made
            && made.is_by(chain.as_ref())
        {
            return Ok(made.connector.clone());
        }
        let connector = connector(self.verifier(chain.clone()), self.protocol)?;
        let new = made.insert(Made { chain, connector });
        Ok(new.connector.clone())
    }

    fn verifier(&self, chain: Option<Chain>) -> Arc<dyn ServerCertVerifier> {
        match (chain, self.settings.min_days_left) {
            (None, _) => Arc::new(Unverified {
                provider: provider(),
            }),
            (Some(chain), None) => chain,
            (Some(chain), Some(days)) => Arc::new(Lasting { chain, days }),
        }
    }
}

/// What was made for the authorities as they were at the last run.
struct Made {
    chain: Option<Chain>,
    connector: TlsConnector,
}

impl Made {
    fn is_by(&self, chain: Option<&Chain>) -> bool {
        match (&self.chain, chain) {
            (None, None) => true,
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn connector(
    verifier: Arc<dyn ServerCertVerifier>,
    protocol: Option<&'static [u8]>,
) -> Result<TlsConnector, Failure> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(FailureKind::Resource, error.to_string()))?
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
