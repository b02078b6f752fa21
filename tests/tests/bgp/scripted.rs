//! A peer that is driven message by message, on addresses of the loopback interface.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use anycast_tests::peers::run;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Message types (RFC 4271 §4.1).
pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;

/// Puts 10.0.n.1 (the node's) and 10.0.n.2 (the peer's) on the loopback interface.
pub(crate) fn addresses(link: u8) {
    for host in [1, 2] {
        let address = format!("10.0.{link}.{host}/32");
        run("ip", &["address", "add", &address, "dev", "lo"]).unwrap();
    }
}

/// A message with its header.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xFF; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// An OPEN of AS 65001 for IPv4 and IPv6 unicast.
pub(crate) fn open(identifier: [u8; 4], hold_time: u16) -> Vec<u8> {
    open_with(identifier, hold_time, &[])
}

/// The same, with more capabilities.
fn open_with(identifier: [u8; 4], hold_time: u16, more: &[u8]) -> Vec<u8> {
    let usual = [
        1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 2, 0, 65, 4, 0, 0, 0xFD, 0xE9,
    ];
    let capabilities = [&usual, more].concat();
    let mut body = vec![4, 0xFD, 0xE9];
    body.extend_from_slice(&hold_time.to_be_bytes());
    body.extend_from_slice(&identifier);
    let length = u8::try_from(capabilities.len()).unwrap();
    body.extend_from_slice(&[length + 2, 2, length]);
    body.extend_from_slice(&capabilities);
    message(OPEN, &body)
}

/// One connection of the scripted peer.
pub(crate) struct Scripted {
    pub(crate) stream: TcpStream,
}

impl Scripted {
    /// Connects to the node from 10.0.n.2.
    pub(crate) async fn connect(link: u8) -> std::io::Result<Self> {
        Self::connect_prepared(link, |_| Ok(())).await
    }

    /// The same, with socket options of the test's own.
    async fn connect_prepared(
        link: u8,
        prepare: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<()>,
    ) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        prepare(socket.as_fd())?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from(([10, 0, link, 2], 0)))?;
        let stream = socket.connect(([10, 0, link, 1], 179).into()).await?;
        Ok(Self { stream })
    }

    /// Connects to the node at one address from another.
    pub(crate) async fn connect_between(from: IpAddr, to: IpAddr) -> std::io::Result<Self> {
        let socket = if from.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect((to, 179).into()).await?;
        Ok(Self { stream })
    }

    /// Waits for the node to connect to 10.0.n.2.
    pub(crate) async fn accept(link: u8) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([10, 0, link, 2], 179)))
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        Self { stream }
    }

    /// Connects and goes through the handshake.
    pub(crate) async fn establish(link: u8, hold_time: u16) -> std::io::Result<Self> {
        Self::establish_prepared(link, hold_time, |_| Ok(())).await
    }

    /// The same, with socket options of the test's own.
    pub(crate) async fn establish_prepared(
        link: u8,
        hold_time: u16,
        prepare: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<()>,
    ) -> std::io::Result<Self> {
        let mut peer = Self::connect_prepared(link, prepare).await?;
        peer.shake_hands(&open([10, 0, link, 2], hold_time)).await?;
        Ok(peer)
    }

    /// The same, with more capabilities in the OPEN.
    pub(crate) async fn establish_with(
        link: u8,
        hold_time: u16,
        capabilities: &[u8],
    ) -> std::io::Result<Self> {
        let mut peer = Self::connect(link).await?;
        peer.shake_hands(&open_with([10, 0, link, 2], hold_time, capabilities))
            .await?;
        Ok(peer)
    }

    async fn shake_hands(&mut self, open: &[u8]) -> std::io::Result<()> {
        self.send(open).await?;
        self.send(&message(KEEPALIVE, &[])).await?;
        for want in [OPEN, KEEPALIVE] {
            let (kind, body) = self.read().await?;
            if kind != want {
                return Err(std::io::Error::other(format!("type {kind}: {body:?}")));
            }
        }
        Ok(())
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(octets).await
    }

    /// The next message: its type and body.
    pub(crate) async fn read(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 19];
        self.stream.read_exact(&mut header).await?;
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        let mut body = vec![0; length - 19];
        self.stream.read_exact(&mut body).await?;
        Ok((header[18], body))
    }

    /// The next message of a type; others are skipped.
    pub(crate) async fn read_until(&mut self, want: u8) -> std::io::Result<Vec<u8>> {
        loop {
            let (kind, body) = self.read().await?;
            if kind == want {
                return Ok(body);
            }
        }
    }
}
