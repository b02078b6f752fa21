//! The `tcp` check: a connection that must be accepted, with a TLS handshake if asked for.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::Subject;
use super::combine::every;
use super::dial::{connect, knock};
use super::probe::{Failure, targets};
use super::tls::TlsProbe;
use crate::config::check::TcpCheck;
use crate::health::Outcome;

pub(super) struct TcpProbe {
    targets: Vec<SocketAddr>,
    tls: Option<TlsProbe>,
}

impl TcpProbe {
    pub(super) fn new(check: &TcpCheck, subject: &Subject<'_>) -> Self {
        Self {
            targets: targets(check.target, subject, check.port),
            tls: check.tls.as_ref().map(|tls| TlsProbe::new(tls, None)),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        every(&self.targets, |target| self.one(*target)).await
    }

    async fn one(&self, target: SocketAddr) -> Result<Cow<'static, str>, Failure> {
        match &self.tls {
            None => {
                knock(target).await?;
                Ok(Cow::Borrowed("connected"))
            }
            Some(tls) => {
                let handshake = async { tls.handshake(connect(target).await?, target.ip()).await };
                Box::pin(handshake).await?;
                Ok(Cow::Borrowed("TLS handshake completed"))
            }
        }
    }
}
