//! Puts the Service Addresses on this host, and takes away what it put there: nothing else is touched.
//!
//! As addresses of an interface: IPv4 as /32, IPv6 as /128 without duplicate address detection (RFC 7094 §4.5)
//! and deprecated (preferred lifetime 0), so that the host never chooses one as a source address. Or as `local`
//! routes. Both carry [`PROTOCOL`], so that what a killed daemon has left is known: it is taken over, or taken
//! away. What was there before without that mark is adopted as it is, and left in place at the end.

mod batch;
mod messages;
mod present;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_route::RouteNetlinkMessage;

use batch::BatchSocket;
use messages::{host_address, local_route};

/// Marks our addresses (`IFA_PROTO`, Linux 5.18) and routes (`rtm_protocol`). No routing daemon uses it.
pub const PROTOCOL: u8 = 172;

/// What shall be on this host, by interface.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Each as an address.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// By `local` routes, as few as hold them and no others.
    pub routes: BTreeMap<String, Vec<IpAddr>>,
}

/// Why an address could not be put on an interface.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// No such interface.
    #[error("interface `{0}` does not exist, so the Service Addresses cannot be put on it")]
    NoInterface(String),
    /// The kernel refused.
    #[error("cannot put {prefix} on `{interface}`: {source}")]
    Add {
        /// The address, or the prefix of a route.
        prefix: IpNet,
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// Netlink itself failed.
    #[error("netlink: {0}")]
    Netlink(#[from] rtnetlink::Error),
    /// No netlink socket could be opened, or it failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
}

/// One thing of ours on one interface, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Item {
    Address(u32, IpAddr),
    Route(u32, IpNet),
}

impl Item {
    fn prefix(self) -> IpNet {
        match self {
            Self::Address(_, address) => address.into(),
            Self::Route(_, prefix) => prefix,
        }
    }

    fn to_add(self) -> RouteNetlinkMessage {
        match self {
            Self::Address(index, address) => {
                RouteNetlinkMessage::NewAddress(host_address(index, address))
            }
            Self::Route(index, prefix) => RouteNetlinkMessage::NewRoute(local_route(index, prefix)),
        }
    }

    fn to_remove(self) -> RouteNetlinkMessage {
        match self {
            Self::Address(index, address) => {
                RouteNetlinkMessage::DelAddress(host_address(index, address))
            }
            Self::Route(index, prefix) => RouteNetlinkMessage::DelRoute(local_route(index, prefix)),
        }
    }
}

/// What this process has put on the host, or taken over from one that was killed.
pub struct ManagedAddresses {
    handle: Handle,
    changes: BatchSocket,
    ours: BTreeSet<Item>,
    /// Holds the name that shows others of our kind in the network namespace that somebody lives; none when
    /// another one has it.
    alone: Option<UnixDatagram>,
}

