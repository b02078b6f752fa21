//! Whether what is wanted fits into the maps.

use anycast_common::abi::map;

use super::desired::Ids;
use super::error::{DataPlaneError, setting_of};
use super::reconcile::Contents;

/// How much the maps hold, by the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) addresses: usize,
    pub(super) services: usize,
    pub(super) prefixes: usize,
}

impl Room {
    pub(super) fn check(&self, wanted: &Contents, ids: &Ids) -> Result<(), DataPlaneError> {
        let (v4, v6) = wanted.address_counts();
        let (list_v4, list_v6) = wanted.prefix_counts();
        for (map, room, needed) in [
            (map::LIST_V4, self.prefixes, list_v4),
            (map::LIST_V6, self.prefixes, list_v6),
            (map::ADDRESSES_V4, self.addresses, v4),
            (map::ADDRESSES_V6, self.addresses, v6),
            (map::SERVICES, self.services, ids.highest() as usize),
        ] {
            fits(map, room, needed)?;
        }
        Ok(())
    }
}

/// # Errors
/// [`DataPlaneError::Full`].
pub(super) fn fits(map: &'static str, room: usize, needed: usize) -> Result<(), DataPlaneError> {
    match setting_of(map) {
        Some(setting) if needed > room => Err(DataPlaneError::Full {
            map,
            room,
            needed,
            setting,
        }),
        _ => Ok(()),
    }
}
