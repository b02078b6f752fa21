//! A connection that has just been made, without the runtime as long as that saves work: there is room for what is
//! sent first, and a server on this host has mostly answered by the time that the other checks have had their turn.
//! The runtime hears of the socket when there is something to wait for.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream as StdTcpStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) struct Prompt {
    stream: Stream,
    /// Who reads has let the others have their turn.
    yielded: bool,
}

enum Stream {
    /// The runtime has not heard of it.
    Apart(StdTcpStream),
    Heard(TcpStream),
    /// The runtime refused it.
    Lost,
}

impl Prompt {
    /// An accepted connection. It must not block.
    pub(super) fn apart(stream: StdTcpStream) -> Self {
        Self::of(Stream::Apart(stream))
    }

    pub(super) fn heard(stream: TcpStream) -> Self {
        Self::of(Stream::Heard(stream))
    }

    fn of(stream: Stream) -> Self {
        Self {
            stream,
            yielded: false,
        }
    }

    /// Sends small pieces without waiting for answers to those before (RFC 9293 §3.7.4).
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Apart(stream) => stream.set_nodelay(true),
            Stream::Heard(stream) => stream.set_nodelay(true),
            Stream::Lost => Err(lost()),
        }
    }

    /// The stream as the runtime has it.
    fn hear(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Apart(stream) => Stream::Heard(TcpStream::from_std(stream)?),
            heard_or_lost => heard_or_lost,
        };
        match &mut self.stream {
            Stream::Heard(stream) => Ok(Pin::new(stream)),
            Stream::Apart(_) | Stream::Lost => Err(lost()),
        }
    }
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// None where it would block.
fn at_once<T>(done: io::Result<T>) -> Option<io::Result<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        done => Some(done),
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let prompt = self.get_mut();
        if let Stream::Apart(stream) = &mut prompt.stream
            && let Some(written) = at_once(stream.write(bytes))
        {
            return Poll::Ready(written);
        }
        prompt.hear()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is kept back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().hear()?.poll_shutdown(context)
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let prompt = self.get_mut();
        if let Stream::Apart(stream) = &mut prompt.stream {
            if !std::mem::replace(&mut prompt.yielded, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(read) = at_once(stream.read(buffer.initialize_unfilled())) {
                return Poll::Ready(read.map(|count| buffer.advance(count)));
            }
        }
        prompt.hear()?.poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    fn pair() -> (Prompt, StdTcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let ours = StdTcpStream::connect(address).expect("a connection");
        ours.set_nonblocking(true).expect("a socket");
        let (theirs, _) = listener.accept().expect("its other end");
        (Prompt::apart(ours), theirs)
    }

    #[tokio::test]
    async fn what_is_there_is_read_and_what_comes_later_is_waited_for() {
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"ask").await.expect("sent");
        let mut three = [0; 3];
        theirs.read_exact(&mut three).expect("what was asked");
        theirs.write_all(b"one").expect("sent");
        ours.read_exact(&mut three).await.expect("the first answer");
        assert!(matches!(ours.stream, Stream::Apart(_)));
        let quiet = timeout(Duration::from_millis(20), ours.read(&mut three)).await;
        assert!(quiet.is_err() && matches!(ours.stream, Stream::Heard(_)));
        theirs.write_all(b"two").expect("sent");
        ours.read_exact(&mut three).await.expect("the second");
        assert_eq!(&three, b"two");
        drop(theirs);
        assert_eq!(ours.read(&mut three).await.expect("its end"), 0);
    }

    #[tokio::test]
    async fn whoever_sends_more_than_there_is_room_for_waits_until_it_is_taken() {
        let (mut ours, mut theirs) = pair();
        let much = vec![7; 32 * 1024 * 1024];
        let length = much.len();
        let taking = tokio::task::spawn_blocking(move || {
            let mut taken = Vec::new();
            theirs.read_to_end(&mut taken).map(|_| taken.len())
        });
        ours.write_all(&much).await.expect("sent");
        ours.shutdown().await.expect("the end");
        let taken = taking.await.expect("a thread");
        assert_eq!(taken.expect("all of it"), length);
    }
}