impl ManagedAddresses {
    /// Opens netlink sockets; adds nothing yet.
    pub fn open() -> Result<Self, AddressError> {
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check()?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            changes: BatchSocket::open()?,
            ours: BTreeSet::new(),
            alone: claim()?,
        })
    }

    /// Puts what is wanted on the interfaces, and takes away what a killed process has left and is not wanted.
    /// After an error, what was added stays known and is removed by [`Self::remove_all`].
    pub async fn ensure(&mut self, wanted: &Wanted) -> Result<(), AddressError> {
        let mut items = BTreeMap::new();
        for (interface, addresses) in &wanted.addresses {
            let index = self.index_of(interface).await?;
            let found = addresses.iter().map(|one| Item::Address(index, *one));
            items.extend(found.map(|item| (item, interface.as_str())));
        }
        for (interface, addresses) in &wanted.routes {
            let index = self.index_of(interface).await?;
            let prefixes: Vec<IpNet> = addresses.iter().map(|one| IpNet::from(*one)).collect();
            let found = IpNet::aggregate(&prefixes).into_iter();
            items.extend(found.map(|prefix| (Item::Route(index, prefix), interface.as_str())));
        }
        let present = present::on_this_host(&self.handle).await?;
        self.clear(&items, &present.marked).await?;
        self.add(items, &present.others).await
    }

    /// Takes away what was put there. Goes on after an error, which it logs.
    pub async fn remove_all(&mut self) {
        let gone = std::mem::take(&mut self.ours);
        self.take_away(gone).await;
    }

    /// As [`Self::remove_all`], of these alone, and of the routes that hold any of them.
    pub async fn remove(&mut self, addresses: &HashSet<IpAddr>) {
        let holds = |prefix: IpNet| {
            if prefix.prefix_len() == prefix.max_prefix_len() {
                addresses.contains(&prefix.addr())
            } else {
                addresses.iter().any(|address| prefix.contains(address))
            }
        };
        let (gone, kept) = std::mem::take(&mut self.ours)
            .into_iter()
            .partition(|item| holds(item.prefix()));
        self.ours = kept;
        self.take_away(gone).await;
    }

    async fn take_away(&mut self, items: BTreeSet<Item>) {
        let gone: Vec<Item> = items.into_iter().collect();
        match self
            .changes
            .apply(gone.iter().map(|item| item.to_remove()), 0)
            .await
        {
            Ok(refusals) => {
                for refusal in refusals {
                    let (prefix, error) = (gone[refusal.index].prefix(), refusal.error);
                    tracing::warn!(%prefix, %error, "was already gone");
                }
            }
            Err(error) => tracing::warn!(%error, "Service Addresses may be left on the host"),
        }
    }

    async fn index_of(&self, interface: &str) -> Result<u32, AddressError> {
        let mut links = self
            .handle
            .link()
            .get()
            .match_name(interface.to_owned())
            .execute();
        match links.try_next().await {
            Ok(Some(link)) => Ok(link.header.index),
            Ok(None) | Err(_) => Err(AddressError::NoInterface(interface.to_owned())),
        }
    }

    /// Of what carries our mark, takes over what is wanted, and takes away the rest.
    async fn clear(
        &mut self,
        wanted: &BTreeMap<Item, &str>,
        marked: &BTreeSet<Item>,
    ) -> Result<(), AddressError> {
        if self.alone.is_none() {
            tracing::warn!(
                "another daemon runs in this network namespace: what carries our mark may be its own, and stays"
            );
            return Ok(());
        }
        let (kept, left): (Vec<Item>, Vec<Item>) =
            marked.iter().partition(|item| wanted.contains_key(item));
        if !kept.is_empty() {
            tracing::info!(count = kept.len(), "taken over: a killed process left them");
        }
        self.ours.extend(kept);
        if left.is_empty() {
            return Ok(());
        }
        let removed = left.iter().map(|item| item.to_remove());
        // One that has gone by itself is as good.
        let refusals = self.changes.apply(removed, 0).await?;
        let count = left.len() - refusals.len();
        tracing::info!(count, "taken away: a killed process left them");
        Ok(())
    }

    async fn add(
        &mut self,
        wanted: BTreeMap<Item, &str>,
        others: &HashSet<Item>,
    ) -> Result<(), AddressError> {
        let (there, missing): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .filter(|(item, _)| !self.ours.contains(item))
            .partition(|(item, _)| others.contains(item));
        let adopted = |prefix: IpNet, interface| {
            tracing::info!(%prefix, interface, "adopted: was there before");
        };
        for (item, interface) in there {
            adopted(item.prefix(), interface);
        }
        let changes = missing.iter().map(|(item, _)| item.to_add());
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let refusals = self.changes.apply(changes, flags).await?;
        let refused: HashSet<usize> = refusals.iter().map(|refusal| refusal.index).collect();
        let added = missing.iter().enumerate();
        let added = added.filter(|(place, _)| !refused.contains(place));
        self.ours.extend(added.map(|(_, (item, _))| *item));
        for refusal in refusals {
            let (item, interface) = missing[refusal.index];
            if refusal.error.raw_os_error() == Some(Errno::EEXIST as i32) {
                adopted(item.prefix(), interface);
                continue;
            }
            return Err(AddressError::Add {
                prefix: item.prefix(),
                interface: interface.to_owned(),
                source: refusal.error,
            });
        }
        Ok(())
    }
}

/// Takes the name by which daemons in one network namespace know of each other, unless another one has it. It
/// goes with the process.
fn claim() -> io::Result<Option<UnixDatagram>> {
    let name = SocketAddr::from_abstract_name(b"anycast-addresses")?;
    match UnixDatagram::bind_addr(&name) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}
