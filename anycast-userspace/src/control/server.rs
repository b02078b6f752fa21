//! Accepts connections on the control socket and carries each request to the controller.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::protocol::{Request, Response};
use crate::events::{Event, EventKind};

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

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers on it.
    #[error("{}: another anycast daemon answers on this control socket", .0.display())]
    InUse(PathBuf),
    /// The path names something that is not a socket.
    #[error("{}: exists and is not a socket; choose another control.socket", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("{}: cannot open the control socket: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The listening socket, mode 0600; its file is removed on drop.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "control socket already gone");
        }
    }
}

impl Server {
    /// Opens the socket. One that a dead daemon left is replaced, one that answers is respected.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        clear_stale(path)?;
        // The file must never be open to others, not even for the moment before a chmod.
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        nix::sys::stat::umask(mask);
        let listener = bound.map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves until dropped. A connection's fault ends that connection alone.
    pub async fn serve(self, calls: mpsc::Sender<Call>) {
        loop {
            match self.listener.accept().await {
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

fn clear_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(SocketError::NotASocket(path.to_owned()))
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(SocketError::InUse(path.to_owned()))
        }
        Ok(_) => fs::remove_file(path).map_err(failed),
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
    async fn the_socket_is_for_its_owner_alone_and_goes_with_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/anycast.sock");
        let server = Server::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(Server::bind(&path), Err(SocketError::InUse(_))));
        drop(server);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_daemon_left_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("anycast.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Server::bind(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Server::bind(&path),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

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
