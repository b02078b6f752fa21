//! The `grpc` check: one call of `grpc.health.v1.Health/Check` over a connection of its own.
//!
//! tonic speaks gRPC, hyper HTTP/2. The connection is not tonic's `Channel`, which connects again by
//! itself and outlives the call: everything that a run starts ends with it.

mod connection;

use std::borrow::Cow;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::Subject;
use super::combine::every;
use super::dial::connect;
use super::io_failure;
use super::probe::{Failure, targets};
use super::tls::{TlsProbe, without_port};
use crate::config::check::GrpcCheck;
use crate::health::{FailureKind, Outcome};
use connection::Connection;

/// Most that is read of one answer; a health answer has two bytes.
const ANSWER_LIMIT: usize = 4 * 1024;
/// Most of a server's own words that is shown.
const WORDS_LIMIT: usize = 200;

pub(super) struct GrpcProbe {
    targets: Vec<SocketAddr>,
    service: String,
    authority: Option<String>,
    timeout: Duration,
    tls: Option<TlsProbe>,
}

impl GrpcProbe {
    pub(super) fn new(check: &GrpcCheck, subject: &Subject<'_>) -> Self {
        let host = check.authority.as_deref().map(without_port);
        let tls = check
            .tls
            .as_ref()
            .map(|tls| TlsProbe::new(tls, host).speaking(b"h2"));
        let server_name = tls.as_ref().and_then(TlsProbe::server_name);
        Self {
            targets: targets(check.target, subject, check.port),
            service: check.service.clone(),
            authority: check
                .authority
                .clone()
                .or_else(|| server_name.map(str::to_owned)),
            timeout: check.common().timeout(),
            tls,
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        every(&self.targets, |target| self.one(*target)).await
    }

    async fn one(&self, target: SocketAddr) -> Result<Cow<'static, str>, Failure> {
        let stream = connect(target).await?;
        match &self.tls {
            None => self.call(stream, self.origin("http", target)?).await,
            Some(tls) => {
                let stream = tls.handshake(stream, target.ip()).await?;
                self.call(stream, self.origin("https", target)?).await
            }
        }
    }

    fn origin(&self, scheme: &str, target: SocketAddr) -> Result<Uri, Failure> {
        let authority = match &self.authority {
            Some(authority) => Cow::Borrowed(authority.as_str()),
            None => Cow::Owned(target.to_string()),
        };
        Uri::builder()
            .scheme(scheme)
            .authority(authority.as_ref())
            .path_and_query("/")
            .build()
            .map_err(|error| {
                Failure::new(
                    FailureKind::Resource,
                    format!("no such request can be sent: {error}"),
                )
            })
    }

    async fn call<S>(&self, stream: S, origin: Uri) -> Result<Cow<'static, str>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Connection::open(stream)
            .await
            .map_err(|error| broken(&error))?;
        let mut client = HealthClient::with_origin(connection.sender(), origin)
            .max_decoding_message_size(ANSWER_LIMIT);
        let mut request = Request::new(HealthCheckRequest {
            service: self.service.clone(),
        });
        request.set_timeout(self.timeout);
        match client.check(request).await {
            Ok(answer) => self.judge(answer.get_ref().status),
            Err(status) => Err(self.refused(&status)),
        }
    }

    fn judge(&self, status: i32) -> Result<Cow<'static, str>, Failure> {
        use tonic_health::pb::health_check_response::ServingStatus as Answer;
        match Answer::try_from(status) {
            Ok(Answer::Serving) => Ok(Cow::Owned(format!("{} is SERVING", self.asked_for()))),
            Ok(other @ (Answer::NotServing | Answer::Unknown | Answer::ServiceUnknown)) => {
                Err(Failure::new(
                    FailureKind::Mismatch,
                    format!("{} is {}", self.asked_for(), other.as_str_name()),
                ))
            }
            Err(_) => Err(Failure::new(
                FailureKind::Protocol,
                format!("the health status {status} does not exist"),
            )),
        }
    }

    /// The server's refusal, or what became of the connection.
    fn refused(&self, status: &Status) -> Failure {
        if let Some(error) = status.source().and_then(in_transport) {
            return broken(error);
        }
        match status.code() {
            Code::NotFound => Failure::new(
                FailureKind::Mismatch,
                format!("the server knows no service `{}`", self.service),
            ),
            Code::Unimplemented => Failure::new(
                FailureKind::Mismatch,
                format!(
                    "the server does not serve grpc.health.v1.Health{}",
                    words(status)
                ),
            ),
            Code::DeadlineExceeded => Failure::new(
                FailureKind::Timeout,
                format!("the server says DEADLINE_EXCEEDED{}", words(status)),
            ),
            code => Failure::new(
                FailureKind::Mismatch,
                format!(
                    "the server says {code:?} ({}){}",
                    code as i32,
                    words(status)
                ),
            ),
        }
    }

    fn asked_for(&self) -> String {
        match self.service.as_str() {
            "" => "the server".to_owned(),
            service => format!("`{service}`"),
        }
    }
}

/// What the server adds to its code, in one line that a terminal can show.
fn words(status: &Status) -> String {
    if status.message().is_empty() {
        return String::new();
    }
    let message: String = status
        .message()
        .chars()
        .take(WORDS_LIMIT)
        .flat_map(char::escape_debug)
        .collect();
    format!(": {message}")
}

/// The transport's error in a chain of errors, if the transport is to blame.
fn in_transport<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a hyper::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn broken(error: &hyper::Error) -> Failure {
    let http2 = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    let kind = match http2 {
        Some(http2) => match http2.get_io() {
            Some(io) => io_failure::kind(io),
            None if http2.is_remote() => FailureKind::Closed,
            None => FailureKind::Protocol,
        },
        None if error.is_parse() => FailureKind::Protocol,
        None => FailureKind::Closed,
    };
    let detail = match error.source() {
        Some(source) => format!("HTTP/2: {source}"),
        None => format!("HTTP/2: {error}"),
    };
    Failure::new(kind, detail)
}
