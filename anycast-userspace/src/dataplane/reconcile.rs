//! The difference between what the maps hold and what they shall hold, as writes in a safe order. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anycast_common::abi::{self, EVERY_SERVICE, EXEMPT, Owner};
use ipnet::IpNet;

use super::address_counters;
use super::desired::{Desired, Ids};
use super::error::DataPlaneError;
use super::identity::{NO_IDENTITY, records};
use super::lists::list;

/// What the maps hold, or shall hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Owners by address.
    pub(super) addresses: BTreeMap<IpAddr, Owner>,
    /// Entries by service id; an id without one holds zeros, which is a service not up.
    pub(super) services: BTreeMap<u32, abi::Service>,
    /// Whether a prefix is allowed or denied, by scope.
    pub(super) lists: BTreeMap<(u32, IpNet), bool>,
    /// The records of the node's identity.
    pub(super) identity: Option<abi::Identity>,
}

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Forget an address.
    RemoveAddress(IpAddr),
    /// Start the counters of an id at zero.
    ClearCounters(u32),
    /// Write a service's entry.
    SetService(u32, abi::Service),
    /// Write an address's owner.
    SetAddress(IpAddr, Owner),
    /// Start the counters of an address's slot at zero.
    ClearAddressCounters(u32),
    /// Forget a prefix of a scope.
    RemovePrefix(u32, IpNet),
    /// Allow or deny a prefix in a scope.
    SetPrefix(u32, IpNet, bool),
    /// Write the node's identity.
    SetIdentity(abi::Identity),
}

impl Contents {
    /// What `desired` comes to, with services numbered by `ids`.
    pub(super) fn of(desired: &Desired, ids: &Ids) -> Result<Self, DataPlaneError> {
        let mut contents = Self::default();
        let mut owners = BTreeMap::<u32, &str>::new();
        for service in &desired.services {
            let Some(id) = ids.get(&service.name) else {
                continue;
            };
            owners.insert(id, &service.name);
            contents.services.insert(id, service.entry()?);
            for address in &service.addresses {
                let owner = Owner {
                    service: id,
                    slot: 0,
                };
                if let Some(Owner { service: other, .. }) =
                    contents.addresses.insert(*address, owner)
                    && other != id
                {
                    return Err(DataPlaneError::TwoOwners {
                        address: *address,
                        first: owners[&other].to_owned(),
                        second: service.name.clone(),
                    });
                }
            }
            list(&mut contents.lists, id, &service.allow, &service.deny);
        }
        list(
            &mut contents.lists,
            EVERY_SERVICE,
            &desired.allow,
            &desired.deny,
        );
        list(&mut contents.lists, EXEMPT, &desired.exempt, &[]);
        contents.identity = desired.identity.as_deref().map(records).transpose()?;
        Ok(contents)
    }

    /// Gives each address counters of its own.
    pub(super) fn number_addresses(&mut self, installed: &Self) {
        address_counters::number(&installed.addresses, &mut self.addresses);
    }

    /// How many addresses of each family.
    pub(super) fn address_counts(&self) -> (usize, usize) {
        let v4 = self.addresses.keys().filter(|ip| ip.is_ipv4()).count();
        (v4, self.addresses.len() - v4)
    }

    /// How many prefixes of each family.
    pub(super) fn prefix_counts(&self) -> (usize, usize) {
        let v4 = self
            .lists
            .keys()
            .filter(|(_, prefix)| prefix.addr().is_ipv4())
            .count();
        (v4, self.lists.len() - v4)
    }
}

