//! Puts the Service Addresses on an interface of this host, and takes away what it put there.
//!
//! IPv4 as /32, IPv6 as /128 without duplicate address detection (RFC 7094 §4.5) and deprecated
//! (preferred lifetime 0), so that the host never chooses one as a source address. An address that
//! was there before is adopted as it is and left in place at the end.

mod batch;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo,
};
use rtnetlink::{AddressMessageBuilder, Handle};

use batch::BatchSocket;

/// Why an address could not be put on an interface.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// No such interface.
    #[error("interface `{0}` does not exist, so the Service Addresses cannot be put on it")]
    NoInterface(String),
    /// The kernel refused.
    #[error("cannot put {address} on `{interface}`: {source}")]
    Add {
        /// The address.
        address: IpAddr,
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// Netlink itself failed.
    #[error("netlink: {0}")]
    Netlink(#[from] rtnetlink::Error),
    /// No netlink socket could be opened.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
}

/// The addresses that this process has added.
pub struct ManagedAddresses {
    handle: Handle,
    changes: BatchSocket,
    added: Vec<AddressMessage>,
}

impl ManagedAddresses {
    /// Opens netlink sockets; adds nothing yet.
    pub fn open() -> Result<Self, AddressError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            changes: BatchSocket::open()?,
            added: Vec::new(),
        })
    }

    /// Puts addresses on interfaces. After an error, what was added stays known and is removed by
    /// [`Self::remove_all`].
    pub async fn ensure(
        &mut self,
        wanted: &BTreeMap<String, Vec<IpAddr>>,
    ) -> Result<(), AddressError> {
        for (interface, addresses) in wanted {
            let index = self.index_of(interface).await?;
            let present = self.present(index).await?;
            let (there, missing) = addresses
                .iter()
                .copied()
                .partition::<Vec<_>, _>(|address| present.contains(address));
            if !there.is_empty() {
                tracing::info!(interface, addresses = ?there, "adopted: were there before");
            }
            self.add(interface, index, &missing).await?;
        }
        Ok(())
    }

    /// Takes away what was added. Goes on after an error, which it logs.
    pub async fn remove_all(&mut self) {
        let gone = std::mem::take(&mut self.added);
        self.take_away(gone).await;
    }

    /// As [`Self::remove_all`], of these alone.
    pub async fn remove(&mut self, addresses: &HashSet<IpAddr>) {
        let (gone, kept) = std::mem::take(&mut self.added)
            .into_iter()
            .partition(|message| addresses_in(message).any(|address| addresses.contains(&address)));
        self.added = kept;
        self.take_away(gone).await;
    }

    async fn take_away(&mut self, messages: Vec<AddressMessage>) {
        let gone = messages.into_iter().map(RouteNetlinkMessage::DelAddress);
        match self.changes.apply(gone, 0).await {
            Ok(refusals) => {
                for refusal in refusals {
                    tracing::warn!(error = %refusal.error, "a Service Address was already gone");
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

    async fn present(&self, index: u32) -> Result<HashSet<IpAddr>, AddressError> {
        let mut messages = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute();
        let mut present = HashSet::new();
        while let Some(message) = messages.try_next().await? {
            present.extend(addresses_in(&message));
        }
        Ok(present)
    }

    async fn add(
        &mut self,
        interface: &str,
        index: u32,
        addresses: &[IpAddr],
    ) -> Result<(), AddressError> {
        let messages: Vec<_> = addresses
            .iter()
            .map(|address| host_address(index, *address))
            .collect();
        let changes = messages
            .iter()
            .cloned()
            .map(RouteNetlinkMessage::NewAddress);
        let refusals = self
            .changes
            .apply(changes, NLM_F_CREATE | NLM_F_EXCL)
            .await?;
        let refused: HashSet<usize> = refusals.iter().map(|refusal| refusal.index).collect();
        self.added.extend(
            messages
                .into_iter()
                .enumerate()
                .filter(|(place, _)| !refused.contains(place))
                .map(|(_, message)| message),
        );
        match refusals.into_iter().next() {
            None => Ok(()),
            Some(refusal) => Err(AddressError::Add {
                address: addresses[refusal.index],
                interface: interface.to_owned(),
                source: refusal.error,
            }),
        }
    }
}

fn addresses_in(message: &AddressMessage) -> impl Iterator<Item = IpAddr> {
    message
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _other => None,
        })
}

fn host_address(index: u32, address: IpAddr) -> AddressMessage {
    match address {
        IpAddr::V4(v4) => AddressMessageBuilder::<std::net::Ipv4Addr>::new()
            .index(index)
            .address(v4, 32)
            .build(),
        IpAddr::V6(v6) => {
            let mut message = AddressMessageBuilder::<std::net::Ipv6Addr>::new()
                .index(index)
                .address(v6, 128)
                .build();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_preferred = 0;
            lifetimes.ifa_valid = u32::MAX;
            message
                .attributes
                .push(AddressAttribute::CacheInfo(lifetimes));
            message
        }
    }
}
