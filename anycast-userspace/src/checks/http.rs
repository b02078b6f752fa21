//! The `http` check: one request over a connection of its own, plain or TLS.

mod search;

use std::borrow::{Borrow, Cow};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
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
    targets: Vec<Target>,
    tls: Option<TlsProbe>,
}

/// An address, and what it is sent.
struct Target {
    address: SocketAddr,
    /// An error when the settings make no request.
    request: http::Result<Request<Empty<Bytes>>>,
}

impl Borrow<SocketAddr> for Target {
    fn borrow(&self) -> &SocketAddr {
        &self.address
    }
}

impl HttpProbe {
    pub(super) fn new(check: &HttpCheck, subject: &Subject<'_>) -> Self {
        let port = check
            .port
            .unwrap_or(if check.tls.is_some() { 443 } else { 80 });
        let host = check.host.as_deref().map(without_port);
        Self {
            targets: targets(check.target, subject, port)
                .into_iter()
                .map(|address| Target {
                    address,
                    request: request(check, address),
                })
                .collect(),
            tls: check.tls.as_ref().map(|tls| TlsProbe::new(tls, host)),
            check: check.clone(),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        every(&self.targets, |target| self.one(target)).await
    }

    async fn one(&self, target: &Target) -> Result<Cow<'static, str>, Failure> {
        let request = target.request.as_ref().map_err(|error| {
            Failure::new(
                FailureKind::Resource,
                format!("no such request can be sent: {error}"),
            )
        })?;
        let stream = connect(target.address).await?;
        match &self.tls {
            None => self.exchange(stream, request).await,
            Some(tls) => {
                // Much larger than an exchange without TLS.
                let exchange = async {
                    let stream = tls.handshake(stream, target.address.ip()).await?;
                    self.exchange(stream, request).await
                };
                Box::pin(exchange).await
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: &Request<Empty<Bytes>>,
    ) -> Result<Cow<'static, str>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sender, mut connection) = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .handshake(TokioIo::new(stream))
            .await?;
        let response = sender.send_request(request.clone());
        let answer = async { self.judge(response.await?).await };
        // The connection does the I/O; its errors reach the exchange by themselves. It is reset at the end, so
        // nothing is gained by an orderly shutdown before.
        let mut ended = false;
        let driver = poll_fn(|context| {
            ended = ended || connection.poll_without_shutdown(context).is_ready();
            Poll::<Infallible>::Pending
        });
        tokio::select! {
            // What arrives is judged in the same turn.
            biased;
            never = driver => match never {},
            result = answer => result,
        }
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
        Ok(match status {
            StatusCode::OK => Cow::Borrowed("status 200"),
            other => Cow::Owned(format!("status {}", other.as_u16())),
        })
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

fn request(check: &HttpCheck, target: SocketAddr) -> http::Result<Request<Empty<Bytes>>> {
    let host = match &check.host {
        Some(host) => Cow::Borrowed(host.as_str()),
        None => Cow::Owned(target.to_string()),
    };
    let mut request = Request::builder()
        .method(check.method.as_str())
        .uri(check.path.as_str());
    for (name, value) in [
        (header::HOST, host.as_ref()),
        (header::USER_AGENT, USER_AGENT),
        (header::CONNECTION, "close"),
    ] {
        let mut configured = check.headers.keys();
        if !configured.any(|other| other.eq_ignore_ascii_case(name.as_str())) {
            request = request.header(name, value);
        }
    }
    for (name, value) in &check.headers {
        request = request.header(name, value);
    }
    request.body(Empty::new())
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
