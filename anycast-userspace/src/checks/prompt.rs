//! A connection that has just been made, without the runtime as long as that saves work: there is room for what is
//! sent first, and a server on this host has mostly answered by the time that the other checks have had their turn.
//! The runtime hears of the socket when there is something to wait for.

use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::heard::{Heard, Hearing};
use super::lent::Lent;

/// Most that is read at once.
const ROOM: usize = 2048;

pub(super) struct Prompt {
    stream: Hearing<TcpStream>,
    /// Who reads has let the others have their turn.
    yielded: bool,
}

impl Prompt {
    /// An accepted connection.
    pub(super) fn apart(stream: Lent) -> Self {
        Self::of(Hearing::Apart(stream))
    }

    pub(super) fn heard(stream: Heard<TcpStream>) -> Self {
        Self::of(Hearing::Heard(stream))
    }

    fn of(stream: Hearing<TcpStream>) -> Self {
        Self {
            stream,
            yielded: false,
        }
    }

    /// The stream as the runtime has it.
    fn hear(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.hear().map(Pin::new)
    }
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
        if let Hearing::Apart(stream) = &mut prompt.stream
            && let Some(written) = at_once((&**stream).write(bytes))
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
        if let Hearing::Apart(stream) = &mut prompt.stream {
            if !std::mem::replace(&mut prompt.yielded, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // The room is filled with zeros first, and answers are mostly short.
            let room = buffer.initialize_unfilled_to(buffer.remaining().min(ROOM));
            if let Some(read) = at_once((&**stream).read(room)) {
                return Poll::Ready(read.map(|count| buffer.advance(count)));
            }
        }
        prompt.hear()?.poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Duration;

    use nix::errno::Errno;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::super::lent::Transport;
    use super::{Hearing, Lent, Prompt};

    fn pair() -> (Prompt, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let ours = Lent::take(Transport::Tcp, address).expect("a socket");
        let asked = ours
            .connect(&address.into())
            .map_err(|error| error.raw_os_error());
        assert_eq!(asked, Err(Some(Errno::EINPROGRESS as i32)));
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
        assert!(matches!(ours.stream, Hearing::Apart(_)));
        let quiet = timeout(Duration::from_millis(20), ours.read(&mut three)).await;
        assert!(quiet.is_err() && matches!(ours.stream, Hearing::Heard(_)));
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
