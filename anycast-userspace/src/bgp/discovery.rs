//! The task that finds the router at the other end of an interface, and lets it find us.
//!
//! It owns one raw ICMPv6 socket. What it hears is judged by `neighbour`; who is interested sees the
//! result in a `watch`.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::neighbour::{
    ADVERTISEMENT, HOP_LIMIT, Heard, Neighbour, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION,
    SOLICITATION, read,
};
use crate::sockopt;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Wait before an interface that is not there, or went away, is looked for again.
const RETRY: Duration = Duration::from_secs(1);
/// An advertisement on any usual link; more is cut, and then not taken.
const LONGEST: usize = 9_000;

/// What is known of the other end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Discovered {
    /// The router's link-local address.
    pub(super) address: Option<Ipv6Addr>,
    /// Why nothing can be heard, in words.
    pub(super) trouble: Option<String>,
}

/// Looks and advertises until the task is aborted or nobody is interested any more.
pub(super) async fn discover(interface: Arc<str>, found: watch::Sender<Discovered>) {
    let mut last_trouble = String::new();
    while !found.is_closed() {
        let error = match Link::open(&interface) {
            Ok(link) => link.follow(&found).await,
            Err(error) => error,
        };
        let trouble = format!("interface {interface}: {error}");
        if trouble != last_trouble {
            tracing::warn!(%interface, %error, "no router can be found at the other end");
            last_trouble.clone_from(&trouble);
        }
        found.send_replace(Discovered {
            address: None,
            trouble: Some(trouble),
        });
        tokio::time::sleep(RETRY).await;
    }
}

/// The interface, as this task uses it.
struct Link {
    socket: AsyncFd<Socket>,
    index: u32,
}

impl Link {
    #[expect(
        deprecated,
        reason = "the successor is unsafe; what this one warns of cannot happen to a Socket, which owns its descriptor"
    )]
    fn open(interface: &str) -> io::Result<Self> {
        let index = nix::net::if_::if_nametoindex(interface)?;
        let socket =
            Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        io::Error::other("router advertisements need CAP_NET_RAW")
                    }
                    _ => error,
                }
            })?;
        socket.set_nonblocking(true)?;
        sockopt::accept_icmpv6(socket.as_fd(), &[ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT])?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(u32::from(HOP_LIMIT))?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_recv_hoplimit_v6(true)?;
        Ok(Self {
            socket: AsyncFd::with_interest(socket, Interest::READABLE)?,
            index,
        })
    }

    /// Listens and advertises until the link fails.
    async fn follow(&self, found: &watch::Sender<Discovered>) -> io::Error {
        let mut neighbour = Neighbour::new(Instant::now());
        if let Err(error) = self.say(ALL_ROUTERS, &SOLICITATION) {
            return error;
        }
        loop {
            tokio::select! {
                heard = self.hear() => match heard {
                    Ok(Some(heard)) => neighbour.heard(heard, Instant::now()),
                    Ok(None) => {}
                    Err(error) => return error,
                },
                () = tokio::time::sleep_until(neighbour.deadline().into()) => {
                    if let Err(error) = self.say(ALL_NODES, &ADVERTISEMENT) {
                        return error;
                    }
                    neighbour.advertised(Instant::now());
                }
            }
            let now_known = Discovered {
                address: neighbour.address(),
                trouble: None,
            };
            found.send_if_modified(|known| {
                let changed = *known != now_known;
                known.clone_from(&now_known);
                changed
            });
        }
    }

    fn say(&self, to: Ipv6Addr, message: &[u8]) -> io::Result<()> {
        let to = SocketAddrV6::new(to, 0, 0, self.index);
        self.socket
            .get_ref()
            .send_to(message, &SockAddr::from(to))
            .map(|_| ())
    }

    /// The next message; `None`: not one that counts.
    async fn hear(&self) -> io::Result<Option<Heard>> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(heard) = ready.try_io(|socket| receive(socket.get_ref())) {
                return heard;
            }
        }
    }
}

fn receive(socket: &Socket) -> io::Result<Option<Heard>> {
    let mut octets = [0; LONGEST];
    let mut control = nix::cmsg_space!(libc::c_int);
    let mut buffers = [io::IoSliceMut::new(&mut octets)];
    let received = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let hop_limit = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
        _ => None,
    });
    let (from, length) = (received.address, received.bytes);
    Ok(from
        .zip(hop_limit)
        .and_then(|(from, hop_limit)| read(&octets[..length], from.ip(), hop_limit)))
}