/// The writes that lead from `installed` to `wanted`.
///
/// Addresses that go away go first, so that room is made before it is needed and no address is ever
/// judged by the entry of a later service; entries come before the addresses that point to them.
pub(super) fn diff(installed: &Contents, wanted: &Contents) -> Vec<Write> {
    let mut writes = Vec::new();
    for address in installed.addresses.keys() {
        if !wanted.addresses.contains_key(address) {
            writes.push(Write::RemoveAddress(*address));
        }
    }
    for key in installed.lists.keys() {
        if !wanted.lists.contains_key(key) {
            writes.push(Write::RemovePrefix(key.0, key.1));
        }
    }
    for (key, allow) in &wanted.lists {
        if installed.lists.get(key) != Some(allow) {
            writes.push(Write::SetPrefix(key.0, key.1, *allow));
        }
    }
    if installed.identity != wanted.identity {
        writes.push(Write::SetIdentity(wanted.identity.unwrap_or(NO_IDENTITY)));
    }
    for (id, entry) in &wanted.services {
        if !installed.services.contains_key(id) {
            writes.push(Write::ClearCounters(*id));
        }
        if installed.services.get(id) != Some(entry) {
            writes.push(Write::SetService(*id, *entry));
        }
    }
    for (address, owner) in &wanted.addresses {
        if installed.addresses.get(address) != Some(owner) {
            if owner.slot != 0 {
                writes.push(Write::ClearAddressCounters(owner.slot));
            }
            writes.push(Write::SetAddress(*address, *owner));
        }
    }
    for id in installed.services.keys() {
        if !wanted.services.contains_key(id) {
            writes.push(Write::SetService(*id, abi::Service::default()));
        }
    }
    writes
}

