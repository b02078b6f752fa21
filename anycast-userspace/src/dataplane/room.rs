//! Whether what is wanted fits into the maps.

use anycast_common::abi::map;
use aya::maps::MapError;

use super::desired::{Desired, Ids};
use super::error::DataPlaneError;
use super::reconcile::Contents;
use crate::config::dataplane::DataPlane as Settings;

/// How much the maps hold, by the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    addresses: usize,
    services: usize,
    prefixes: usize,
    interfaces: usize,
}

impl Room {
    pub(super) const fn of(settings: &Settings) -> Self {
        Self {
            addresses: settings.max_addresses as usize,
            services: settings.max_services as usize,
            prefixes: settings.max_prefixes as usize,
            interfaces: settings.max_interfaces as usize,
        }
    }

    /// # Errors
    /// [`DataPlaneError::Full`] for the first map that is too small.
    pub(super) fn check(&self, wanted: &Contents, ids: &Ids) -> Result<(), DataPlaneError> {
        demands(wanted, ids)
            .into_iter()
            .try_for_each(|(map, needed)| self.fits(map, needed))
    }

    /// # Errors
    /// [`DataPlaneError::Full`].
    pub(super) fn fits(&self, map: &'static str, needed: usize) -> Result<(), DataPlaneError> {
        match self.size(map) {
            Some((room, setting)) if needed > room => Err(DataPlaneError::Full {
                map,
                room,
                needed,
                setting,
            }),
            _fits => Ok(()),
        }
    }

    /// What an insertion that the kernel refused comes to.
    pub(super) fn refused(self, map: &'static str) -> impl FnOnce(MapError) -> DataPlaneError {
        move |source| match self.size(map) {
            Some((room, setting)) => DataPlaneError::insertion(map, room, setting)(source),
            None => DataPlaneError::map(map)(source),
        }
    }

    /// How many entries a map holds, and the setting that says so.
    fn size(&self, map: &str) -> Option<(usize, &'static str)> {
        match map {
            map::ADDRESSES_V4 | map::ADDRESSES_V6 => {
                Some((self.addresses, "dataplane.max_addresses"))
            }
            map::SERVICES => Some((self.services, "dataplane.max_services")),
            map::LIST_V4 | map::LIST_V6 => Some((self.prefixes, "dataplane.max_prefixes")),
            map::INTERFACES => Some((self.interfaces, "dataplane.max_interfaces")),
            _other => None,
        }
    }
}

/// How many entries of each map are needed.
fn demands(wanted: &Contents, ids: &Ids) -> [(&'static str, usize); 5] {
    let (v4, v6) = wanted.address_counts();
    let (list_v4, list_v6) = wanted.prefix_counts();
    [
        (map::LIST_V4, list_v4),
        (map::LIST_V6, list_v6),
        (map::ADDRESSES_V4, v4),
        (map::ADDRESSES_V6, v6),
        (map::SERVICES, ids.highest() as usize),
    ]
}

/// All that a data plane with `settings` would refuse of `desired`, and of its interfaces, as long as nothing
/// is loaded: each with the path of the setting in the configuration file, and why.
pub fn faults(settings: &Settings, desired: &Desired) -> Vec<(String, String)> {
    let names: Vec<&str> = desired
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let wanted = Ids::default()
        .assign(&names)
        .and_then(|ids| Ok(demands(&Contents::of(desired, &ids)?, &ids)));
    let room = Room::of(settings);
    let errors: Vec<DataPlaneError> = match wanted {
        Ok(demands) => demands
            .into_iter()
            .chain([(map::INTERFACES, settings.interfaces.len())])
            .filter_map(|(map, needed)| room.fits(map, needed).err())
            .collect(),
        Err(error) => vec![error],
    };
    errors
        .into_iter()
        .map(|error| (error.setting().to_owned(), error.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::desired::Service;
    use super::*;

    #[test]
    fn every_map_that_is_too_small_is_named_with_its_setting() {
        let settings = Settings {
            max_addresses: 1,
            max_services: 1,
            max_prefixes: 1,
            max_interfaces: 1,
            ..Settings::on(["eth0", "eth1"])
        };
        let service = |name: &str, addresses: &[&str]| Service {
            name: name.to_owned(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            ..Service::default()
        };
        let mut desired = Desired {
            services: vec![
                service("a", &["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
                service("b", &[]),
            ],
            deny: vec![
                "2001:db8::/32".parse().unwrap(),
                "2001:db8::/48".parse().unwrap(),
            ],
            ..Desired::default()
        };
        desired.services[1].allow = vec!["10.0.0.0/8".parse().unwrap()];
        let found = faults(&settings, &desired);
        let settings_found: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            settings_found,
            [
                "dataplane.max_prefixes",
                "dataplane.max_addresses",
                "dataplane.max_services",
                "dataplane.max_interfaces"
            ]
        );
        let (_, first) = &found[0];
        assert!(
            first.starts_with("map LIST_V6 has room for 1 entries and 2 are configured"),
            "{first}"
        );
        assert_eq!(faults(&Settings::on(["eth0", "eth1"]), &desired), []);
    }
}
