//! What comes back for a datagram. A server on this host has mostly answered by the time that the other checks have
//! had their turn; only where it has not, the runtime hears of the socket.

use std::future::poll_fn;
use std::io::{self, Read as _};
use std::task::Poll;

use tokio::net::UdpSocket;

use super::heard::Hearing;
use super::lent::Lent;

/// Most that is read of one; the rest is dropped. The value that operators of DNS agreed on to avoid fragments.
pub(super) const ROOM: u16 = 1232;

/// The answers that a socket gets.
pub(super) struct Answers {
    socket: Hearing<UdpSocket>,
}

impl Answers {
    /// Of a connected socket.
    pub(super) fn to(socket: Lent) -> Self {
        Self {
            socket: Hearing::Apart(socket),
        }
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> io::Result<Vec<u8>> {
        if let Hearing::Apart(socket) = &self.socket {
            others_first().await;
            match received(|room| (&**socket).read(room)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                answer => return answer,
            }
        }
        let socket = self.socket.hear()?;
        loop {
            socket.readable().await?;
            match received(|room| socket.try_recv(room)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                answer => return answer,
            }
        }
    }
}

/// What `read` reads, in no more memory than it needs: answers are mostly short.
fn received(read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut room = [0; ROOM as usize];
    let length = read(&mut room)?;
    Ok(room[..length].to_vec())
}

/// Lets whoever is ready have a turn. After tokio's `yield_now` the runtime would look at its sockets first.
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
    use super::{Answers, Hearing, Lent};

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
        for want in [b"one", b"two"] {
            assert_eq!(answers.next().await.expect("an answer"), want);
        }
        assert!(matches!(answers.socket, Hearing::Apart(_)));
        let quiet = timeout(Duration::from_millis(20), answers.next()).await;
        assert!(quiet.is_err() && matches!(answers.socket, Hearing::Heard(_)));
        for answer in [&b"three"[..], &[4; 1232]] {
            theirs.send(answer).expect("sent");
            assert_eq!(answers.next().await.expect("an answer"), answer);
        }
    }
}
