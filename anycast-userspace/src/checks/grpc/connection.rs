//! An HTTP/2 connection for one call. It ends, whatever it is waiting for, when it is dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tonic::body::Body;
use tower_service::Service;

use super::super::http::USER_AGENT;

/// Most that one response's headers may take.
const HEADERS_LIMIT: u32 = 16 * 1024;
/// Most that may wait to be read: an answer is a few bytes.
const WINDOW: u32 = 64 * 1024;

/// The tasks of one connection.
type Tasks = Mutex<JoinSet<()>>;

pub(super) struct Connection {
    sender: Sender,
    _tasks: Arc<Tasks>,
}

impl Connection {
    /// Begins HTTP/2 with prior knowledge (RFC 9113 §3.3) on a connected stream.
    pub(super) async fn open<S>(stream: S) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let tasks = Arc::new(Tasks::default());
        let executor = Executor(Arc::downgrade(&tasks));
        let (sender, driver) = http2::Builder::new(executor.clone())
            .max_header_list_size(HEADERS_LIMIT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        // The driver's errors reach the call by themselves.
        hyper::rt::Executor::execute(&executor, async move { drop(driver.await) });
        Ok(Self {
            sender: Sender(sender),
            _tasks: tasks,
        })
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }
}

/// Runs hyper's parts of the connection; the last owner of the tasks aborts them. It does not own them
/// itself, since they hold it.
#[derive(Clone)]
struct Executor(Weak<Tasks>);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        if let Some(tasks) = self.0.upgrade() {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(future);
        }
    }
}

/// The connection as tonic wants it.
#[derive(Clone)]
pub(super) struct Sender(SendRequest<Body>);

impl Service<Request<Body>> for Sender {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // tonic keeps this name to itself, and sets it only in its own transport.
        request.headers_mut().insert(
            header::USER_AGENT,
            header::HeaderValue::from_static(USER_AGENT),
        );
        Box::pin(self.0.send_request(request))
    }
}
