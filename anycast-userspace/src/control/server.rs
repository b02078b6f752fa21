//! Accepts connections on the control socket and carries each request to the controller.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::protocol::{Request, Response};
use crate::events::{Event, EventKind};
use crate::unix_socket::{SocketError, UnixSocket};

/// The longest request line, in bytes.
const MAX_REQUEST: u64 = 64 * 1024;

/// Requests that wait for the controller; a client beyond that waits in turn.
pub const DEPTH: usize = 16;

/// A request on its way to the controller.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// The controller's answer.
#[derive(Debug)]
pub enum Answer {
    /// One line.
    One(Response),
    /// The events so far, and the channel of those to come if the client follows.
    Events(Vec<Event>, Option<broadcast::Receiver<Event>>),
}

/// The listening socket, for its owner alone.
#[derive(Debug)]
pub struct Server(UnixSocket);

impl Server {
    /// Opens the socket. One that a dead daemon left is replaced, one that answers is respected.
    ///
    /// # Errors
    ///
    /// See [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        UnixSocket::bind(path, 0o600).map(Self)
    }

    /// Serves until dropped. A connection's fault ends that connection alone.
    pub async fn serve(self, calls: mpsc::Sender<Call>) {
        loop {
            match self.0.listener().accept().await {
                Ok((stream, _)) => {
                    let calls = calls.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, calls).await {
                            tracing::debug!(%error, "control connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(tokio::io::AsyncReadExt::take(reader, MAX_REQUEST));
    reader.read_line(&mut line).await?;
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            let message = format!("this is not a request: {error}");
            return send(&mut writer, &Response::Error { message }).await;
        }
    };
    let (reply, answer) = oneshot::channel();
    if calls.send(Call { request, reply }).await.is_err() {
        let message = "the daemon is stopping".to_owned();
        return send(&mut writer, &Response::Error { message }).await;
    }
    match answer.await {
        Ok(Answer::One(response)) => send(&mut writer, &response).await,
        Ok(Answer::Events(recent, live)) => {
            for event in recent {
                send(&mut writer, &Response::Event(event)).await?;
            }
            match live {
                Some(live) => follow(&mut writer, &mut reader, live).await,
                None => Ok(()),
            }
        }
        Err(_) => {
            let message = "the daemon is stopping".to_owned();
            send(&mut writer, &Response::Error { message }).await
        }
    }
}

async fn follow(
    writer: &mut OwnedWriteHalf,
    reader: &mut (impl tokio::io::AsyncBufRead + Unpin),
    mut live: broadcast::Receiver<Event>,
) -> io::Result<()> {
    let mut ignored = String::new();
    loop {
        let event = tokio::select! {
            event = live.recv() => event,
            read = reader.read_line(&mut ignored) => match read? {
                0 => return Ok(()),
                _more => { ignored.clear(); continue; }
            },
        };
        match event {
            Ok(event) => send(writer, &Response::Event(event)).await?,
            Err(broadcast::error::RecvError::Lagged(events)) => {
                let missed = Event::now(EventKind::Missed { events });
                send(writer, &Response::Event(missed)).await?;
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_no_request_is_answered_with_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("anycast.sock");
        let server = Server::bind(&path).unwrap();
        let (calls, _controller) = mpsc::channel(DEPTH);
        let serving = tokio::spawn(server.serve(calls));
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream
            .write_all(b"{\"command\":\"reboot\"}\n")
            .await
            .unwrap();
        let mut answer = String::new();
        BufReader::new(&mut stream)
            .read_line(&mut answer)
            .await
            .unwrap();
        assert!(answer.contains("unknown variant `reboot`"), "{answer}");
        serving.abort();
    }
}
