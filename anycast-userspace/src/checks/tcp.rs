//! The `tcp` check: a connection that must be accepted, with a TLS handshake if asked for.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::Subject;
use super::combine::every;
use super::probe::{Failure, targets};
use super::tls::TlsProbe;
use crate::config::check::TcpCheck;
use crate::health::{FailureKind, Outcome};

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
        every(&self.targets, |target| self.one(target)).await
    }

    async fn one(&self, target: SocketAddr) -> Result<Cow<'static, str>, Failure> {
        let stream = connect(target).await?;
        match &self.tls {
            None => Ok(Cow::Borrowed("connected")),
            Some(tls) => {
                tls.handshake(stream, target.ip()).await?;
                Ok(Cow::Borrowed("TLS handshake completed"))
            }
        }
    }
}

/// A connection that leaves no TIME_WAIT behind: it is reset when it is dropped, so that frequent
/// checks do not use up the ephemeral ports.
pub(super) async fn connect(target: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(target).await?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    // With nobody listening on a port of the ephemeral range, the kernel can connect it to itself.
    if stream.local_addr()? == target {
        return Err(Failure::new(
            FailureKind::Refused,
            "nobody listens there: the connection met itself",
        ));
    }
    Ok(stream)
}
