//! Opens the sockets of the checks. It only saves work: what is checked is mostly on this host, where a packet has
//! been delivered, and answered by the kernel, when the call that sent it returns.

use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;
use tokio::net::TcpStream;

use super::heard::Heard;
use super::lent::{Lent, Transport};
use super::probe::Failure;
use super::prompt::Prompt;
use crate::health::FailureKind;

/// A connection that was asked for.
struct Dialled {
    socket: Lent,
    accepted: bool,
}

/// Connects, for one who speaks first: the handshake's last ACK goes with the first words, so the server wakes once.
pub(super) async fn connect(target: SocketAddr) -> Result<Prompt, Failure> {
    let dialled = dial(target)?;
    if dialled.accepted {
        not_itself(dialled.socket.local_addr()?.as_socket(), target)?;
        return Ok(Prompt::apart(dialled.socket));
    }
    register(dialled, target).await.map(Prompt::heard)
}

/// Whether a connection is accepted. Where that is known at once, the runtime does not hear of the socket, and the
/// reset takes the place of the handshake's last ACK: the server, whose queue had room for it, is not woken.
pub(super) async fn knock(target: SocketAddr) -> Result<(), Failure> {
    let dialled = dial(target)?;
    if dialled.accepted {
        return not_itself(dialled.socket.local_addr()?.as_socket(), target);
    }
    register(dialled, target).await.map(drop)
}

/// A socket with a port of its own that has sent `datagram` to `target`, and hears from nobody else.
pub(super) fn send(target: SocketAddr, datagram: &[u8]) -> io::Result<Lent> {
    let socket = Lent::take(Transport::Udp, target)?;
    socket.connect(&target.into())?;
    // Nothing was sent before: there is room for it.
    socket.send(datagram)?;
    Ok(socket)
}

fn dial(target: SocketAddr) -> io::Result<Dialled> {
    let socket = Lent::take(Transport::Tcp, target)?;
    let accepted = is_accepted(socket.connect(&target.into()))?
        // On this host it mostly has been accepted by now: the other end is known then.
        || socket.peer_addr().is_ok()
        // Asked again, connect(2) says how it went.
        || is_accepted(socket.connect(&target.into()))?;
    Ok(Dialled { socket, accepted })
}

/// False while the other end has not answered.
fn is_accepted(connected: io::Result<()>) -> io::Result<bool> {
    const IN_PROGRESS: i32 = Errno::EINPROGRESS as i32;
    const ALREADY: i32 = Errno::EALREADY as i32;
    match connected {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(IN_PROGRESS | ALREADY) => Ok(false),
            Some(_) | None => Err(error),
        },
    }
}

async fn register(dialled: Dialled, target: SocketAddr) -> Result<Heard<TcpStream>, Failure> {
    let stream: Heard<TcpStream> = Heard::of(dialled.socket)?;
    if !dialled.accepted {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error.into());
        }
    }
    not_itself(Some(stream.local_addr()?), target)?;
    Ok(stream)
}

/// With nobody listening on a port of the ephemeral range, the kernel can connect a socket to itself.
fn not_itself(local: Option<SocketAddr>, target: SocketAddr) -> Result<(), Failure> {
    if local == Some(target) {
        return Err(Failure::new(
            FailureKind::Refused,
            "nobody listens there: the connection met itself",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, TcpListener, TcpStream as StdTcpStream};
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};
    use tokio::time::timeout;

    use super::*;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    #[test]
    fn on_this_host_it_is_known_at_once_whether_a_connection_is_accepted() {
        let (listener, address) = listener();
        assert!(dial(address).expect("a connection").accepted);
        drop(listener);
        let refused = dial(address).map(|dialled| dialled.accepted);
        assert_eq!(
            refused.map_err(|error| error.kind()),
            Err(ErrorKind::ConnectionRefused)
        );
    }

    #[tokio::test]
    async fn a_connection_that_is_not_accepted_yet_is_waited_for() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .expect("a port");
        // A queue of one: the second connection in it is not answered until the first is taken.
        socket.listen(0).expect("a listener");
        let address = socket.local_addr().expect("its address").as_socket();
        let address = address.expect("an IP address");
        let _first = StdTcpStream::connect(address).expect("a connection");
        let second = dial(address).expect("a connection");
        assert!(!second.accepted, "the queue is full");
        let knocked = timeout(Duration::from_millis(50), knock(address)).await;
        assert!(knocked.is_err(), "a knock is not answered either");
        let (_elsewhere, other) = listener();
        let third = dial(other).expect("a connection");
        assert!(third.accepted, "a socket that was given up can connect");
        let (taken, _) = socket.accept().expect("the first");
        register(second, address).await.expect("it is accepted now");
        drop(taken);
    }

    #[test]
    fn a_connection_that_met_itself_is_not_taken_for_an_answer() {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert!(not_itself(Some(at(1)), at(2)).is_ok());
        let failure = not_itself(Some(at(1)), at(1)).expect_err("itself");
        assert_eq!(failure.kind, FailureKind::Refused);
    }
}
