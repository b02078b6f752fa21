//! The `http` check: one request over a connection of its own, plain or TLS.

mod search;

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use search::Search;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::Subject;
use super::combine::every;
use super::dial::connect;
use super::probe::{Failure, targets};
use super::tls::{TlsProbe, without_port};
use crate::config::check::HttpCheck;
use crate::health::{FailureKind, Outcome};

/// After so long without more of a body, what there is of it is searched.
const QUIET: Duration = Duration::from_millis(5);
/// Most that one connection buffers for a response's head.
const HEAD_LIMIT: usize = 64 * 1024;
pub(super) const USER_AGENT: &str = concat!("anycast/", env!("CARGO_PKG_VERSION"));

pub(super) struct HttpProbe {
    check: HttpCheck,
    targets: Vec<SocketAddr>,
    tls: Option<TlsProbe>,
}

impl HttpProbe {
    pub(super) fn new(check: &HttpCheck, subject: &Subject<'_>) -> Self {
        let port = check
            .port
            .unwrap_or(if check.tls.is_some() { 443 } else { 80 });
        let host = check.host.as_deref().map(without_port);
        Self {
            targets: targets(check.target, subject, port),
            tls: check.tls.as_ref().map(|tls| TlsProbe::new(tls, host)),
            check: check.clone(),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        every(&self.targets, |target| self.one(target)).await
    }

    async fn one(&self, target: SocketAddr) -> Result<Cow<'static, str>, Failure> {
        let stream = connect(target).await?;
        match &self.tls {
            None => self.exchange(stream, target).await,
            Some(tls) => {
                // Much larger than an exchange without TLS.
                let exchange = async {
                    let stream = tls.handshake(stream, target.ip()).await?;
                    self.exchange(stream, target).await
                };
                Box::pin(exchange).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S, target: SocketAddr) -> Result<Cow<'static, str>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .handshake(TokioIo::new(stream))
            .await?;
        let answer = async {
            let response = sender.send_request(self.request(target)?).await?;
            self.judge(response).await
        };
        // The connection does the I/O; its errors reach the exchange by themselves. It is reset at the end, so
        // nothing is gained by an orderly shutdown before.
        let driver = async {
            let _ = connection.without_shutdown().await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            result = answer => result,
            never = driver => match never {},
        }
    }

    fn request(&self, target: SocketAddr) -> Result<Request<Empty<Bytes>>, Failure> {
        let host = match &self.check.host {
            Some(host) => Cow::Borrowed(host.as_str()),
            None => Cow::Owned(target.to_string()),
        };
        let mut request = Request::builder()
            .method(self.check.method.as_str())
            .uri(self.check.path.as_str());
        for (name, value) in [
            (header::HOST, host.as_ref()),
            (header::USER_AGENT, USER_AGENT),
            (header::CONNECTION, "close"),
        ] {
            let mut configured = self.check.headers.keys();
            if !configured.any(|other| other.eq_ignore_ascii_case(name.as_str())) {
                request = request.header(name, value);
            }
        }
        for (name, value) in &self.check.headers {
            request = request.header(name, value);
        }
        request.body(Empty::new()).map_err(|error| {
            Failure::new(
                FailureKind::Resource,
                format!("no such request can be sent: {error}"),
            )
        })
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<Cow<'static, str>, Failure> {
        let status = response.status();
        if !self
            .check
            .status
            .iter()
            .any(|range| range.contains(status.as_u16()))
        {
            return Err(mismatch(format!("status {status}")));
        }
        for (name, wanted) in &self.check.expect_headers {
            let values: Vec<_> = response
                .headers()
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            if values.is_empty() {
                return Err(mismatch(format!("no header `{name}`")));
            }
            if !values.iter().any(|value| value.contains(wanted.as_str())) {
                return Err(mismatch(format!(
                    "header `{name}` is `{}`",
                    values.join(", ")
                )));
            }
        }
        self.search(response.into_body()).await?;
        Ok(Cow::Owned(format!("status {}", status.as_u16())))
    }

    /// Reads only until everything expected was found, or the limit.
    async fn search(&self, mut body: Incoming) -> Result<(), Failure> {
        let mut search = Search::new(
            self.check.body_contains.as_deref(),
            self.check.body_matches.as_ref().map(|pattern| &pattern.0),
        );
        while let Some(missing) = search.missing() {
            if search.is_full() {
                return Err(mismatch(format!(
                    "no {missing} in the first 64 KiB of the body"
                )));
            }
            let frame = if search.is_behind() {
                timeout(QUIET, body.frame()).await
            } else {
                Ok(body.frame().await)
            };
            match frame {
                Err(_) => search.catch_up(),
                Ok(Some(frame)) => {
                    if let Some(data) = frame?.data_ref() {
                        search.push(data);
                    }
                }
                Ok(None) if search.is_behind() => search.catch_up(),
                Ok(None) => {
                    return Err(mismatch(format!(
                        "no {missing} in the body of {} bytes",
                        search.length()
                    )));
                }
            }
        }
        Ok(())
    }
}

fn mismatch(detail: String) -> Failure {
    Failure::new(FailureKind::Mismatch, detail)
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        let kind = if error.is_parse() {
            FailureKind::Protocol
        } else {
            FailureKind::Closed
        };
        let source = std::error::Error::source(&error);
        let detail = match source {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Self::new(kind, detail)
    }
}
