//! The network devices of this host as the kernel describes them, read anew whenever it tells of a change.
//!
//! It changes no device, and does not judge what a change means.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkMessage;
use netlink_sys::SocketAddr;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::watch;

/// Changes come in bursts, as when a bond fails over or containers start: one reading serves for all.
const SETTLE: Duration = Duration::from_millis(20);

/// Pause before a socket that failed is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index, which no later device gets.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// The device that it is a part of, as of a bond.
    pub master: Option<u32>,
    /// The device whose VLAN it is.
    pub vlan_of: Option<u32>,
    /// Ids of the XDP programs on it.
    pub programs: Vec<u32>,
}

/// All devices of a network namespace.
pub type Links = Arc<[Link]>;

/// Why the devices cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No socket.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// The kernel refused.
    #[error("netlink: {0}")]
    Netlink(#[from] rtnetlink::Error),
    /// The socket failed.
    #[error("the netlink socket is closed")]
    Closed,
}

/// Reads the devices, and again after each change, until nobody wants to know.
///
/// # Errors
/// The first reading fails. Later ones are tried again.
pub async fn follow() -> Result<watch::Receiver<Links>, LinkError> {
    let mut source = Source::open()?;
    let (sender, receiver) = watch::channel(source.read().await?);
    tokio::spawn(keep_up(source, sender));
    Ok(receiver)
}

async fn keep_up(mut source: Source, sender: watch::Sender<Links>) {
    let following = async {
        loop {
            let Err(error) = source.report_to(&sender).await;
            tracing::warn!(%error, "changes of network devices are not seen for a second");
            tokio::time::sleep(REOPEN).await;
            match Source::open() {
                Ok(opened) => source = opened,
                Err(error) => tracing::warn!(%error, "network devices"),
            }
        }
    };
    tokio::select! {
        () = sender.closed() => {}
        () = following => {}
    }
}

/// A socket that hears of changes, and asks.
struct Source {
    handle: Handle,
    changes: Changes,
    /// Nothing has been read by it yet.
    fresh: bool,
}

type Changes =
    futures_util::stream::BoxStream<'static, (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

impl Source {
    /// Hears from now on.
    fn open() -> io::Result<Self> {
        let (connection, handle, changes) = new_multicast_connection(&[MulticastGroup::Link])?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            changes: changes.boxed(),
            fresh: true,
        })
    }

    async fn read(&mut self) -> Result<Links, LinkError> {
        let found = self.handle.link().get().execute();
        Ok(found
            .map_ok(described)
            .try_collect::<Vec<_>>()
            .await?
            .into())
    }

    async fn report_to(
        &mut self,
        sender: &watch::Sender<Links>,
    ) -> Result<std::convert::Infallible, LinkError> {
        loop {
            // What happened while no socket was open is seen by reading at once.
            if !std::mem::take(&mut self.fresh) {
                self.changes.next().await.ok_or(LinkError::Closed)?;
                tokio::time::sleep(SETTLE).await;
                while self.changes.next().now_or_never().flatten().is_some() {}
            }
            let found = self.read().await?;
            sender.send_if_modified(|known| {
                let changed = *known != found;
                *known = found;
                changed
            });
        }
    }
}

fn described(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        ..Link::default()
    };
    let (mut lower, mut vlan) = (None, false);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => {
                link.mac = <[u8; 6]>::try_from(bytes).ok().filter(|mac| *mac != [0; 6]);
            }
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Link(index) => lower = Some(index),
            LinkAttribute::LinkInfo(about) => {
                vlan = about.contains(&LinkInfo::Kind(InfoKind::Vlan));
            }
            LinkAttribute::Xdp(about) => link.programs = programs(&about),
            _other => {}
        }
    }
    link.vlan_of = lower.filter(|_| vlan);
    link
}

fn programs(about: &[LinkXdp]) -> Vec<u32> {
    about
        .iter()
        .filter_map(|part| match part {
            LinkXdp::ProgId(id)
            | LinkXdp::DrvProgId(id)
            | LinkXdp::SkbProgId(id)
            | LinkXdp::HwProgId(id) => Some(*id),
            _other => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = attributes;
        message
    }

    #[test]
    fn a_device_is_described_by_what_the_kernel_says_of_it() {
        let name = |text: &str| LinkAttribute::IfName(text.to_owned());
        let kind = |kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]);
        for (said, wanted) in [
            (
                vec![name("lo"), LinkAttribute::Address(vec![0; 6])],
                Link::default(),
            ),
            (
                vec![name("wg0"), LinkAttribute::Address(vec![])],
                Link::default(),
            ),
            (
                vec![
                    name("eth0"),
                    LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
                    LinkAttribute::Controller(9),
                    LinkAttribute::Xdp(vec![LinkXdp::ProgId(7), LinkXdp::DrvProgId(7)]),
                ],
                Link {
                    mac: Some([2, 0, 0, 0, 0, 1]),
                    master: Some(9),
                    programs: vec![7, 7],
                    ..Link::default()
                },
            ),
            (
                vec![name("eth0.5"), LinkAttribute::Link(2), kind(InfoKind::Vlan)],
                Link {
                    vlan_of: Some(2),
                    ..Link::default()
                },
            ),
            (
                vec![name("veth0"), LinkAttribute::Link(2), kind(InfoKind::Veth)],
                Link::default(),
            ),
        ] {
            let LinkAttribute::IfName(name) = said[0].clone() else {
                unreachable!("the name comes first");
            };
            let wanted = Link {
                index: 3,
                name,
                ..wanted
            };
            assert_eq!(described(message(3, said)), wanted);
        }
    }

    #[tokio::test]
    async fn the_first_reading_has_the_loopback() {
        let links = follow().await.unwrap();
        assert!(links.borrow().iter().any(|link| link.name == "lo"));
    }
}
