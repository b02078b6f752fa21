//! The sockets that checks take and give back. One that a run is done with is dissolved (connect(2) with `AF_UNSPEC`)
//! and kept for a later run of any check, which saves its making and its end: inode, file, descriptor and memory. A
//! dissolved socket has no peer, no port and nothing to read, so who gets it cannot tell it from a fresh one. Nobody is
//! connected to here.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read as _};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::net::connect_unspec;
use socket2::{Domain, Socket, Type};

use crate::sockopt;

/// Most that a thread keeps of each kind: about as many as are in use at once with thousands of checks.
const KEPT: usize = 64;
/// Most datagrams that nobody waits for and that are read to get rid of them.
const LEFT_BEHIND: usize = 8;

/// Of one thread. Its runs have taken at least as many at once.
#[derive(Default)]
struct Kept {
    streams: [Vec<Socket>; 2],
    datagrams: [Vec<Socket>; 2],
}

thread_local! {
    static KEPT_HERE: RefCell<Kept> = RefCell::default();
}

impl Kept {
    fn of(&mut self, kind: Kind) -> &mut Vec<Socket> {
        let family = usize::from(kind.is_ipv4);
        match kind.transport {
            Transport::Tcp => &mut self.streams[family],
            Transport::Udp => &mut self.datagrams[family],
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Transport {
    /// Resets its connection when it is given back or closed, which leaves no TIME_WAIT behind: frequent
    /// checks do not use up the ephemeral ports.
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    transport: Transport,
    is_ipv4: bool,
}

/// A socket that does not block. It goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    /// There until the end.
    socket: Option<Socket>,
    kind: Kind,
}

impl Lent {
    /// One that can connect to `target`.
    pub(super) fn take(transport: Transport, target: SocketAddr) -> io::Result<Self> {
        let kind = Kind {
            transport,
            is_ipv4: target.is_ipv4(),
        };
        let kept = KEPT_HERE.with_borrow_mut(|kept| kept.of(kind).pop());
        Ok(Self {
            socket: Some(kept.map_or_else(|| open(kind), Ok)?),
            kind,
        })
    }

    /// The socket, which does not go back unless it is lent again.
    pub(super) fn leave(mut self) -> (Socket, Kind) {
        let socket = self.socket.take().expect("a socket until its end");
        (socket, self.kind)
    }

    /// One that has left.
    pub(super) fn again(socket: Socket, kind: Kind) -> Self {
        Self {
            socket: Some(socket),
            kind,
        }
    }
}

impl Deref for Lent {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        self.socket.as_ref().expect("a socket until its end")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        if dissolve(&socket, self.kind.transport).is_err() {
            return;
        }
        // A thread that ends has nowhere to put it: it is closed.
        let _closed = KEPT_HERE.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let alike = kept.of(self.kind);
            if alike.len() < KEPT {
                alike.push(socket);
            }
        });
    }
}

