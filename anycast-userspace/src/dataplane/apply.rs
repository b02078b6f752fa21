//! Bringing the maps to what is wanted, as a whole or not at all.

use super::desired::Desired;
use super::error::DataPlaneError;
use super::reconcile::{Contents, Write, diff, undo};
use super::{DataPlane, always};

impl DataPlane {
    /// Brings the maps to `desired`, with the fewest writes. Says how many.
    ///
    /// Where `desired` needs a feature that the program was loaded without, a program with it takes its
    /// place first, without a packet in between.
    ///
    /// # Errors
    /// [`DataPlaneError::Full`], [`DataPlaneError::TwoOwners`], [`DataPlaneError::SameName`] and
    /// [`DataPlaneError::TooMany`] before anything is written. After [`DataPlaneError::NoRoom`] and
    /// [`DataPlaneError::Map`] what was written until then has been taken back, but for the counters of new
    /// services and addresses, which have started at zero.
    pub fn apply(&mut self, desired: &Desired) -> Result<u64, DataPlaneError> {
        let names: Vec<&str> = desired
            .services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        let ids = self.ids.assign(&names)?;
        let mut wanted = Contents::of(desired, &ids)?;
        self.room.check(&wanted, &ids)?;
        if self.settings.address_counters {
            wanted.number_addresses(&self.installed);
        }
        let features = desired.features() | always(&self.settings);
        if features & !self.features != 0 {
            self.reload(features)?;
        }
        let before = self.maps.writes();
        let order = names.iter().filter_map(|name| ids.get(name)).collect();
        self.write_all(&wanted)?;
        self.ids = ids;
        self.order = order;
        self.installed = wanted;
        self.show_addresses(desired);
        Ok(self.maps.writes() - before)
    }

    fn show_addresses(&self, desired: &Desired) {
        let shown = desired
            .services
            .iter()
            .enumerate()
            .flat_map(|(place, service)| {
                let slot = |address| Some(self.installed.addresses.get(address)?.slot);
                service
                    .addresses
                    .iter()
                    .filter_map(move |address| Some((place, *address, slot(address)?)))
            })
            .collect();
        self.maps.show_addresses(shown);
    }

    fn write_all(&mut self, wanted: &Contents) -> Result<(), DataPlaneError> {
        let writes = diff(&self.installed, wanted);
        for (done, write) in writes.iter().enumerate() {
            if let Err(error) = self.maps.write(write) {
                self.take_back(&writes[..done])?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// From the last write to the first, so that what was removed finds the room that it had. Goes on after
    /// an error; then the maps hold a part of both states, and the next call starts from what they hold.
    fn take_back(&mut self, done: &[Write]) -> Result<(), DataPlaneError> {
        let mut complete = true;
        for write in done.iter().rev() {
            if let Some(back) = undo(&self.installed, write)
                && let Err(error) = self.maps.write(&back)
            {
                tracing::error!(%error, "a write to the maps cannot be taken back");
                complete = false;
            }
        }
        if !complete {
            self.installed = self.maps.read()?;
        }
        Ok(())
    }

    /// Reads the maps back and repairs what differs from the last desired state. Says how many writes
    /// that took.
    ///
    /// # Errors
    /// [`DataPlaneError::Map`].
    pub fn resync(&mut self) -> Result<u64, DataPlaneError> {
        let mut found = self.maps.read()?;
        // An entry of zeros reads as none; its counters are not to be cleared for that.
        for (id, entry) in &self.installed.services {
            found
                .services
                .entry(*id)
                .or_insert_with(|| anycast_common::abi::Service {
                    state: !entry.state,
                    ..Default::default()
                });
        }
        let before = self.maps.writes();
        for write in diff(&found, &self.installed) {
            self.maps.write(&write)?;
        }
        self.maps.repair_index(&self.installed);
        Ok(self.maps.writes() - before)
    }
}