/// The write that takes `write` back where the maps held `installed` before; `None` for counters, of which
/// nothing is kept.
pub(super) fn undo(installed: &Contents, write: &Write) -> Option<Write> {
    match *write {
        Write::RemoveAddress(address) | Write::SetAddress(address, _) => {
            let before = installed.addresses.get(&address);
            Some(before.map_or(Write::RemoveAddress(address), |owner| {
                Write::SetAddress(address, *owner)
            }))
        }
        Write::RemovePrefix(scope, prefix) | Write::SetPrefix(scope, prefix, _) => {
            let before = installed.lists.get(&(scope, prefix));
            Some(before.map_or(Write::RemovePrefix(scope, prefix), |allow| {
                Write::SetPrefix(scope, prefix, *allow)
            }))
        }
        Write::SetService(id, _) => {
            let before = installed.services.get(&id).copied();
            Some(Write::SetService(id, before.unwrap_or_default()))
        }
        Write::SetIdentity(_) => {
            let before = installed.identity.unwrap_or(NO_IDENTITY);
            Some(Write::SetIdentity(before))
        }
        Write::ClearCounters(_) | Write::ClearAddressCounters(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::{Service, State};
    use super::*;

    fn service(name: &str, state: State, addresses: &[&str]) -> Service {
        Service {
            name: name.to_owned(),
            state,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..Service::default()
        }
    }

    fn contents(previous: &Ids, services: &[Service]) -> (Ids, Contents) {
        let desired = Desired {
            services: services.to_vec(),
            ..Desired::default()
        };
        let names: Vec<&str> = services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        let ids = previous.assign(&names).unwrap();
        let contents = Contents::of(&desired, &ids).unwrap();
        (ids, contents)
    }

    #[test]
    fn what_is_already_so_is_not_written() {
        let (_, same) = contents(&Ids::default(), &[service("a", State::Up, &["192.0.2.1"])]);
        assert_eq!(diff(&same, &same), []);
    }

    #[test]
    fn a_change_of_state_is_one_write_whatever_the_number_of_addresses() {
        let many: Vec<String> = (0..10_000)
            .map(|n| format!("10.0.{}.{}", n / 256, n % 256))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (ids, before) = contents(&Ids::default(), &[service("a", State::Up, &many)]);
        let (_, after) = contents(&ids, &[service("a", State::Down, &many)]);
        let writes = diff(&before, &after);
        assert!(
            matches!(writes[..], [Write::SetService(1, _)]),
            "{writes:?}"
        );
    }

    #[test]
    fn an_address_that_moves_gets_its_new_owner_after_that_owner_has_its_entry() {
        let (ids, before) = contents(
            &Ids::default(),
            &[service("a", State::Up, &["192.0.2.1", "192.0.2.2"])],
        );
        let (_, after) = contents(
            &ids,
            &[service("b", State::Down, &["192.0.2.2", "2001:db8::1"])],
        );
        let moved: IpAddr = "192.0.2.2".parse().unwrap();
        let owner = Owner {
            service: 2,
            slot: 0,
        };
        let writes = diff(&before, &after);
        assert_eq!(
            writes,
            [
                Write::RemoveAddress("192.0.2.1".parse().unwrap()),
                Write::ClearCounters(2),
                Write::SetService(2, after.services[&2]),
                Write::SetAddress(moved, owner),
                Write::SetAddress("2001:db8::1".parse().unwrap(), owner),
                Write::SetService(1, abi::Service::default()),
            ]
        );
    }

    /// What a write makes of the maps.
    fn perform(contents: &mut Contents, write: Write) {
        match write {
            Write::RemoveAddress(address) => {
                contents.addresses.remove(&address);
            }
            Write::SetAddress(address, owner) => {
                contents.addresses.insert(address, owner);
            }
            Write::RemovePrefix(scope, prefix) => {
                contents.lists.remove(&(scope, prefix));
            }
            Write::SetPrefix(scope, prefix, allow) => {
                contents.lists.insert((scope, prefix), allow);
            }
            Write::SetService(id, entry) if entry == abi::Service::default() => {
                contents.services.remove(&id);
            }
            Write::SetService(id, entry) => {
                contents.services.insert(id, entry);
            }
            Write::SetIdentity(identity) => {
                contents.identity = Some(identity).filter(|identity| *identity != NO_IDENTITY);
            }
            Write::ClearCounters(_) | Write::ClearAddressCounters(_) => {}
        }
    }

    #[test]
    fn however_far_writes_came_taking_them_back_leads_to_what_was_there() {
        let nets = |texts: &[&str]| texts.iter().map(|net| net.parse().unwrap()).collect();
        let old = Desired {
            services: vec![
                service("a", State::Up, &["192.0.2.1", "192.0.2.2"]),
                service("b", State::Up, &["192.0.2.3"]),
            ],
            identity: Some("city-a".to_owned()),
            deny: nets(&["10.0.0.0/8", "2001:db8::/32"]),
            ..Desired::default()
        };
        let new = Desired {
            services: vec![
                service("a", State::Down, &["192.0.2.2", "192.0.2.3"]),
                service("c", State::Up, &["2001:db8::1"]),
            ],
            allow: nets(&["10.0.0.0/8"]),
            deny: nets(&["11.0.0.0/8"]),
            ..Desired::default()
        };
        let ids = Ids::default().assign(&["a", "b"]).unwrap();
        let before = Contents::of(&old, &ids).unwrap();
        let after = Contents::of(&new, &ids.assign(&["a", "c"]).unwrap()).unwrap();
        let writes = diff(&before, &after);
        assert!(writes.len() > 10, "{writes:?}");
        for done in 0..=writes.len() {
            let mut maps = before.clone();
            for write in &writes[..done] {
                perform(&mut maps, *write);
            }
            assert!(done < writes.len() || maps == after);
            for write in writes[..done].iter().rev() {
                if let Some(back) = undo(&before, write) {
                    perform(&mut maps, back);
                }
            }
            assert_eq!(maps, before, "after {done} of {writes:?}");
        }
    }

    #[test]
    fn an_address_of_two_services_is_refused_with_both_names() {
        let desired = Desired {
            services: vec![
                service("a", State::Up, &["192.0.2.1"]),
                service("b", State::Up, &["192.0.2.1"]),
            ],
            ..Desired::default()
        };
        let ids = Ids::default().assign(&["a", "b"]).unwrap();
        assert_eq!(
            Contents::of(&desired, &ids).unwrap_err().to_string(),
            "192.0.2.1 belongs to both `a` and `b`: an address has one service"
        );
    }
}