fn open(kind: Kind) -> io::Result<Socket> {
    let domain = if kind.is_ipv4 {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    match kind.transport {
        Transport::Tcp => {
            let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
            socket.set_linger(Some(Duration::ZERO))?;
            // HTTP/2 begins with several writes that wait for no answer, and so do requests over TLS.
            socket.set_tcp_nodelay(true)?;
            sockopt::defer_last_ack(socket.as_fd())?;
            Ok(socket)
        }
        Transport::Udp => Socket::new(domain, Type::DGRAM.nonblocking(), None),
    }
}

/// TCP drops what was not read, and its next connect(2) forgets that the last connection was reset; UDP keeps both, but
/// nothing more arrives once it has no port.
fn dissolve(socket: &Socket, transport: Transport) -> io::Result<()> {
    connect_unspec(socket)?;
    match transport {
        Transport::Tcp => Ok(()),
        Transport::Udp => empty(socket),
    }
}

fn empty(mut socket: &Socket) -> io::Result<()> {
    for _ in 0..LEFT_BEHIND {
        // An answer that nobody waited for, or an error that nobody asked for.
        let left = socket.read(&mut [0]);
        if left.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            return Ok(());
        }
    }
    Err(ErrorKind::ResourceBusy.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
    use std::os::fd::{AsRawFd as _, RawFd};

    use super::*;

    const LOOPBACKS: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];

    /// Each run had the same one.
    fn assert_one_socket(mut descriptors: Vec<RawFd>) {
        descriptors.dedup();
        assert_eq!(descriptors.len(), 1, "one socket for all");
    }

    #[test]
    fn a_connection_is_reset_when_its_socket_goes_back_and_the_next_run_gets_it() {
        for loopback in LOOPBACKS {
            let listener = TcpListener::bind((loopback, 0)).expect("a listener");
            let target = listener.local_addr().expect("its address");
            let mut ports = Vec::new();
            let mut descriptors = Vec::new();
            for _ in 0..3 {
                let lent = Lent::take(Transport::Tcp, target).expect("a socket");
                // In progress; the loopback has answered by now.
                let _ = lent.connect(&target.into());
                let (mut theirs, from) = listener.accept().expect("a connection");
                assert_eq!(lent.send(b"ask").expect("sent"), 3);
                theirs.read_exact(&mut [0; 3]).expect("what was asked");
                theirs.write_all(b"unread").expect("sent");
                ports.push(from.port());
                descriptors.push(lent.as_raw_fd());
                drop(lent);
                let end = theirs.read(&mut [0]).map_err(|error| error.kind());
                assert_eq!(end, Err(ErrorKind::ConnectionReset));
                let again = Lent::take(Transport::Tcp, target).expect("a socket");
                assert!(again.peer_addr().is_err(), "it has no peer");
            }
            assert_one_socket(descriptors);
            ports.dedup();
            assert_eq!(ports.len(), 3, "each run has a port of its own");
        }
    }

    #[test]
    fn what_was_not_read_is_not_there_for_the_next() {
        for loopback in LOOPBACKS {
            let server = UdpSocket::bind((loopback, 0)).expect("a server");
            let target = server.local_addr().expect("its address");
            let mut descriptors = Vec::new();
            for _ in 0..3 {
                let lent = Lent::take(Transport::Udp, target).expect("a socket");
                descriptors.push(lent.as_raw_fd());
                let nothing = (&*lent).read(&mut [0]).map_err(|error| error.kind());
                assert_eq!(nothing, Err(ErrorKind::WouldBlock));
                lent.connect(&target.into()).expect("connected");
                lent.send(b"ask").expect("sent");
                let (_, from) = server.recv_from(&mut [0; 3]).expect("what was asked");
                for _ in 0..LEFT_BEHIND - 1 {
                    server.send_to(b"unread", from).expect("sent");
                }
                drop(lent);
                server.send_to(b"late", from).expect("sent to nobody");
            }
            assert_one_socket(descriptors);
        }
    }

    #[test]
    fn a_socket_with_too_much_to_read_is_closed() {
        let server = UdpSocket::bind((LOOPBACKS[0], 0)).expect("a server");
        let target = server.local_addr().expect("its address");
        let lent = Lent::take(Transport::Udp, target).expect("a socket");
        lent.connect(&target.into()).expect("connected");
        let from = lent.local_addr().expect("its address").as_socket();
        for _ in 0..=LEFT_BEHIND {
            server
                .send_to(b"unread", from.expect("an IP address"))
                .expect("sent");
        }
        drop(lent);
        assert!(KEPT_HERE.with_borrow(|kept| kept.datagrams.iter().all(Vec::is_empty)));
    }

    #[test]
    fn a_thread_keeps_no_more_than_it_should() {
        let target = (LOOPBACKS[0], 0).into();
        let lent: Vec<_> = (0..2 * KEPT)
            .map(|_| Lent::take(Transport::Tcp, target).expect("a socket"))
            .collect();
        drop(lent);
        KEPT_HERE.with_borrow_mut(|kept| {
            let kind = Kind {
                transport: Transport::Tcp,
                is_ipv4: true,
            };
            assert_eq!(kept.of(kind).len(), KEPT);
        });
    }
}
