//! `/metrics` over HTTP, on an address or a Unix socket.
//!
//! Everything is bounded: the connections at once (`CONNECTIONS`; more wait in the kernel's queue), a
//! request's head (`HEAD_LIMIT`; its body is not read), the time until the head is there and the time
//! of a connection. One request a connection.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::page::{self, Format};
use super::process::Process;
use super::sample::Sample;
use super::{MeasurePeers, Metrics, Scrape};
use crate::config::Listen;
use crate::unix_socket::{SocketError, UnixSocket};

/// Connections that are served at once.
const CONNECTIONS: usize = 4;
/// Most that a request's head may take, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// The most time until a request's head is there.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// The most time for a connection as a whole.
const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// The most time until the controller and the peers have answered.
const SAMPLE_TIME: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, or not this host's.
    #[error("metrics.listen: cannot listen on {address}: {source}")]
    Address {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The Unix socket cannot be opened.
    #[error("metrics.listen: {0}")]
    Socket(#[from] SocketError),
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// On an address.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixSocket),
}

impl Listener {
    /// Opens the socket. Anybody on the host may connect to a path, as to an address of its own.
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        match listen {
            Listen::Address(address) => {
                TcpListener::bind(address)
                    .await
                    .map(Self::Tcp)
                    .map_err(|source| ListenError::Address {
                        address: *address,
                        source,
                    })
            }
            Listen::Path(path) => Ok(Self::Unix(UnixSocket::bind(path, 0o666)?)),
        }
    }
}

/// Where a page's numbers come from.
pub struct Source {
    /// What has happened.
    pub metrics: Arc<Metrics>,
    /// Where the controller is asked.
    pub scrapes: mpsc::Sender<Scrape>,
    /// The peers.
    pub peers: Arc<dyn MeasurePeers>,
}

/// Makes pages.
struct Pages {
    source: Source,
    /// The last page's length.
    length: AtomicUsize,
}

impl Pages {
    /// A page of this moment; none when the controller does not answer.
    async fn page(&self, format: Format) -> Option<String> {
        let (reply, status) = oneshot::channel();
        let source = &self.source;
        source.scrapes.send(Scrape { reply }).await.ok()?;
        let sample = Sample {
            status: status.await.ok()?,
            peers: source.peers.measure().await,
            process: Process::read(),
        };
        // Pages differ little from scrape to scrape.
        let length = self.length.load(Ordering::Relaxed);
        let page = page::write(&source.metrics, sample, format, length + length / 64)
            .inspect_err(|error| tracing::error!(%error, "metrics"))
            .ok()?;
        self.length.store(page.len(), Ordering::Relaxed);
        Some(page)
    }
}

/// Serves until dropped. A connection's fault ends that connection alone.
pub async fn serve(listener: Listener, source: Source) {
    let pages = Arc::new(Pages {
        source,
        length: AtomicUsize::new(0),
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let pages = Arc::clone(&pages);
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    converse(stream, &pages).await;
                    drop(place);
                });
            }),
            Listener::Unix(socket) => socket.listener().accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    converse(stream, &pages).await;
                    drop(place);
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "metrics connection");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn converse<S>(stream: S, pages: &Arc<Pages>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, Arc::clone(pages)));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics connection ended"),
        Err(_) => tracing::debug!("a metrics connection took too long"),
    }
}

async fn answer(
    request: Request<Incoming>,
    pages: Arc<Pages>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/metrics" {
        return Ok(plain(StatusCode::NOT_FOUND, "there is /metrics here\n"));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return Ok(response);
    }
    let format = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .map_or(Format::Text, Format::accepted_by);
    let page = timeout(SAMPLE_TIME, pages.page(format)).await;
    let Ok(Some(page)) = page else {
        let words = "the daemon does not answer, or is stopping\n";
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, words));
    };
    let mut response = Response::new(Full::new(Bytes::from(page)));
    let content_type = header::HeaderValue::from_static(format.content_type());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}

fn plain(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
