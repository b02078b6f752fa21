//! Lent sockets of which the runtime hears. One that may have something to read by itself is kept apart as long as that
//! saves work, and the runtime hears of it when there is something to wait for. Nothing is read or written here.

use std::io;
use std::mem;
use std::ops::{Deref, DerefMut};

use socket2::Socket;
use tokio::net::{TcpStream, UdpSocket};

use super::lent::{Kind, Lent};

/// A socket as the runtime knows it.
pub(super) trait Known: Sized {
    fn of(socket: Socket) -> io::Result<Self>;
    /// The runtime forgets it.
    fn forgotten(self) -> io::Result<Socket>;
}

impl Known for TcpStream {
    fn of(socket: Socket) -> io::Result<Self> {
        Self::from_std(socket.into())
    }

    fn forgotten(self) -> io::Result<Socket> {
        self.into_std().map(Socket::from)
    }
}

impl Known for UdpSocket {
    fn of(socket: Socket) -> io::Result<Self> {
        Self::from_std(socket.into())
    }

    fn forgotten(self) -> io::Result<Socket> {
        self.into_std().map(Socket::from)
    }
}

/// A socket that the runtime has heard of. It goes back when it is dropped, as any that is lent.
#[derive(Debug)]
pub(super) struct Heard<T: Known> {
    /// There until the end.
    known: Option<T>,
    kind: Kind,
}

impl<T: Known> Heard<T> {
    pub(super) fn of(socket: Lent) -> io::Result<Self> {
        let (socket, kind) = socket.leave();
        Ok(Self {
            known: Some(T::of(socket)?),
            kind,
        })
    }
}

impl<T: Known> Deref for Heard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.known.as_ref().expect("a socket until its end")
    }
}

impl<T: Known> DerefMut for Heard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.known.as_mut().expect("a socket until its end")
    }
}

impl<T: Known> Drop for Heard<T> {
    fn drop(&mut self) {
        // What the runtime does not forget is closed.
        if let Some(Ok(socket)) = self.known.take().map(Known::forgotten) {
            drop(Lent::again(socket, self.kind));
        }
    }
}

/// A socket of which the runtime may have heard.
pub(super) enum Hearing<T: Known> {
    /// It has not.
    Apart(Lent),
    Heard(Heard<T>),
    /// It refused it.
    Lost,
}

impl<T: Known> Hearing<T> {
    /// The socket as the runtime has it, which hears of it now at the latest.
    pub(super) fn hear(&mut self) -> io::Result<&mut T> {
        *self = match mem::replace(self, Self::Lost) {
            Self::Apart(socket) => Self::Heard(Heard::of(socket)?),
            known @ (Self::Heard(_) | Self::Lost) => known,
        };
        match self {
            Self::Heard(socket) => Ok(socket),
            Self::Apart(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, UdpSocket as StdUdpSocket};
    use std::os::fd::AsRawFd as _;

    use super::super::lent::Transport;
    use super::*;

    #[tokio::test]
    async fn a_socket_that_the_runtime_has_heard_of_goes_back_and_can_be_heard_of_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let server = StdUdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a server");
        let [at_listener, at_server] = [listener.local_addr(), server.local_addr()]
            .map(|address| address.expect("its address"));
        let mut descriptors = Vec::new();
        for _ in 0..3 {
            let lent = Lent::take(Transport::Tcp, at_listener).expect("a socket");
            let stream_descriptor = lent.as_raw_fd();
            let _ = lent.connect(&at_listener.into());
            let stream: Heard<TcpStream> = Heard::of(lent).expect("heard");
            stream.writable().await.expect("connected");
            let (mut theirs, _) = listener.accept().expect("a connection");
            theirs.write_all(b"word").expect("sent");
            stream.readable().await.expect("something to read");
            drop(stream);
            let end = theirs.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset));

            let lent = Lent::take(Transport::Udp, at_server).expect("a socket");
            descriptors.push((stream_descriptor, lent.as_raw_fd()));
            lent.connect(&at_server.into()).expect("connected");
            lent.send(b"ask").expect("sent");
            let (_, from) = server.recv_from(&mut [0; 3]).expect("what was asked");
            let socket: Heard<UdpSocket> = Heard::of(lent).expect("heard");
            server.send_to(b"answer", from).expect("sent");
            let mut answer = [0; 6];
            socket.recv(&mut answer).await.expect("an answer");
            assert_eq!(&answer, b"answer");
        }
        descriptors.dedup();
        assert_eq!(descriptors.len(), 1, "one socket of each kind for all");
    }
}
