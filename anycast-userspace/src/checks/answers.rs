//! What comes back for a datagram. A server on this host has mostly answered by the time that the other checks have
//! had their turn; only where it has not, the runtime hears of the socket.

use std::future::poll_fn;
use std::io::{self, Read as _};
use std::task::Poll;

use tokio::net::UdpSocket;

use super::lent::Lent;

/// The answers that a socket gets.
pub(super) struct Answers {
    /// While the runtime has not heard of it.
    apart: Option<Lent>,
    heard: Option<UdpSocket>,
}

impl Answers {
    /// Of a connected socket.
    pub(super) fn to(socket: Lent) -> Self {
        Self {
            apart: Some(socket),
            heard: None,
        }
    }

    /// The length of the next one.
    pub(super) async fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(socket) = &self.apart {
            others_first().await;
            match (&**socket).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
        self.hear()?.recv(buffer).await
    }

    fn hear(&mut self) -> io::Result<&UdpSocket> {
        if let Some(socket) = self.apart.take() {
            self.heard = Some(UdpSocket::from_std(socket.keep().into())?);
        }
        self.heard
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Lets whoever is ready have a turn.
async fn others_first() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::lent::Transport;
    use super::{Answers, Lent};

    #[tokio::test]
    async fn what_is_there_is_taken_and_what_comes_later_is_waited_for() {
        let theirs = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let target = theirs.local_addr().expect("its address");
        let ours = Lent::take(Transport::Udp, target).expect("a socket");
        ours.connect(&target.into()).expect("connected");
        let from = ours.local_addr().expect("its address").as_socket();
        theirs
            .connect(from.expect("an IP address"))
            .expect("connected");
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
