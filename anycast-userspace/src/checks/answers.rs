//! What comes back for a datagram. A server on this host has mostly answered by the time that the other checks have
//! had their turn; only where it has not, the runtime hears of the socket.

use std::io;
use std::net::UdpSocket as StdUdpSocket;

use tokio::net::UdpSocket;
use tokio::task::yield_now;

/// The answers that a socket gets.
pub(super) struct Answers {
    /// While the runtime has not heard of it.
    apart: Option<StdUdpSocket>,
    heard: Option<UdpSocket>,
}

impl Answers {
    /// Of a connected socket that does not block.
    pub(super) fn to(socket: StdUdpSocket) -> Self {
        Self {
            apart: Some(socket),
            heard: None,
        }
    }

    /// The length of the next one.
    pub(super) async fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(socket) = &self.apart {
            yield_now().await;
            match socket.recv(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
        self.hear()?.recv(buffer).await
    }

    fn hear(&mut self) -> io::Result<&UdpSocket> {
        if let Some(socket) = self.apart.take() {
            self.heard = Some(UdpSocket::from_std(socket)?);
        }
        self.heard
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_is_there_is_taken_and_what_comes_later_is_waited_for() {
        let [ours, theirs] =
            [(); 2].map(|()| StdUdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket"));
        ours.connect(theirs.local_addr().expect("its address"))
            .expect("connected");
        theirs
            .connect(ours.local_addr().expect("its address"))
            .expect("connected");
        ours.set_nonblocking(true).expect("a socket");
        for answer in [b"one", b"two"] {
            theirs.send(answer).expect("sent");
        }
        let mut answers = Answers::to(ours);
        let mut buffer = [0; 8];
        for want in [b"one", b"two"] {
            let length = answers.next(&mut buffer).await.expect("an answer");
            assert_eq!(&buffer[..length], want);
        }
        assert!(answers.heard.is_none());
        let quiet = timeout(Duration::from_millis(20), answers.next(&mut buffer)).await;
        assert!(quiet.is_err() && answers.heard.is_some());
        theirs.send(b"three").expect("sent");
        assert_eq!(answers.next(&mut buffer).await.expect("an answer"), 5);
    }
}
